"""From a running pool to its notices: who writes, what it reads, by which ways."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from accounting.service import Accounting
from nips.keys import SecretKey
from nips.nip65 import normal_relay_url
from noncestr.books.lone import LogBlocks
from noncestr.books.settings_follower import SettingsFollower
from noncestr.citizen.books import AccountingBooks, Chain
from noncestr.clock import WallClock
from noncestr.config.sections import Config
from noncestr.feed import BridgeFeed
from noncestr.notices.books import NoticeBooks, Payees
from noncestr.notices.lines import MessageLine, NtfyLine, read_mail
from noncestr.notices.news import NoticeLimits
from noncestr.notices.notifier import STALE_MS, Notifier
from noncestr.notices.ports import Line
from noncestr.notices.texts import Speaker
from noncestr.notices.wishes import EMAIL, NTFY
from noncestr.outpost import Outpost
from relay_bridge.service import RelayBridge
from zapper.adapters.http_client import open_http_client
from zapper.adapters.relay_reader import RelayReader
from zapper.adapters.relay_writer import RelayWriter

SECOND_MS: Final = 1000
# A log that lacks so many is not fresh: what it does not show may have been all the same.
MISSED_HEARTBEATS: Final = 3


async def make_notifier(
    stack: AsyncExitStack,
    config: Config,
    data: Path,
    *,
    speaker: Speaker,
    voice: SecretKey,
    reader: SecretKey,
    signer: str,
    relays: Sequence[str],
    bridge: RelayBridge,
    accounting: Accounting,
    chain: Chain,
    settings: SettingsFollower,
    payees: Payees,
    heartbeat_s: int,
    clock: WallClock,
) -> Notifier:
    """The notices of a pool, told where the zapper runs. `voice`: the key that messages are from; `reader`: the
    zapper's, to which private parts are encrypted; `signer`: the accounting's (hex); `relays`: the pool's, by every
    name they have. Raises NoncestrError for a bad file of the mail service.
    """
    section = config.notices
    lines: dict[str, Line] = {}
    if section.mail:
        lines[EMAIL] = read_mail(Path(section.mail))
    if section.ntfy:
        lines[NTFY] = NtfyLine(await stack.enter_async_context(open_http_client()))
    feed = BridgeFeed(bridge)
    books = AccountingBooks(accounting, signer, feed, chain, lambda _: "")
    own = [normal_relay_url(url) for url in relays]
    return Notifier(
        speaker,
        NoticeLimits(section.per_day, section.per_day_all, section.messages, frozenset(lines)),
        NoticeBooks(accounting, books, settings, payees),
        voice=voice,
        reader=reader,
        feed=feed,
        messages=MessageLine(feed, RelayReader(), RelayWriter(feed, own), own),
        lines=lines,
        clock=clock,
        data=data,
        stale_ms=max(STALE_MS, MISSED_HEARTBEATS * heartbeat_s * SECOND_MS),
    )


async def make_lone_notifier(
    stack: AsyncExitStack,
    outpost: Outpost,
    books: Accounting,
    accounting: str,
    settings: SettingsFollower,
    payees: Payees,
) -> Notifier:
    """The notices of a pool whose zapper is a process of its own, out of books it folds (`accounting`: whose, by hex
    key). They are from the zapper, as its profile tells. Raises as `make_notifier`, LookupError before any terms.
    """
    assert outpost.key is not None
    terms = outpost.terms.current().body
    return await make_notifier(
        stack,
        outpost.config,
        outpost.data,
        speaker=Speaker(outpost.config.pool.name, outpost.pool, public_relay((*outpost.relays, *terms.log.relays))),
        voice=outpost.key,
        reader=outpost.key,
        signer=accounting,
        relays=outpost.relays,
        bridge=outpost.bridge,
        accounting=books,
        chain=LogBlocks(books),
        settings=settings,
        payees=payees,
        heartbeat_s=terms.limits.heartbeat_seconds,
        clock=outpost.clock,
    )


def public_relay(relays: Sequence[str]) -> str:
    """The one of these that strangers are told of: over TLS if there is one; others are for a network of ours."""
    return next((relay for relay in relays if relay.startswith("wss://")), relays[0])
