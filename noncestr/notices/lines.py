"""The ways to a miner: its own relays or the pool's, e-mail through apprise, topics at ntfy servers."""

import logging
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from nips.errors import NipError
from nips.nip01 import Filter, VerifiedEvent, make_filter
from nips.nip17 import DM_RELAYS, parse_dm_relays
from nips.nip65 import RELAY_LIST, parse_relay_list
from noncestr.alerts.operator_line import OperatorLine
from noncestr.errors import NoncestrError
from relay_bridge.errors import RelayBridgeError
from zapper.errors import HttpFailed
from zapper.profile import newest

logger = logging.getLogger("noncestr.notices")

# Strangers' relays: what takes longer is tried again later.
RELAY_S: Final = 10.0
# Where the address goes in the URL of the mail service.
PLACE: Final = "{to}"
# A message in the query of a URL: what web servers take without a word is 8 KiB, and letters beyond ASCII take up to
# twelve characters.
MAX_NTFY_TEXT: Final = 1_500


class Feed(Protocol):
    """The pool's relays."""

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Durable when it returns."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """What they have stored."""


class Reader(Protocol):
    """`zapper.adapters.relay_reader.RelayReader`."""

    async def ask(self, urls: Sequence[str], filters: Sequence[Filter], *, timeout_s: float) -> list[VerifiedEvent]:
        """What strangers' relays have."""


class Writer(Protocol):
    """`zapper.adapters.relay_writer.RelayWriter`."""

    async def deliver(self, event: VerifiedEvent, relays: Sequence[str]) -> None:
        """To the pool's relays among them and to strangers'. Raises HttpFailed when none took it."""


class Http(Protocol):
    """`zapper.adapters.http_client.HttpClient`, which asks public servers only."""

    async def get_json(self, url: str) -> object:
        """The decoded answer. Raises HttpFailed, and AddressRefused, which is one."""


class MessageLine:
    """Gift wraps to the relays of a miner's 10050, and to the pool's where it has none."""

    def __init__(self, feed: Feed, reader: Reader, writer: Writer, own: Sequence[str]) -> None:
        """`own`: URLs of the pool's relays, as itself and as strangers reach them."""
        self._feed = feed
        self._reader = reader
        self._writer = writer
        self._own = frozenset(own)

    async def send(self, miner: str, wrap: VerifiedEvent, *, now_s: int, last: bool) -> bool:
        """Whether a relay has it where the miner looks. `last`: nobody tries again, and the pool's relays get it."""
        theirs = await self.relays_of(miner, now_s=now_s)
        if theirs:
            try:
                await self._writer.deliver(wrap, theirs)
            except HttpFailed:
                if not last:
                    return False
            else:
                return True
        await self._feed.publish(wrap)
        return True

    async def relays_of(self, miner: str, *, now_s: int) -> tuple[str, ...]:
        """What the newest 10050 names, which is looked for at the pool's relays and where the miner writes (NIP-65)."""
        lists = make_filter(authors=[miner], kinds=[DM_RELAYS, RELAY_LIST])
        try:
            found = await self._feed.fetch([lists], timeout_s=RELAY_S)
        except RelayBridgeError:
            found = []
        general = newest(found, RELAY_LIST, miner, now_s=now_s)
        writes: tuple[str, ...] = ()
        if general is not None:
            try:
                writes = parse_relay_list(general).write
            except NipError:
                writes = ()
        elsewhere = [relay for relay in writes if relay not in self._own]
        if elsewhere:
            asked = make_filter(authors=[miner], kinds=[DM_RELAYS])
            found += await self._reader.ask(elsewhere, [asked], timeout_s=RELAY_S)
        event = newest(found, DM_RELAYS, miner, now_s=now_s)
        return () if event is None else parse_dm_relays(event)


class MailLine:
    """E-mail by an apprise URL with a place for the address. Its repr, and what it raises, tell nothing of the URL."""

    def __init__(self, template: str) -> None:
        """Raises NoncestrError for a template without a place, or that apprise does not understand."""
        if template.count(PLACE) != 1:
            raise NoncestrError(f"the apprise URL of [notices] mail has {PLACE} once, where the address goes")
        self._template = template
        OperatorLine([self._url("somebody@example.com")])

    def _url(self, address: str) -> str:
        return self._template.replace(PLACE, quote(address, safe=""))

    async def send(self, address: str, title: str, text: str) -> bool:
        """Whether the mail service took it."""
        return not await OperatorLine([self._url(address)]).send(title, text)


def read_mail(path: Path) -> MailLine:
    """The mail service a file names. Raises NoncestrError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise NoncestrError(f"cannot read the mail service of [notices] mail from {path}: {error}") from None
    if mode & 0o077:
        raise NoncestrError(f"{path} holds secrets and can be read by others (mode {mode:04o}): run chmod 600 {path}")
    urls = [line for line in lines if line and not line.startswith("#")]
    if len(urls) != 1:
        raise NoncestrError(f"{path} holds one apprise URL, not {len(urls)}")
    return MailLine(urls[0])


class NtfyLine:
    """ntfy's publishing by GET, through the client that asks public servers over HTTPS only."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def send(self, address: str, title: str, text: str) -> bool:
        """Whether the server says that it published the message. `address`: https://host/topic."""
        query = f"message={quote(text[:MAX_NTFY_TEXT], safe='')}&title={quote(title, safe='')}"
        try:
            answer = await self._http.get_json(f"{address}/publish?{query}")
        except HttpFailed as error:
            # The address is the miner's: anybody who has it can read there.
            logger.info("an ntfy server did not take a notice: %s", type(error).__name__)
            return False
        return isinstance(answer, dict) and answer.get("event") == "message"
