"""What a bonus does not depend on: how workers are called in the log, and over how many npubs work is spread."""

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from accounting.attendance import Attested, standings_of
from accounting.schemes.loyalty import DAY_S, HOUR_MS, Standing, Worker, bonuses, days_at, hours_at
from nips.pool.terms import Loyalty, Model
from stratum_edge.privacy import Hidden, HiddenNames
from tests.accounting.plain_attendance import Done as Shares
from tests.accounting.plain_attendance import worked_by

END_MS = 20_000 * 24 * HOUR_MS + 5 * HOUR_MS
FEE_MSAT = 3_145_000_000
MODELS = {"axe": Model(100, 1500), "rig": Model(1000, 1250)}
# A day's work of one hash a second.
UNIT = DAY_S


class Done(NamedTuple):
    """What a worker did within an hour, and that it attests that day, if so by a model."""

    worker: Worker
    hour: int
    work: int
    model: str


rules = st.builds(Loyalty, st.integers(1, 250_000), st.integers(1, 6), st.integers(1, 4), st.just(MODELS))
workers = st.builds(Worker, st.sampled_from(["alice", "bob", "carol"]), st.sampled_from(["", "rig", "axe", "a.b"]))
hours = st.integers(hours_at(END_MS).start, hours_at(END_MS).stop - 1)
works = st.sampled_from([75, 100, 125, 126, 999, 1000, 1250]).map(lambda rate: rate * UNIT) | st.integers(1, 10**9)
deeds = st.lists(st.builds(Done, workers, hours, works, st.sampled_from(["", "axe", "rig", "other"])), max_size=12)


def pay(loyalty: Loyalty, done: list[Done]) -> tuple[dict[str, Standing], dict[str, int]]:
    """Standings and bonuses where all work done counts; each attestation claims what its model has, or 100 H/s."""
    worked = worked_by((Shares(each.hour * HOUR_MS, each.worker, each.work) for each in done), END_MS)
    work, told = dict[Worker, int](), []
    for each in done:
        work[each.worker] = work.get(each.worker, 0) + each.work
        second = each.hour * HOUR_MS // 1000
        if each.model and second // DAY_S in days_at(END_MS):
            told.append(Attested(each.worker.miner, each.worker.name, each.model, 100, second))
    standings = standings_of(loyalty, worked, sorted(told, key=lambda each: each.created_at))
    paid = bonuses(FEE_MSAT, loyalty, work, standings.miners, standings.hardware)
    return dict(standings.miners), paid


def renamed(done: list[Done], name: Callable[[Worker], Worker]) -> list[Done]:
    return [each._replace(worker=name(each.worker)) for each in done]


@given(rules, deeds, st.binary(min_size=32, max_size=32))
def test_hidden_names_give_the_same_hours_days_and_bonus(loyalty: Loyalty, done: list[Done], secret: bytes) -> None:
    hidden = HiddenNames(secret)
    for each in done:
        hidden.put(each.worker.miner, Hidden(True, frozenset()))
    names = {each.worker: each.worker._replace(name=hidden.in_log(*each.worker)) for each in done}
    assert len(set(names.values())) == len(names)
    assert all(worker.name.startswith("#") for worker in names.values())
    assert pay(loyalty, renamed(done, names.__getitem__)) == pay(loyalty, done)


@given(rules, deeds, st.data())
def test_an_npub_split_in_two_earns_nothing_more(loyalty: Loyalty, done: list[Done], data: st.DataObject) -> None:
    """Alice sends some of her work, and attests it, by a second npub; or she does all by one, with as many workers."""
    other = [data.draw(st.booleans()) for _ in done]
    one = [
        each._replace(worker=each.worker._replace(name=f"{each.worker.name}2"))
        if each.worker.miner == "alice" and moved
        else each
        for each, moved in zip(done, other, strict=True)
    ]
    two = renamed(one, lambda who: Worker("alice2", who.name) if who.name.endswith("2") else who)
    (whole, paid), (parts, split) = pay(loyalty, one), pay(loyalty, two)
    alone = whole.get("alice", Standing())
    for part in (parts.get("alice", Standing()), parts.get("alice2", Standing())):
        assert part.hours <= alone.hours
        assert part.days <= alone.days
    assert split.get("alice", 0) + split.get("alice2", 0) <= paid.get("alice", 0)
    for miner in ("bob", "carol"):
        assert parts.get(miner) == whole.get(miner)
        assert split.get(miner, 0) >= paid.get(miner, 0)
