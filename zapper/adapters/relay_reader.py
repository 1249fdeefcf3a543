"""Asks relays that a miner's own relay list names (NIP-65): strangers' servers, for one short question each.

As with LNURL servers the name is resolved once, every address must be public, and the connection goes to the address
that was judged. What comes back is verified; of a relay that stalls, floods or lies what came before it did is kept.
"""

import logging
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import anyio
import msgspec
from websockets.exceptions import WebSocketException
from websockets.legacy.client import WebSocketClientProtocol, connect

from nips.errors import NipError
from nips.nip01 import Filter, VerifiedEvent, parse_event, verify
from zapper.adapters.resolver import resolve
from zapper.errors import AddressRefused, HttpFailed

log = logging.getLogger("zapper")

# NIP-65 advises 2 to 4 relays of each kind; the first of a longer list are enough to find a profile.
MAX_RELAYS = 4
# Replaceable events of one author: there is one a kind, and a relay that keeps old versions has a few.
MAX_EVENTS = 50
# A profile has up to 64 KiB; a relay's message holds one event.
MAX_MESSAGE = 128 * 1024
# Other messages (notices, counts) between the events.
MAX_MESSAGES = 200
QUESTION = "p"


class _Direct(connect):
    """Goes where it was told: a redirect would lead past the address that was judged."""

    # The first attempt counts: a relay that redirects ends it with an error.
    MAX_REDIRECTS_ALLOWED = 1


class RelayReader:
    """`zapper.ports.MinersRelays` over websockets. `allow_private`: relays of this machine too, without TLS (tests)."""

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private
        self._tls = ssl.create_default_context()

    async def ask(self, urls: Sequence[str], filters: Sequence[Filter], *, timeout_s: float) -> list[VerifiedEvent]:
        """What the first MAX_RELAYS of these relays have that matches. Never raises: relays may all be away."""
        found: dict[str, VerifiedEvent] = {}
        async with anyio.create_task_group() as tasks:
            for url in list(dict.fromkeys(urls))[:MAX_RELAYS]:
                tasks.start_soon(self._ask, url, filters, timeout_s, found)
        return list(found.values())

    async def _ask(
        self, url: str, filters: Sequence[Filter], timeout_s: float, found: dict[str, VerifiedEvent]
    ) -> None:
        try:
            with anyio.fail_after(timeout_s):
                await self._collect(url, filters, found)
        # A ValueError is text that is no UTF-8, JSON that is none, a port beyond all; a RecursionError too deep a JSON.
        except (HttpFailed, OSError, TimeoutError, WebSocketException, NipError, ValueError, RecursionError) as error:
            log.info("the miner's relay %s did not answer: %s", url[:200], error)

    async def _collect(self, url: str, filters: Sequence[Filter], found: dict[str, VerifiedEvent]) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "wss" and not self._allow_private:
            raise AddressRefused(host, "only wss is asked")
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        addresses = await resolve(host, port, allow_private=self._allow_private)
        for address in addresses[:-1]:
            try:
                return await self._collect_from(address, url, filters, found)
            except ConnectionError:
                continue  # a name may have an IPv6 address where there is no IPv6
        return await self._collect_from(addresses[-1], url, filters, found)

    async def _collect_from(
        self, address: str, url: str, filters: Sequence[Filter], found: dict[str, VerifiedEvent]
    ) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        tls: dict[str, Any] = {"ssl": self._tls, "server_hostname": host} if parts.scheme == "wss" else {}
        async with _Direct(
            url,
            host=address,
            port=port,
            max_size=MAX_MESSAGE,
            max_queue=4,
            compression=None,
            open_timeout=None,
            close_timeout=1,
            **tls,
        ) as socket:
            question = ["REQ", QUESTION, *(wanted.to_json() for wanted in filters)]
            await socket.send(msgspec.json.encode(question).decode())
            await self._read(socket, filters, found)

    async def _read(
        self, socket: WebSocketClientProtocol, filters: Sequence[Filter], found: dict[str, VerifiedEvent]
    ) -> None:
        events = 0
        for _ in range(MAX_MESSAGES):
            message = msgspec.json.decode(await socket.recv())
            if not isinstance(message, list) or len(message) < 2 or message[1] != QUESTION:
                continue
            if message[0] in ("EOSE", "CLOSED"):
                return
            if message[0] == "EVENT" and len(message) == 3:
                events += 1
                if events > MAX_EVENTS:
                    return
                event = verify(parse_event(message[2]))
                if any(wanted.matches(event) for wanted in filters):
                    found[event.id] = event
