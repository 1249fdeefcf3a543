"""A relay's information document over HTTP (NIP-11)."""

import logging

import anyio
import httpx
import msgspec

from nips.nip11 import MEDIA_TYPE, RelayInformation, read_information

_log = logging.getLogger("relay_bridge")
# Documents have one or two KB; a relay with a long text about itself perhaps ten.
MAX_DOCUMENT = 64 * 1024
# The whole exchange. A relay that can't say who it is by then is used as if it had nothing to say.
READ_SECONDS = 3.0


def http_url(url: str) -> str:
    """Where the document of a ws:// or wss:// relay is: "on the same URI", over HTTP."""
    return "http" + url.removeprefix("ws")


async def fetch_information(url: str) -> RelayInformation | None:
    """What the relay says of itself, None if it does not, or not in time, or nothing that can be read."""
    told: RelayInformation | None = None
    try:
        with anyio.move_on_after(READ_SECONDS):
            told = await _fetch(url)
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _log.debug("%s: no information document: %s", url, error)
    return told


async def _fetch(url: str) -> RelayInformation | None:
    text = bytearray()
    async with (
        httpx.AsyncClient(timeout=READ_SECONDS, follow_redirects=False, trust_env=False) as client,
        client.stream("GET", http_url(url), headers={"Accept": MEDIA_TYPE}) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            return None
        async for part in answer.aiter_bytes(MAX_DOCUMENT):
            text += part
            if len(text) > MAX_DOCUMENT:
                _log.warning("%s: its information document is longer than %d bytes", url, MAX_DOCUMENT)
                return None
    return read_information(bytes(text))
