"""A start goes on from the fold that was kept, and from the log whenever that can't be used: the books are the same."""

import shutil
import sqlite3
import threading

import anyio
import pytest

from accounting import service
from accounting.adapters import kept_fold
from accounting.adapters.kept_fold import fold_path
from accounting.adapters.kept_shelves import KeptShelves
from accounting.fold import CODEC, FORM, Fold, form
from accounting.freeze import Unreadable
from nips.pool.address import PoolAddress
from nips.pool.kinds import LEDGER_KINDS, STATEMENT, SUMMARY

pytestmark = pytest.mark.anyio


def told(pool):
    """Blocks, payouts and hours."""
    pool.log.terms()
    for number in range(3):
        pool.log.batch([pool.log.alice, pool.log.bob, pool.log.alice])
        pool.log.batch([pool.log.bob], block=True, seconds=1800)
        pool.log.payout(f"payout {number}", pool.log.alice, 1000 + number)
    pool.log.batch([], seconds=3600)
    pool.tell()


async def run_until_settled(pool, eventually, **options):
    """Run an accounting until all is in the books, stop it cleanly; its dump and whether it took up a kept fold."""
    accounting = pool.accounting(**options)
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        read_at_start = accounting.fold.log.read
        await accounting.balances()
        await eventually(
            lambda: all(event.id in accounting.fold for event in pool.relay.order if event.kind in LEDGER_KINDS)
        )
        await eventually(lambda: len(pool.relay.of_kind(STATEMENT)) == 3 and pool.relay.of_kind(SUMMARY))
        await eventually(lambda: accounting.fold.due_summary() is None)
        await anyio.sleep(0.05)
        dump = list(accounting.fold.dump())
        assert [text for text in accounting.condition().violations if "more than matured" not in text] == []
        tasks.cancel_scope.cancel()
    return dump, read_at_start, accounting


@pytest.fixture
def loads(monkeypatch):
    """How each start got its fold: True from what was kept, False from the whole log."""
    ways = []
    original = service.load_fold

    async def watched(store, pool, **options):
        try:
            before = options["shelves"].kept() is not None and options["trusted"]
        except sqlite3.DatabaseError:
            # Which pages are damaged depends on what the file holds.
            before = False
        thawed = []
        real = Fold.thaw
        monkeypatch.setattr(Fold, "thaw", lambda fold, data: (real(fold, data), thawed.append(1))[0])
        loaded = await original(store, pool, **options)
        monkeypatch.setattr(Fold, "thaw", real)
        ways.append(bool(before and thawed and loaded.fold.log.read))
        return loaded

    monkeypatch.setattr(service, "load_fold", watched)
    return ways


async def test_a_clean_stop_and_a_start(pool, eventually, loads):
    told(pool)
    first, _, _ = await run_until_settled(pool, eventually)
    again, read, _ = await run_until_settled(pool, eventually)
    assert again == first
    assert read >= len(pool.log.events)
    assert loads == [False, True]
    fresh = Fold(pool.log.pool)
    for event in pool.relay.order:
        if event.kind in LEDGER_KINDS:
            fresh.add(event)
    fresh.settle()
    assert list(fresh.dump()) == first


async def test_what_was_kept_of_an_empty_log_is_used(pool, caplog):
    for _ in range(2):
        accounting = pool.accounting()
        async with anyio.create_task_group() as tasks:
            await tasks.start(accounting.run)
            await accounting.balances()
            tasks.cancel_scope.cancel()
    assert "another log's" not in caplog.text


async def test_what_came_after_it_was_kept_is_folded(pool, eventually, loads):
    told(pool)
    await run_until_settled(pool, eventually)
    kept = fold_path(pool.path)
    shutil.copy(kept, pool.path.with_name("kept"))
    pool.log.batch([pool.log.bob], seconds=3600)
    pool.log.payout("late", pool.log.bob, 77)
    pool.tell()
    later, _, _ = await run_until_settled(pool, eventually)
    # As after a kill: the log has more than the fold that was kept.
    for path in (kept, kept.with_name(kept.name + "-wal"), kept.with_name(kept.name + "-shm")):
        path.unlink(missing_ok=True)
    shutil.copy(pool.path.with_name("kept"), kept)
    again, _, accounting = await run_until_settled(pool, eventually)
    assert again == later
    assert loads == [False, True, True]
    assert accounting.fold.ledger.payouts["late"].payout.amount_msat == 77


