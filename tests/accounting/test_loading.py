"""The books out of the stored log: the same from whatever was kept of it, whole, damaged, or cut off by a kill."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import accounting.lanes
from accounting.adapters.store import AccountingStore, open_store
from accounting.checks import open_check
from accounting.facts import BatchChecked
from accounting.fold import Fold
from accounting.loading import Loaded, load_fold
from accounting.log import PoolLog
from accounting.mining import Mining
from accounting.spans import WIDEST
from accounting.sums import Sums
from nips.nip01 import encode_event
from nips.pool.chain import next_link
from nips.pool.receipt import Rejects
from nips.pool.summary import build_summary

pytestmark = pytest.mark.anyio
# Three of the widest spans in each lane, the last of them not summed up by the hour, and some batches over.
BATCHES = 3 * WIDEST + 10
LENGTH_MS = 60_000
JOB_EVERY = 5
SHORT_MS = 5_000
SUMMED = [WIDEST] * 4


@pytest.fixture(autouse=True)
def soon_put_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting.lanes, "HOT_MS", 8 * LENGTH_MS)


@pytest.fixture(scope="module")
def long_log(build: Any) -> Any:
    """Two lanes and two miners, and the summaries of three hours."""
    log = build()
    keys = log.keys
    job = None
    for number in range(BATCHES):
        start = number * LENGTH_MS
        if number % JOB_EVERY == 0:
            job = log.job(str(number), start, (0, 1))
        for lane, who in ((0, (keys.alice, keys.bob)), (1, (keys.bob,))):
            shares = [log.mine(job, who[n % len(who)], start + 10 * n + lane, worker=f"w{n}") for n in range(3)]
            log.batch(lane, start, start + LENGTH_MS, shares, rejects=(Rejects(0, 23, 2),) if number % 7 == 0 else ())
    fold = folded_as_new(log)
    while (body := fold.due_summary()) is not None:
        label, link = f"summary {body.to_ms}", next_link(log.heads.get("accounting"))
        event = log.sign(label, keys.accounting, build_summary(log.pool, link, body, body.to_ms // 1000), "accounting")
        fold.add(event)
        fold.settle()
    return log


async def directly(work: Any) -> None:
    work()


async def load(store: AccountingStore, log: Any, *, trusted: bool = True) -> Loaded:
    return await load_fold(store, log.pool, trusted=trusted, in_thread=directly)


def told(fold: Fold) -> tuple[list[str], Any, list[Any], list[list[tuple[int, Any]]]]:
    """All that was folded, and the spans that windows go by."""
    lanes = [lane for _, lane in fold.log.lanes.in_order()]
    spans = [list(lane.batches.spans.ending(at)) for lane in lanes for at in range(len(lane.batches))]
    return list(fold.dump()), fold.log.mining.totals, fold.log.findings, spans


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The numbers of batches that came by sums kept of many."""
    found: list[int] = []
    original = Mining._count

    def count(self: Mining, sums: Sums) -> None:
        if sums.batches > 1:
            found.append(sums.batches)
        original(self, sums)

    monkeypatch.setattr(Mining, "_count", count)
    return found


async def put(store: AccountingStore, log: Any) -> None:
    """Store a log, the summaries as our own."""
    for label, event in log.events.items():
        if label.startswith("summary"):
            await store.add_own(event, published=True)
        else:
            await store.add_events([event])


async def stored(path: Path, log: Any) -> Any:
    """A store with a log that was folded as new; what that told."""
    async with open_store(path, log.pool, log.keys.accounting.pubkey) as store:
        await put(store, log)
        return told((await load(store, log, trusted=False)).fold)


async def test_sums_kept_of_many_batches_give_the_same(long_log: Any, tmp_path: Path, counted: list[int]) -> None:
    path = tmp_path / "ledger.sqlite"
    expected = await stored(path, long_log)
    assert counted == []
    assert expected[2] == []
    async with open_store(path, long_log.pool, long_log.keys.accounting.pubkey) as store:
        loaded = await load(store, long_log)
    assert counted == SUMMED
    assert told(loaded.fold) == expected
    assert loaded.changes.statistics == {long_log.keys.alice.pubkey, long_log.keys.bob.pubkey}


@pytest.mark.parametrize("table", ["spans", "events"])
async def test_whatever_bit_is_flipped_in_what_is_kept_it_is_found(
    long_log: Any, tmp_path: Path, counted: list[int], table: str
) -> None:
    """It is counted anew from what is whole, the shares hashed where nothing is, and kept again."""
    path = tmp_path / "ledger.sqlite"
    expected = await stored(path, long_log)
    column = {"spans": "body", "events": "checked"}[table]
    db = sqlite3.connect(path)
    kept = db.execute(f"SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL").fetchall()
    assert len(kept) > 60
    for number, (name, body) in enumerate(kept):
        at = number * 7919 % len(body)
        changed = body[:at] + bytes([body[at] ^ (1 << number % 8)]) + body[at + 1 :]
        db.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (changed, name))
    db.commit()
    db.close()
    async with open_store(path, long_log.pool, long_log.keys.accounting.pubkey) as store:
        assert told((await load(store, long_log)).fold) == expected
        assert counted == []
        again = await load(store, long_log)
    assert told(again.fold) == expected
    assert counted == SUMMED
    db = sqlite3.connect(path)
    assert db.execute(f"SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL").fetchall() == kept
    db.close()


