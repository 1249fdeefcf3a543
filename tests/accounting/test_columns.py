"""Columns of parts: what was packed, sums of columns whatever their names, and what is kept of them as bytes."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from accounting.columns import (
    NO_MINERS,
    NO_WORKERS,
    ColumnSum,
    Miners,
    Workers,
    join_miners,
    join_workers,
    miners_of,
    workers_of,
)

KEYS = st.sampled_from([f"{number:064x}" for number in range(5)])
# A work may pass 64 bits.
PARTS = st.integers(1, 1 << 80)
BY_MINER = st.dictionaries(KEYS, PARTS, max_size=5)
BY_WORKER = st.dictionaries(st.tuples(KEYS, st.sampled_from(["", "rig", "rig2"])), PARTS, max_size=8)


@given(BY_MINER, BY_WORKER)
def test_columns_hold_what_they_were_made_of_in_order(by_miner: dict[str, int], by_worker: dict[tuple[str, str], int]):
    miners, workers = miners_of(by_miner), workers_of(by_worker)
    assert list(miners) == sorted(by_miner.items())
    assert list(workers) == [(*name, by_worker[name]) for name in sorted(by_worker)]
    assert (len(miners), len(workers)) == (len(by_miner), len(by_worker))
    assert (bool(miners), bool(workers)) == (bool(by_miner), bool(by_worker))


def test_nothing_has_one_form() -> None:
    assert (miners_of({}), join_miners([]), list(NO_MINERS)) == (NO_MINERS, NO_MINERS, [])
    assert (workers_of({}), join_workers([]), list(NO_WORKERS)) == (NO_WORKERS, NO_WORKERS, [])


@given(st.lists(BY_MINER, max_size=6), st.lists(BY_WORKER, max_size=6))
def test_a_sum_is_that_of_the_parts(
    by_miner: list[dict[str, int]], by_worker: list[dict[tuple[str, str], int]]
) -> None:
    miners, workers = Counter[str](), Counter[tuple[str, str]]()
    for parts in by_miner:
        miners.update(parts)
    for named in by_worker:
        workers.update(named)
    assert join_miners(map(miners_of, by_miner)) == miners_of(miners)
    assert join_workers(map(workers_of, by_worker)) == workers_of(workers)


def test_columns_of_the_same_names_become_one() -> None:
    one, two = miners_of({"aa" * 32: 1, "bb" * 32: 2}), miners_of({"aa" * 32: 10, "bb" * 32: 20})
    other = miners_of({"bb" * 32: 5})
    found = ColumnSum([one, other, two])
    assert list(found) == [Miners(one.miners, (11, 22)), other]
    # The same keys under other workers' names are others.
    rig, none = workers_of({("aa" * 32, "rig"): 1}), workers_of({("aa" * 32, ""): 1})
    assert list(ColumnSum([rig, none, rig])) == [Workers(rig.miners, "rig", (2,)), none]
    assert list(ColumnSum[Miners]()) == []
    # What was added stays as it was.
    assert one.parts == (1, 2)
