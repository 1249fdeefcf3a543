"""A bonus comes out of the fee, never out of others' sats, and is not multiplied by more npubs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.schemes.loyalty import (
    DAY_MS,
    HOUR_MS,
    MAX_FACTOR,
    ONE,
    Standing,
    Worker,
    bears_out,
    bonuses,
    days_at,
    factor,
    hardware_milli,
    hours_at,
)
from nips.pool.terms import Loyalty, Model

GAMMA = Loyalty(250_000, 720, 30, {"Bitaxe Gamma": Model(1_200_000_000_000, 1500)})
workers = st.builds(Worker, st.sampled_from("abcd"), st.sampled_from(["", "rig", "axe"]))
WORK = st.dictionaries(workers, st.integers(0, 1 << 60), max_size=8)
standings = st.builds(Standing, st.integers(0, 721), st.integers(0, 31))
STANDINGS = st.dictionaries(st.sampled_from("abcd"), standings)
HARDWARE = st.dictionaries(workers, st.integers(1000, 1500))
loyalties = st.builds(Loyalty, st.integers(0, 250_000), st.integers(1, 720), st.integers(1, 30))
FEES = st.integers(0, 10**13)


@given(FEES, loyalties, WORK, STANDINGS, HARDWARE)
def test_bonuses_stay_within_their_part_of_the_fee(
    fee: int,
    loyalty: Loyalty,
    work: dict[Worker, int],
    known: dict[str, Standing],
    hardware: dict[Worker, int],
) -> None:
    paid = bonuses(fee, loyalty, work, known, hardware)
    pot = fee * loyalty.part_ppm // 1_000_000
    assert sum(paid.values()) <= pot <= fee // 4
    assert all(paid.values())
    eligible = {
        worker.miner
        for worker, part in work.items()
        if part and factor(loyalty, known.get(worker.miner, Standing()), hardware.get(worker, 1000)) > ONE
    }
    assert paid.keys() <= eligible
    if eligible:
        assert pot - sum(paid.values()) < len(eligible)


@given(FEES, loyalties, WORK, STANDINGS, HARDWARE, st.data())
def test_order_is_nothing(
    fee: int,
    loyalty: Loyalty,
    work: dict[Worker, int],
    known: dict[str, Standing],
    hardware: dict[Worker, int],
    data: st.DataObject,
) -> None:
    other = dict(data.draw(st.permutations(list(work.items()))))
    assert bonuses(fee, loyalty, work, known, hardware) == bonuses(fee, loyalty, other, known, hardware)


@given(FEES, loyalties, WORK, STANDINGS, HARDWARE, st.data())
def test_an_npub_split_into_two_earns_nothing_more(
    fee: int,
    loyalty: Loyalty,
    work: dict[Worker, int],
    known: dict[str, Standing],
    hardware: dict[Worker, int],
    data: st.DataObject,
) -> None:
    """Work of each worker is divided at will; each part has at most the hours and days of the whole."""
    whole = known.get("a", Standing())
    two, factors = dict(work), dict(hardware)
    for worker, part in work.items():
        if worker.miner == "a":
            moved = data.draw(st.integers(0, part))
            two[worker], two[Worker("a2", worker.name)] = part - moved, moved
            factors[Worker("a2", worker.name)] = hardware.get(worker, 1000)
    parts = st.builds(Standing, st.integers(0, whole.hours), st.integers(0, whole.days))
    split_known = {**known, "a": data.draw(parts), "a2": data.draw(parts)}
    one = bonuses(fee, loyalty, work, known, hardware)
    both = bonuses(fee, loyalty, two, split_known, factors)
    assert both.get("a", 0) + both.get("a2", 0) <= one.get("a", 0)


@given(FEES, loyalties, WORK, STANDINGS, HARDWARE, st.integers(0, 1 << 60), standings)
def test_more_never_earns_less(
    fee: int,
    loyalty: Loyalty,
    work: dict[Worker, int],
    known: dict[str, Standing],
    hardware: dict[Worker, int],
    more: int,
    better: Standing,
) -> None:
    before = bonuses(fee, loyalty, work, known, hardware).get("a", 0)
    rig, old = Worker("a", "rig"), known.get("a", Standing())
    up = {**known, "a": Standing(max(old.hours, better.hours), max(old.days, better.days))}
    assert bonuses(fee, loyalty, work, up, hardware).get("a", 0) >= before
    assert bonuses(fee, loyalty, {**work, rig: work.get(rig, 0) + more}, known, hardware).get("a", 0) >= before
    assert bonuses(fee, loyalty, work, known, {**hardware, rig: 1500}).get("a", 0) >= before


def test_factors() -> None:
    assert factor(GAMMA, Standing(), 1000) == ONE
    assert factor(GAMMA, Standing(720, 0), 1000) == 2 * ONE
    assert factor(GAMMA, Standing(360, 15), 1000) == 1500 * 1250 * 1000
    assert factor(GAMMA, Standing(720, 30), 1000) == MAX_FACTOR == factor(GAMMA, Standing(720, 30), 1500)
    assert factor(GAMMA, Standing(10_000, 99), 1000) == MAX_FACTOR


def test_a_split_by_hand() -> None:
    """The fee is 1,000,000: a quarter of it by work times what M is above 1."""
    work = {Worker("a", "axe"): 100, Worker("a", "rig"): 100, Worker("b", ""): 600, Worker("c", ""): 10_000}
    known = {"a": Standing(720, 0), "b": Standing(0, 30)}
    paid = bonuses(1_000_000, GAMMA, work, known, {Worker("a", "axe"): 1500})
    # a: 100 * (3 - 1) + 100 * (2 - 1) = 300; b: 600 * (1.5 - 1) = 300; c: 0.
    assert paid == {"a": 125_000, "b": 125_000}


@pytest.mark.parametrize(("measured", "fits"), [(75, True), (74, False), (125, True), (126, False), (100, True)])
def test_a_quarter_either_way(measured: int, fits: bool) -> None:
    assert bears_out(measured, 100) is fits


def test_hardware_is_the_terms_and_the_measurements() -> None:
    assert hardware_milli(GAMMA, "Bitaxe Gamma", 1_000_000_000_000) == 1500
    assert hardware_milli(GAMMA, "Bitaxe Gamma", 100_000_000_000_000) == 1000
    assert hardware_milli(GAMMA, "bitaxe gamma", 1_000_000_000_000) == 1000


def test_hours_and_days_are_of_the_last_thirty_days() -> None:
    end = 100 * DAY_MS
    hours, days = hours_at(end), days_at(end)
    # The hour that begins now counts, the day does not.
    assert (hours.start, hours[-1], len(hours)) == ((end - 30 * DAY_MS) // HOUR_MS + 1, end // HOUR_MS, 720)
    assert (days.start, days[-1]) == (70, 99)
    assert len(hours_at(end - 1)) == len(hours_at(end + 1)) == 720
    assert (days_at(end - 1), days_at(end + DAY_MS - 1)) == (range(69, 99), days)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        bonuses(-1, GAMMA, {}, {}, {})
    with pytest.raises(ValueError, match="not negative"):
        bonuses(1, GAMMA, {Worker("a", ""): -1}, {}, {})
