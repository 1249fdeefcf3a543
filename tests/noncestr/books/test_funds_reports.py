"""When a host reports its funds: on change, at most once a minute; else every ten minutes; never two of one second."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.holders import HoldersBook
from accounting.treasury import SILENT_MS, Holding
from nips.keys import AtHand, SecretKey
from nips.pool.address import PoolAddress
from nips.pool.funds import Place, parse_funds
from noncestr.books import funds_reports
from noncestr.books.funds_reports import CHANGE_MS, PATIENCE_MS, REPORT_MS, FundsReports
from relay_bridge.errors import StoreError

KEY = SecretKey(bytes([1]) * 32)
POOL = PoolAddress(SecretKey(bytes([9]) * 32).pubkey, "regtest")
NOW = 1_800_000_000_000
HELD = [Holding("lnd", 5, NOW)]


class Relay:
    def __init__(self) -> None:
        self.events = []
        self.told = anyio.Event()
        self.failures = 0

    async def publish(self, event):
        if self.failures:
            self.failures -= 1
            raise StoreError("database or disk is full")
        self.events.append(event)
        self.told.set()


def reports(now=NOW, held=lambda: HELD, relay=None):
    return FundsReports(POOL, AtHand(KEY), relay, held, lambda: now)


def said(unsigned):
    return None if unsigned is None else parse_funds(KEY.sign(unsigned)).places


def test_the_first_report_waits_until_every_place_was_asked():
    waiting = [Holding("lnd", 5, NOW), Holding("node")]
    assert reports().due(waiting, NOW) is None
    assert said(reports().due([HELD[0], Holding("node", error="no route")], NOW)) == (
        Place("lnd", 5, NOW),
        Place("node"),
    )
    assert said(reports().due(waiting, NOW + PATIENCE_MS)) == (Place("lnd", 5, NOW), Place("node"))
    assert said(reports().due([], NOW)) == (), "a zapper without a wallet is there, too"


def test_changes_are_told_within_a_minute_and_silence_never_lasts():
    told, other = reports(), [Holding("lnd", 4, NOW)]
    assert told.due(HELD, NOW) is not None
    assert told.due(other, NOW + CHANGE_MS - 1) is None
    assert said(told.due(other, NOW + CHANGE_MS)) == (Place("lnd", 4, NOW),)
    later = NOW + CHANGE_MS
    assert told.due(other, later + REPORT_MS - 1) is None
    assert told.due(other, later + REPORT_MS) is not None
    assert REPORT_MS * 2 < SILENT_MS, "two may be lost"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1_000_000), st.integers(-400_000, 400_000)), max_size=20),
)
def test_every_report_takes_the_place_of_those_before_though_clocks_are_wrong_by_minutes(steps):
    """Each step: what is held, how much later it is, how far off the holder's clock is (ms). The reader's is right."""
    told, book, now = reports(), HoldersBook(POOL), NOW
    for msat, later, off in steps:
        now += later
        unsigned = told.due([Holding("lnd", msat, NOW)], now + off)
        if unsigned is not None:
            assert book.take(KEY.sign(unsigned), {KEY.pubkey: ""}, now)
            (holding,) = book.holdings({KEY.pubkey: ""}, now)
            assert holding.msat == msat


def test_a_clock_set_back_a_little_makes_later_dates_all_the_same():
    told = reports()
    first = told.due(HELD, NOW)
    second = told.due(HELD, NOW - 60_000)
    assert first is not None
    assert second is not None
    assert second.created_at == first.created_at + 1
    far = told.due(HELD, NOW - 10 * REPORT_MS)
    assert far is not None
    assert far.created_at == NOW // 1000 - 10 * REPORT_MS // 1000


@pytest.mark.anyio
async def test_reports_go_to_the_relays(monkeypatch):
    monkeypatch.setattr(funds_reports, "LOOK_S", 0.01)
    relay = Relay()
    async with anyio.create_task_group() as tasks:
        await tasks.start(reports(relay=relay).run)
        with anyio.fail_after(20):
            await relay.told.wait()
        tasks.cancel_scope.cancel()
    (event,) = relay.events
    report = parse_funds(event)
    assert (report.signer, report.pool, report.places) == (KEY.pubkey, POOL, (Place("lnd", 5, NOW),))


@pytest.mark.anyio
async def test_a_report_that_the_disk_refused_is_told_later(monkeypatch):
    monkeypatch.setattr(funds_reports, "LOOK_S", 0.01)
    relay = Relay()
    relay.failures = 2
    now = [NOW]

    def later() -> int:
        now[0] += CHANGE_MS // 4
        return now[0]

    async with anyio.create_task_group() as tasks:
        await tasks.start(FundsReports(POOL, AtHand(KEY), relay, lambda: HELD, later).run)
        with anyio.fail_after(20):
            await relay.told.wait()
        tasks.cancel_scope.cancel()
    assert relay.failures == 0
    assert parse_funds(relay.events[0]).places == (Place("lnd", 5, NOW),)
    assert now[0] < NOW + REPORT_MS