@pytest.mark.parametrize("how", ["gone", "garbage", "damaged", "another form", "another log", "another state"])
async def test_a_kept_fold_that_cant_be_used_is_made_anew(pool, eventually, loads, how):
    told(pool)
    first, _, _ = await run_until_settled(pool, eventually)
    kept = fold_path(pool.path)
    if how == "gone":
        kept.unlink()
    elif how == "garbage":
        kept.write_bytes(b"garbage" * 1000)
    elif how == "damaged":
        raw = kept.read_bytes()
        kept.write_bytes(raw[: len(raw) // 4] + bytes(len(raw) // 2) + raw[len(raw) // 4 + len(raw) // 2 :])
    else:
        change = {
            "another form": "UPDATE kept SET form = 'other'",
            "another log": "UPDATE kept SET newest = 'other'",
            "another state": "UPDATE kept SET state = x'c0'",
        }[how]
        database = sqlite3.connect(kept)
        database.execute(change)
        database.commit()
        database.close()
    again, _, _ = await run_until_settled(pool, eventually)
    assert again == first
    assert loads == [False, False]
    third, _, _ = await run_until_settled(pool, eventually)
    assert third == first
    assert loads == [False, False, True]


async def test_a_kept_fold_that_turns_out_damaged_amid_a_step_is_made_anew(pool, eventually, monkeypatch):
    """Its damage may lie where no start looks: going on from it would meet it again and again."""
    told(pool)
    first, _, _ = await run_until_settled(pool, eventually)
    loaded, cleared = [], []
    real_load, real_clear, real_settle = service.load_fold, KeptShelves.clear, Fold.settle

    async def load(*args, **options):
        found = await real_load(*args, **options)
        loaded.append(options["go_on"])
        return found

    def clear(shelves):
        cleared.append(1)
        real_clear(shelves)

    def settle(fold):
        if loaded and not cleared:
            raise sqlite3.DatabaseError("database disk image is malformed")
        real_settle(fold)

    monkeypatch.setattr(service, "load_fold", load)

    monkeypatch.setattr(KeptShelves, "clear", clear)
    monkeypatch.setattr(Fold, "settle", settle)
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    again, _, accounting = await run_until_settled(pool, eventually)
    assert again == first
    assert (loaded, cleared) == ([True, False], [1])
    assert any("malformed" in text for text in accounting.condition().troubles)


async def test_a_disk_that_fails_amid_a_step_costs_no_event(pool, eventually, monkeypatch):
    told(pool)
    first, _, _ = await run_until_settled(pool, eventually)
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await accounting.balances()
        real, failed = Fold.settle, []

        def settle(fold):
            if len(failed) < 2:
                failed.append(1)
                raise sqlite3.OperationalError("disk I/O error")
            real(fold)

        monkeypatch.setattr(Fold, "settle", settle)
        monkeypatch.setattr(service, "RETRY_S", 0.01)
        pool.log.payout("amid", pool.log.bob, 5)
        pool.tell()
        await eventually(lambda: "amid" in accounting.fold.ledger.payouts)
        assert len(failed) == 2
        assert any("the disk failed" in text for text in accounting.condition().troubles)
        tasks.cancel_scope.cancel()
    again, _, _ = await run_until_settled(pool, eventually)
    assert len(again) > len(first)


async def test_it_is_kept_while_it_runs(pool, eventually, monkeypatch):
    monkeypatch.setattr(kept_fold, "KEEP_EVENTS", 5)
    told(pool)
    async with anyio.create_task_group() as tasks:
        accounting = pool.accounting()
        await tasks.start(accounting.run)
        await accounting.balances()
        await eventually(lambda: accounting._kept._read > 10)
        shelves = sqlite3.connect(f"file:{fold_path(pool.path)}?mode=ro", uri=True)
        await eventually(lambda: shelves.execute("SELECT position FROM kept").fetchone())
        shelves.close()
        tasks.cancel_scope.cancel()


async def test_nobody_waits_while_it_is_kept(pool, eventually, monkeypatch):
    """A large fold takes seconds to freeze: who asks meanwhile is answered, what comes meanwhile is folded after."""
    told(pool)
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await accounting.balances()
        await eventually(lambda: len(pool.relay.of_kind(STATEMENT)) == 3 and not accounting._amid)
        real, begun, go_on = Fold.freeze, threading.Event(), threading.Event()

        def freeze(fold):
            begun.set()
            assert go_on.wait(60)
            return real(fold)

        monkeypatch.setattr(Fold, "freeze", freeze)
        monkeypatch.setattr(kept_fold, "KEEP_EVENTS", 1)
        pool.log.payout("one more", pool.log.bob, 5)
        pool.tell()
        try:
            await eventually(begun.is_set)
            read, before = accounting.fold.log.read, accounting.balance(pool.log.bob)
            pool.log.payout("another", pool.log.bob, 7)
            pool.tell()
            for _ in range(20):
                assert (await accounting.balances())[pool.log.bob] == before
                assert accounting.statements_of(pool.log.bob)
                await anyio.sleep(0.01)
            assert accounting.fold.log.read == read
        finally:
            go_on.set()
        await eventually(lambda: accounting.balance(pool.log.bob).paid_msat == 12)
        monkeypatch.setattr(Fold, "freeze", real)
        tasks.cancel_scope.cancel()
    again, _, _ = await run_until_settled(pool, eventually)
    assert again == list(accounting.fold.dump())


def test_a_state_that_cant_be_read():
    fold = Fold(PoolAddress("aa" * 32, "regtest"))
    for data in (b"", b"\xc0", CODEC.dumps({}), CODEC.dumps({"log": b""})):
        with pytest.raises(Unreadable):
            fold.thaw(data)
    assert form().startswith(f"{FORM} ")


async def test_terms_that_come_late_make_a_start_fold_once(pool, eventually, monkeypatch):
    """They close a lane below what was read long before them; the log is folded in small steps."""
    monkeypatch.setattr("accounting.loading.SETTLE_EVENTS", 3)
    told(pool)
    await run_until_settled(pool, eventually)
    end = pool.log.head
    for _ in range(5):
        pool.log.batch([pool.log.alice])
    pool.log.terms(closed={f"{pool.log.edge.pubkey}/0": end})
    pool.tell()
    # Without an open lane an hour is summed up when the clock has passed it.
    pool.clock.ms += 2 * 3_600_000
    closed, _, accounting = await run_until_settled(pool, eventually)
    fold_path(pool.path).unlink()
    again, _, restarted = await run_until_settled(pool, eventually)
    assert again == closed
    assert not [text for text in restarted.condition().troubles if "does not settle" in text]
    assert accounting.fold.statistics.shares == restarted.fold.statistics.shares == 12
