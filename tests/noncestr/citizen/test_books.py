"""A day out of the log: blocks, hourly summaries with their parts, payouts."""

import hashlib

from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from nips.pool.chain import Head, Link
from nips.pool.summary import HOUR_MS, SummaryBody, SummaryRow, build_summary, build_summary_part
from nips.pool.targets import target_from_bits
from noncestr.citizen.books import day_facts, read_summaries, rows_of
from noncestr.citizen.facts import BestShare, BlockFacts


def key(name: str) -> SecretKey:
    return SecretKey(hashlib.sha256(f"noncestr test key {name}".encode()).digest())


POOL, BOOKS = key("pool"), key("accounting")
ADDRESS = PoolAddress(POOL.pubkey, "regtest")
ALICE, BOB = sorted((key("alice").pubkey, key("bob").pubkey))
START = 1_767_571_200_000
HEADS = {f"{'aa' * 32}/0": Head(5, "bb" * 32)}
EASY, HARD = 0x1D00FFFF, 0x1B00FFFF
ROWS = (SummaryRow(ALICE, "rig", 1000, 10, (), EASY), SummaryRow(BOB, "", 500, 5, (), HARD))


def body(hour: int, rows: tuple[SummaryRow, ...] = ROWS) -> SummaryBody:
    return SummaryBody(START + hour * HOUR_MS, START + (hour + 1) * HOUR_MS, HEADS, rows)


def test_summaries_are_read_with_their_parts_and_nothing_else() -> None:
    second = START // 1000
    whole = BOOKS.sign(build_summary(ADDRESS, Link(0, None), body(0), second))
    parts = [
        BOOKS.sign(build_summary_part(ADDRESS, Link(1 + n, "cc" * 32), n, (row,), second)) for n, row in enumerate(ROWS)
    ]
    spread = BOOKS.sign(build_summary(ADDRESS, Link(3, "dd" * 32), body(1), second, parts=2))
    other = BOOKS.sign(build_summary(PoolAddress(POOL.pubkey, "main"), Link(4, "dd" * 32), body(2), second))
    summaries, found = read_summaries([spread, *parts, other, whole], ADDRESS)
    assert [summary.id for summary in summaries] == [whole.id, spread.id]
    assert rows_of(summaries[0], found) == rows_of(summaries[1], found) == list(ROWS)
    # A part that no relay gave: the rest counts.
    assert rows_of(summaries[1], {1: found[1]}) == [ROWS[0]]


def test_a_day_adds_up() -> None:
    events = [BOOKS.sign(build_summary(ADDRESS, Link(0, None), body(hour), START // 1000)) for hour in (0, 5)]
    summaries, parts = read_summaries(events, ADDRESS)
    hours = [(summary, rows_of(summary, parts)) for summary in summaries]
    block = BlockFacts("ee" * 32, f"{1:064x}", 7, ALICE, START + 5, 1000, target_from_bits(EASY))
    day = day_facts(START, [block], hours, [(ALICE, 5_000), (ALICE, -1_000), (BOB, 1)])
    assert (day.date, day.end_ms - START) == ("2026-01-05", 24 * HOUR_MS)
    assert (day.work, day.mined_ms, day.miners) == (3000, 2 * HOUR_MS, 2)
    assert (day.paid_msat, day.payees) == (4_001, 2)
    assert day.best == BestShare(1, ALICE)
    assert day_facts(START, [], hours, []).best == BestShare(target_from_bits(HARD), BOB)


def test_a_day_without_anything_is_empty() -> None:
    assert day_facts(START, [], [], []).is_empty
