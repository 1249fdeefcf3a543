"""Our summaries added up: whole ones and those in parts, bounded, and what none has counted yet."""

import pytest

import accounting.hours
from accounting.hours import Hours, uncounted
from accounting.summaries import LaneHour, LanePending, SummaryBook, WorkerHour
from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from nips.pool.chain import Head, Link
from nips.pool.statement import MATURED, build_status
from nips.pool.summary import (
    HOUR_MS,
    Refused,
    SummaryBody,
    SummaryRow,
    build_summary,
    build_summary_part,
)
from nips.pool.targets import target_from_bits

KEY = SecretKey(bytes([7]) * 32)
POOL = PoolAddress(KEY.pubkey, "regtest")
ALICE, BOB = "aa" * 32, "bb" * 32
EASY, HARD = 0x2007FFFF, 0x1F00FFFF
LANE = f"{KEY.pubkey}/0"


def row(miner: str, worker: str, work: int, *, refused: int = 0, best: int = EASY) -> SummaryRow:
    return SummaryRow(miner, worker, work, 1, (Refused(21, refused),) if refused else (), best)


def link(seq: int) -> Link:
    return Link(seq, None if seq == 0 else f"{seq:064x}")


def body(hour: int, rows: tuple[SummaryRow, ...]) -> SummaryBody:
    return SummaryBody(hour * HOUR_MS, (hour + 1) * HOUR_MS, {LANE: Head(hour, f"{hour:064x}")}, rows)


def whole(hour: int, *rows: SummaryRow):
    return KEY.sign(build_summary(POOL, link(hour), body(hour, rows), (hour + 1) * 3600, parts=0))


def test_rows_are_added_up_by_miner() -> None:
    hours = Hours()
    hours.add(0, whole(0, row(ALICE, "a", 5, refused=2), row(ALICE, "b", 6, best=HARD), row(BOB, "", 7)))
    hours.add(1, whole(1, row(ALICE, "a", 1, refused=1)))
    assert hours.seq == 1
    assert [(hour.work, hour.shares, hour.miners, hour.rejects) for hour in hours.hours] == [
        (18, 3, 2, {21: 2}),
        (1, 1, 1, {21: 1}),
    ]
    alice = hours.miners[ALICE]
    assert (alice.work, alice.shares, alice.rejects, alice.best) == (12, 3, {21: 3}, target_from_bits(HARD))
    assert [kept.work for kept in hours.of_miners] == [{ALICE: 11, BOB: 7}, {ALICE: 1}]


def test_a_summary_in_parts_is_one_and_others_of_the_chain_are_passed_over() -> None:
    rows = (row(ALICE, "a", 5), row(BOB, "", 7))
    hours = Hours()
    hours.add(0, KEY.sign(build_status(POOL, link(0), "cc" * 32, MATURED, 3600)))
    for part, one in enumerate(rows):
        hours.add(1 + part, KEY.sign(build_summary_part(POOL, link(1 + part), part, (one,), 3600)))
    hours.add(3, KEY.sign(build_summary(POOL, link(3), body(0, rows), 3600, parts=2)))
    assert hours.seq == 3
    assert [hour.work for hour in hours.hours] == [12]
    assert {miner: count.work for miner, count in hours.miners.items()} == {ALICE: 5, BOB: 7}


def test_hours_of_miners_are_bounded_and_totals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting.hours, "MAX_MINER_HOURS", 4)
    hours = Hours()
    for hour in range(6):
        hours.add(hour, whole(hour, row(ALICE, "", 1), row(BOB, "", 1)))
    assert [kept.from_ms // HOUR_MS for kept in hours.of_miners] == [4, 5]
    assert len(hours.hours) == 6
    assert hours.miners[ALICE].work == 6


def test_what_no_summary_has_counted_is_told_by_itself() -> None:
    book = SummaryBook()
    assert uncounted(book) == (0, {})
    tallies = {(ALICE, "a"): WorkerHour(3, 1, {23: 2}, 0x1D00FFFF), (ALICE, "b"): WorkerHour(4, 1, {}, 0x2100FFFF)}
    bucket = LaneHour(5 * HOUR_MS, Head(0, "00" * 32), tallies)
    book.lanes[LANE] = LanePending(4 * HOUR_MS + 7, buckets=[bucket])
    since, miners = uncounted(book)
    assert since == 4 * HOUR_MS + 7
    assert (miners[ALICE].work, miners[ALICE].rejects, miners[ALICE].best) == (7, {23: 2}, 0xFFFF << 208)
