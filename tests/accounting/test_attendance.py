"""Bonuses in statements: what hours, days and devices in the log give is paid out of the fee, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accounting.adapters.kept_shelves import open_kept_shelves
from accounting.attendance import Worked, reaches_ms
from accounting.findings import Code
from accounting.fold import Fold, codec_of, form
from accounting.log import PoolLog
from accounting.schemes.loyalty import DAY_MS, Worker
from accounting.shelves import MemoryShelves
from accounting.turnout import DAYS, HOURS
from accounting.verifier import audit
from nips.pool.statement import StatementBody
from nips.pool.terms import Loyalty, Offer
from tests.accounting.conftest import GROSS_SAT, KEYS, POOL, T0
from tests.accounting.loyalty_story import FACTORS, MIDNIGHT, LoyalLog, attest, tell_loyal
from tests.accounting.plain_attendance import done_in, worked_by

ALICE, BOB = KEYS.alice.pubkey, KEYS.bob.pubkey
NO_DEVICE = FACTORS | {ALICE: 1000 * 1500 * 1000}
TODAY = T0 // 1000 + 6_400 + 11


def codes(log: LoyalLog) -> set[Code]:
    report = audit(log.all(), [], log.pool, now_ms=log.t0 + 10**9)
    # The story tells no hourly summaries.
    return {found.code for found in report.findings} - {Code.CHAIN_FACTS, Code.SUMMARY_OVERDUE}


def test_who_stays_gets_a_part_of_the_fee() -> None:
    log = tell_loyal()
    assert codes(log) == set()
    for label, scheme_fee in (("statement 0", 10_000), ("statement 1", 20_000), ("statement 2", 5_000)):
        body = log.bodies[label]
        gross = sum(GROSS_SAT) * 1000
        assert sum(row.msat for row in body.rows) + body.fee_msat == gross == body.reward.gross_msat
        bonuses = sum(row.bonus_msat for row in body.rows)
        assert 0 < bonuses <= gross * scheme_fee // 1_000_000 // 4
        assert all(row.bonus_msat for row in body.rows)


@pytest.mark.parametrize(
    "attested",
    [
        pytest.param((), id="none in the log"),
        pytest.param((attest(hs=2, model="other"),), id="twice the hashrate that was measured"),
        pytest.param((attest(second=TODAY),), id="of a day that is not over"),
        pytest.param((attest(second=T0 // 1000 - 86_400),), id="of a day without work"),
        pytest.param((attest(worker="rig"),), id="of a worker that did nothing"),
        pytest.param((attest(KEYS.bob),), id="of another miner"),
    ],
)
def test_an_attestation_that_nothing_bears_out_gives_nothing(attested: Any) -> None:
    assert codes(tell_loyal(attested=attested, factors=NO_DEVICE)) == set()
    assert codes(tell_loyal(attested=attested)) == {Code.STATEMENT_SPLIT}


def test_a_device_that_the_terms_do_not_name_counts_its_days_alone() -> None:
    log = tell_loyal(attested=(attest(model="other"),), factors=FACTORS | {ALICE: 1000 * 1500 * 1250})
    assert codes(log) == set()


def test_the_newest_attestation_says_which_device_it_is() -> None:
    both = (attest(), attest(second=T0 // 1000 + 61, model="other"))
    assert codes(tell_loyal(attested=both, factors=FACTORS | {ALICE: 1000 * 1500 * 1250})) == set()
    assert codes(tell_loyal(attested=both)) == {Code.STATEMENT_SPLIT}


def less(body: StatementBody) -> StatementBody:
    """All of the fee for the pool."""
    rows = tuple(replace(row, msat=row.msat - row.bonus_msat, bonus_msat=0) for row in body.rows)
    return replace(body, rows=rows, fee_msat=body.fee_msat + sum(row.bonus_msat for row in body.rows))


def unnamed(body: StatementBody) -> StatementBody:
    """The right amounts, but not told what they are."""
    return replace(body, rows=tuple(replace(row, bonus_msat=0) for row in body.rows))


def moved(body: StatementBody) -> StatementBody:
    """A msat of one bonus given to another."""
    first, *others = body.rows
    if not others:
        return replace(body, rows=(replace(first, msat=first.msat - 1, bonus_msat=first.bonus_msat - 1),))
    rows = (
        replace(first, msat=first.msat - 1, bonus_msat=first.bonus_msat - 1),
        replace(others[0], msat=others[0].msat + 1, bonus_msat=others[0].bonus_msat + 1),
    )
    return replace(body, rows=rows)


@pytest.mark.parametrize("change", [less, unnamed, moved])
@pytest.mark.parametrize("label", ["statement 0", "statement 1", "statement 2"])
def test_a_bonus_kept_or_moved_is_found(label: str, change: Callable[[StatementBody], StatementBody]) -> None:
    assert codes(tell_loyal(change={label: change})) == {Code.STATEMENT_SPLIT}


def test_hours_that_are_over_are_summed_as_they_end() -> None:
    shelves = MemoryShelves()
    log, story = PoolLog(POOL, shelves=shelves), tell_loyal()
    for event in story.all():
        log.add(event)
    log.settle()
    end, lanes = T0 + MIDNIGHT + 15_000, log.lanes
    days, today = shelves.open(DAYS), end // DAY_MS
    assert {int(key.rpartition("/")[2]) for key in days} == {today - 1}
    assert not shelves.open(HOURS)
    attendance = log.statements.attendance
    asked = [(Worker(ALICE, "axe"), day) for day in (today - 1, today)]
    first = attendance.worked(lanes, lanes.cuts(end), end, asked)
    # Of two hours in which each was there one is over; of two days, too.
    assert first.hours == {ALICE: 2, BOB: 2}
    wanted = worked_by(done_in(lanes, lanes.cuts(end)), end)
    assert first == Worked(wanted.hours, {asked[0]: wanted.work[asked[0]]})
    assert first.measured(*asked[0]) == 1
    assert attendance.worked(lanes, lanes.cuts(end), end, asked) == first
    late = end + 32 * DAY_MS
    assert attendance.worked(lanes, lanes.cuts(end), late, asked) == Worked({}, {})
    # An older reward again.
    assert attendance.worked(lanes, lanes.cuts(end), end, asked) == first


def test_a_lane_matters_for_as_long_as_a_bonus_looks_back() -> None:
    offer = Offer(loyalty=Loyalty(250_000))
    assert reaches_ms(offer, 100 * DAY_MS, 101 * DAY_MS) == 70 * DAY_MS
    assert reaches_ms(offer, 10 * DAY_MS, 101 * DAY_MS) == 10 * DAY_MS
    assert reaches_ms(Offer(), 100 * DAY_MS, 101 * DAY_MS) == 100 * DAY_MS


def test_what_lacks_of_the_last_month_makes_it_unknown() -> None:
    log = tell_loyal()
    report = audit(log.all("batch 0/1"), [], log.pool, now_ms=log.t0 + 10**9)
    assert Code.STATEMENT_NOT_RECOMPUTED in {found.code for found in report.findings}
    assert Code.STATEMENT_SPLIT not in {found.code for found in report.findings}


def test_a_hidden_attestation_is_no_fault_of_the_pools() -> None:
    log = tell_loyal()
    report = audit(log.all("attested 0"), [], log.pool, now_ms=log.t0 + 10**9)
    found = {each.code for each in report.findings} - {Code.CHAIN_FACTS, Code.SUMMARY_OVERDUE}
    assert found == {Code.GAP, Code.STATEMENT_NOT_RECOMPUTED}


def test_a_restart_at_any_event_changes_no_bonus(tmp_path: Path) -> None:
    story = tell_loyal()
    events = list(story.all())
    whole = Fold(POOL)
    for event in events:
        whole.add(event)
        whole.settle()
    rewards = {name: booked.statement.rows for name, booked in whole.ledger.rewards.items()}
    assert len(rewards) == 3
    for number in range(1, len(events)):
        path = tmp_path / f"{number}.sqlite"
        shelves = open_kept_shelves(path, codec_of, form())
        fold = Fold(POOL, shelves)
        for event in events[:number]:
            fold.add(event)
        fold.settle()
        fold.take_changes()
        shelves.keep(number, events[number - 1].id, fold.freeze())
        shelves.close()
        shelves = open_kept_shelves(path, codec_of, form())
        kept = shelves.kept()
        assert kept is not None
        fold = Fold(POOL, shelves)
        fold.thaw(kept[2])
        for event in events[number:]:
            fold.add(event)
        fold.settle()
        assert not {each.code for each in fold.log.findings} - {Code.CHAIN_FACTS}
        assert list(fold.dump()) == list(whole.dump())
        shelves.close()
