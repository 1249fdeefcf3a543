"""From a running pool to its notices: who writes, what it reads, by which ways."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from accounting.service import Accounting
from nips.nip65 import normal_relay_url
from noncestr.citizen_books import AccountingBooks
from noncestr.clock import WallClock
from noncestr.config import Config
from noncestr.feed import BridgeFeed
from noncestr.joints import ChainHeights
from noncestr.notice_books import NoticeBooks, Payees
from noncestr.notice_lines import MessageLine, NtfyLine, read_mail
from noncestr.notice_news import NoticeLimits
from noncestr.notice_ports import Line
from noncestr.notice_texts import Speaker
from noncestr.notice_wishes import EMAIL, NTFY
from noncestr.notifier import STALE_MS, Notifier
from noncestr.presence import Presence
from noncestr.promises import Keys
from noncestr.settings_follower import SettingsFollower
from relay_bridge.service import RelayBridge
from stratum_edge.ports import TemplateSource
from zapper.adapters.http_client import open_http_client
from zapper.adapters.relay_reader import RelayReader
from zapper.adapters.relay_writer import RelayWriter


async def make_notifier(
    stack: AsyncExitStack,
    config: Config,
    data: Path,
    *,
    presence: Presence,
    keys: Keys,
    relays: Sequence[str],
    bridge: RelayBridge,
    accounting: Accounting,
    chain: TemplateSource,
    settings: SettingsFollower,
    payees: Payees,
    clock: WallClock,
) -> Notifier:
    """The notices of a pool whose parts run in one process. Raises NoncestrError for a bad file of the mail service."""
    section = config.notices
    lines: dict[str, Line] = {}
    if section.mail:
        lines[EMAIL] = read_mail(Path(section.mail))
    if section.ntfy:
        lines[NTFY] = NtfyLine(await stack.enter_async_context(open_http_client()))
    feed = BridgeFeed(bridge)
    books = AccountingBooks(accounting, keys.accounting.pubkey, feed, ChainHeights(chain), lambda _: "")
    own = [normal_relay_url(url) for url in (*relays, *presence.relays)]
    return Notifier(
        Speaker(presence.name, presence.pool, presence.relays[0]),
        NoticeLimits(section.per_day, section.per_day_all, section.messages, frozenset(lines)),
        NoticeBooks(accounting, books, settings, payees),
        # The zapper's profile names the pool: a message from it is no stranger's.
        voice=keys.pool_at_hand or keys.zapper,
        reader=keys.zapper,
        feed=feed,
        messages=MessageLine(feed, RelayReader(), RelayWriter(feed, own), own),
        lines=lines,
        clock=clock,
        data=data,
        stale_ms=max(STALE_MS, 3000 * config.terms.heartbeat_seconds),
    )