async def test_rows_of_other_batches_are_not_taken(long_log: Any, tmp_path: Path, counted: list[int]) -> None:
    """Whole rows and checks, each under another's name."""
    path = tmp_path / "ledger.sqlite"
    expected = await stored(path, long_log)
    db = sqlite3.connect(path)
    for table, column in (("spans", "body"), ("events", "checked")):
        query = f"SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY id"
        names, bodies = zip(*db.execute(query), strict=True)
        db.executemany(
            f"UPDATE {table} SET {column} = ? WHERE id = ?",
            zip(bodies[1:] + bodies[:1], names, strict=True),
        )
    db.commit()
    db.close()
    async with open_store(path, long_log.pool, long_log.keys.accounting.pubkey) as store:
        assert told((await load(store, long_log)).fold) == expected
    assert counted == []


class Killed(Exception):
    """The process is gone."""


@pytest.mark.parametrize("at", [0, 1, 2, 5, 11, 12])
async def test_a_kill_between_any_two_writes_leaves_nothing_that_disagrees(
    long_log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    path = tmp_path / "ledger.sqlite"
    expected = told(folded_as_new(long_log))
    left = at

    def dying(write: Any) -> Any:
        async def wrapped(self: AccountingStore, rows: Any) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            await write(self, rows)

        return wrapped

    async with open_store(path, long_log.pool, long_log.keys.accounting.pubkey) as store:
        await put(store, long_log)
        with monkeypatch.context() as patch:
            for name in ("add_checked", "add_spans"):
                patch.setattr(AccountingStore, name, dying(getattr(AccountingStore, name)))
            with pytest.raises(Killed):
                await load(store, long_log, trusted=False)
    for _ in range(2):
        async with open_store(path, long_log.pool, long_log.keys.accounting.pubkey) as store:
            assert told((await load(store, long_log)).fold) == expected


def folded_as_new(log: Any) -> Fold:
    fold = Fold(log.pool)
    for event in log.all():
        fold.add(event)
    fold.settle()
    return fold


async def test_a_share_that_falls_after_its_batch_was_summed_takes_the_sums_with_it(
    build: Any, tmp_path: Path, counted: list[int]
) -> None:
    """A batch of another lane that comes late repeats an old share, and has the older claim to it."""
    log, path = build(), tmp_path / "ledger.sqlite"
    job = log.job("A", 0, (0, 1))
    shared = log.mine(job, log.keys.alice, 2_000)
    for number in range(WIDEST + 20):
        start = number * SHORT_MS
        shares = [log.mine(job, log.keys.alice, start + 1_000)] if number < 60 else []
        log.batch(0, start, start + SHORT_MS, [*shares, shared] if number == 0 else shares)
    log.batch(1, 0, SHORT_MS, [shared._replace(t=shared.t - 500)])
    late, others = log.events["batch 1/0"], log.all("batch 1/0")
    async with open_store(path, log.pool, log.keys.accounting.pubkey) as store:
        await store.add_events(others)
        await load(store, log, trusted=False)
        await store.add_events([late])
        expected = (await load(store, log)).fold
        assert [found.code.value for found in expected.log.findings] == ["share-twice"]
        counted.clear()
        again = (await load(store, log)).fold
    assert counted == []
    assert [found.code for found in again.log.findings] == [found.code for found in expected.log.findings]
    assert again.log.mining.totals.good == expected.log.mining.totals.good
    assert again.log.mining.totals.miners[log.keys.alice.pubkey].shares == 61


def test_what_was_taken_for_known_is_hashed_at_last(build: Any) -> None:
    """So that a share told before a restart can't be told again after it, whatever was kept in between."""
    log = build()
    share = log.mine(log.job("A", 0, (0,)), log.keys.alice, 1_000)
    log.batch(0, 0, LENGTH_MS, [share])
    first = PoolLog(log.pool)
    for event in log.all():
        first.add(event)
    (checked,) = (fact for fact in first.settle() if isinstance(fact, BatchChecked))
    assert checked.check is not None
    fold = Fold(log.pool)
    fold.begin_replay()
    for event in log.all("batch 0/0"):
        fold.add(event)
    fold.settle()
    known = open_check(checked.receipt.id, checked.check, encode_event(log.events["batch 0/0"]))
    assert known is not None
    fold.add_known(known)
    fold.settle()
    fold.end_replay()
    thawed = Fold(log.pool, fold.log.shelves)
    thawed.thaw(fold.freeze())
    log.batch(0, LENGTH_MS, 2 * LENGTH_MS, [share._replace(t=share.t + LENGTH_MS)])
    thawed.add(log.events["batch 0/1"])
    thawed.settle()
    assert [found.code.value for found in thawed.log.findings] == ["share-twice"]
