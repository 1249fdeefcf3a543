"""Brings single events to relays that payees name (NIP-61, NIP-17): strangers' servers, judged as LNURL servers are.

The name is resolved once, every address must be public, and the connection goes to the address that was judged.
"""

import logging
import ssl
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

import anyio
import msgspec
from websockets.exceptions import WebSocketException
from websockets.legacy.client import connect

from nips.nip01 import VerifiedEvent, encode_event
from nips.nip65 import InvalidRelayUrl, normal_relay_url
from zapper.adapters.resolver import resolve
from zapper.errors import AddressRefused, HttpFailed
from zapper.ports import EventFeed

log = logging.getLogger("zapper")

# A 10019 and a 10050 name one to three relays each; the first of a longer list will do.
MAX_RELAYS = 5
TIMEOUT_S = 10.0
# What a relay says besides its OK: an AUTH challenge, a notice.
MAX_MESSAGES = 20
MAX_MESSAGE = 64 * 1024


class _Direct(connect):
    """Goes where it was told: a redirect would lead past the address that was judged."""

    MAX_REDIRECTS_ALLOWED = 1


class RelayWriter:
    """See `zapper.ecash_ports.Courier`. `own`: the pool's relays, which `feed` reaches. `allow_private`: others of this
    machine too, without TLS (tests).
    """

    def __init__(self, feed: EventFeed, own: Collection[str], *, allow_private: bool = False) -> None:
        self._feed = feed
        self._own = frozenset(normal_relay_url(url) for url in own)
        self._allow_private = allow_private
        self._tls = ssl.create_default_context()

    async def deliver(self, event: VerifiedEvent, relays: Sequence[str]) -> None:
        """To as many as answer. Raises HttpFailed with what each said when none of them took it."""
        reasons: dict[str, str] = {}
        wanted = list(dict.fromkeys(relays))[:MAX_RELAYS]
        strangers = []
        for url in wanted:
            try:
                is_own = normal_relay_url(url) in self._own
            except InvalidRelayUrl:
                reasons[url] = "is no relay"
                continue
            if not is_own:
                strangers.append(url)
        if len(strangers) + len(reasons) < len(wanted):
            # Kept for good until a relay of ours has it.
            await self._feed.publish(event)
        async with anyio.create_task_group() as tasks:
            for url in strangers:
                tasks.start_soon(self._bring, event, url, reasons)
        if len(reasons) == len(wanted):
            raise HttpFailed("the payee's relays", "; ".join(f"{url} {why}" for url, why in reasons.items())[:500])

    async def _bring(self, event: VerifiedEvent, url: str, reasons: dict[str, str]) -> None:
        try:
            with anyio.fail_after(TIMEOUT_S):
                await self._bring_to(event, url)
        except TimeoutError:
            reasons[url] = f"did not answer within {TIMEOUT_S:g} s"
        # A ValueError is text that is no UTF-8, JSON that is none, a port beyond all; a RecursionError too deep a JSON.
        except (HttpFailed, OSError, WebSocketException, ValueError, RecursionError) as error:
            reasons[url] = f"{type(error).__name__} {error}"[:200]
        if url in reasons:
            log.info("the payee's relay %s does not take event %s: %s", url[:200], event.id, reasons[url])

    async def _bring_to(self, event: VerifiedEvent, url: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "wss" and not self._allow_private:
            raise AddressRefused(host, "only wss is used")
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        addresses = await resolve(host, port, allow_private=self._allow_private)
        for address in addresses[:-1]:
            try:
                return await self._send(event, url, address, port)
            except ConnectionError:
                continue  # a name may have an IPv6 address where there is no IPv6
        return await self._send(event, url, addresses[-1], port)

    async def _send(self, event: VerifiedEvent, url: str, address: str, port: int) -> None:
        tls: dict[str, Any] = {}
        if url.startswith("wss:"):
            tls = {"ssl": self._tls, "server_hostname": urlsplit(url).hostname}
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
            await socket.send(f'["EVENT",{encode_event(event).decode()}]')
            for _ in range(MAX_MESSAGES):
                message = msgspec.json.decode(await socket.recv())
                if isinstance(message, list) and message[:2] == ["OK", event.id]:
                    if message[2:3] == [True] or str(message[3:4]).startswith("['duplicate"):
                        return
                    raise HttpFailed(urlsplit(url).hostname or "", f"refused it: {str(message[3:4])[:100]}")
        raise HttpFailed(urlsplit(url).hostname or "", "gave no answer to it")
