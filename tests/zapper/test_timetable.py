"""Missed moments, rounds that can't be made yet, clocks that are set; in these tests sleep moves the clock."""

from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from nips.pool.address import PoolAddress
from zapper.adapters.intent_store import SqliteIntentStore, open_intent_store
from zapper.config import ZapperConfig, ZapperStatus
from zapper.ports import Owed, RoundDone
from zapper.schedule import latest_round_ms
from zapper.timetable import MAX_LATE_MS, RETRY_S, Timetable

pytestmark = pytest.mark.anyio
DAILY = "0 12 * * *"
DAY = 86_400_000
NOON = 1_800_014_400_000  # 2027-01-15 12:00 UTC
HOUR = 3_600_000


class Over(Exception):
    """The time of the test."""


class World:
    """Sleep moves the clock; tasks are kept, for the test to run."""

    def __init__(self, store: SqliteIntentStore) -> None:
        self.store = store
        self.now = NOON
        self.end = NOON
        self.status = ZapperStatus()
        self.tasks: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.rounds: list[int] = []
        # What each round comes to; made when none is left.
        self.script: list[bool | Exception] = []

    def clock(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        assert seconds > 0
        self.now += max(1, int(seconds * 1000))
        if self.now > self.end:
            raise Over

    async def make_round(self) -> bool:
        await anyio.lowlevel.checkpoint()
        self.rounds.append(self.now)
        result = self.script.pop(0) if self.script else True
        if isinstance(result, Exception):
            raise result
        return result

    def timetable(self, schedule: str = DAILY) -> Timetable:
        config = ZapperConfig(
            pool=PoolAddress("ab" * 32, "regtest"), pool_name="Test", relays=("ws://127.0.0.1:1",), schedule=schedule
        )
        return Timetable(
            config,
            store=self.store,
            status=self.status,
            make_round=self.make_round,
            clock=self.clock,
            sleep=self.sleep,
        )

    async def look(self, *, until: int, schedule: str = DAILY) -> int:
        """From now until then, a pool's life; how many rounds began. The tasks are run afterwards by `work`."""
        self.tasks.clear()
        self.end = until
        with pytest.raises(Over):
            await self.timetable(schedule).run(self.tasks.append)
        return len(self.tasks)

    async def work(self, *, until: int | None = None) -> None:
        self.end = until if until is not None else self.now + 8 * MAX_LATE_MS
        for task in self.tasks:
            await task()

    async def done_ms(self) -> int:
        done = await self.store.last_round()
        assert done is not None
        return done.moment_ms


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_intent_store(tmp_path / "intents.sqlite") as store:
        yield World(store)


async def test_nothing_is_missed_before_the_first_start(world: World) -> None:
    world.now = NOON + HOUR
    assert await world.look(until=NOON + 2 * HOUR) == 0
    assert await world.store.last_round() == RoundDone(DAILY, NOON + HOUR, None)
    assert (world.status.last_round_ms, world.status.next_round_ms) == (None, NOON + DAY)
    assert await world.look(until=NOON + DAY + 1) == 1
    await world.work()
    assert await world.done_ms() == NOON + DAY


async def test_many_missed_moments_are_one_round_and_only_once(world: World) -> None:
    await world.store.set_last_round(RoundDone(DAILY, NOON, NOON))
    world.now = NOON + 3 * DAY + HOUR
    assert await world.look(until=world.now + HOUR) == 1
    assert (world.status.last_round_ms, world.status.undone_ms) == (NOON, None)
    await world.work()
    assert world.rounds == [world.now]
    assert await world.store.last_round() == RoundDone(DAILY, NOON + 3 * DAY, world.now)
    assert (world.status.last_round_ms, world.status.undone_ms) == (world.now, None)
    assert await world.look(until=world.now + HOUR) == 0


async def test_a_round_that_has_not_ended_is_made_again_after_a_restart(world: World) -> None:
    await world.store.set_last_round(RoundDone(DAILY, NOON, NOON))
    world.now = NOON + DAY
    for _start in range(2):
        assert await world.look(until=world.now + 60_000) == 1
        assert await world.done_ms() == NOON
    await world.work()
    assert await world.done_ms() == NOON + DAY


async def test_what_was_missed_too_long_ago_is_left_to_the_operator(world: World) -> None:
    await world.store.set_last_round(RoundDone("0 12 15 * *", NOON - 31 * DAY, None))
    world.now = NOON + MAX_LATE_MS
    assert await world.look(until=world.now + 10, schedule="0 12 15 * *") == 1
    world.now = NOON + MAX_LATE_MS + 1
    assert await world.look(until=world.now + HOUR, schedule="0 12 15 * *") == 0


async def test_a_round_that_cannot_be_made_is_not_done_and_is_tried_soon(world: World) -> None:
    """Nothing may be paid yet, the log is not read whole, an error: the moment stays undone until a round is made."""
    await world.store.set_last_round(RoundDone(DAILY, NOON - DAY, None))
    world.now = NOON + HOUR
    assert await world.look(until=world.now + 1) == 1
    world.script = [False, RuntimeError("the database is away"), False]
    with pytest.raises(Over):
        await world.work(until=world.now + int(2.5 * RETRY_S * 1000))
    assert await world.done_ms() == NOON - DAY
    assert world.status.undone_ms == NOON
    assert len(world.rounds) == 3
    await world.work()
    assert await world.done_ms() == NOON
    assert world.status.undone_ms is None


async def test_a_round_held_for_too_long_is_left_out(world: World) -> None:
    await world.store.set_last_round(RoundDone(DAILY, NOON - DAY, None))
    assert await world.look(until=world.now + 1) == 1
    world.now = NOON + MAX_LATE_MS
    world.script = [False, False]
    await world.work()
    assert len(world.rounds) == 1
    assert (await world.done_ms(), world.status.undone_ms) == (NOON - DAY, None)


async def test_the_next_moment_takes_over_from_one_that_is_held(world: World) -> None:
    await world.store.set_last_round(RoundDone(DAILY, NOON - DAY, None))
    assert await world.look(until=NOON + DAY + 1) == 2
    world.script = [False]
    await world.work()
    assert len(world.rounds) == 2
    assert await world.done_ms() == NOON + DAY


async def test_an_older_round_that_ends_last_takes_nothing_back(world: World) -> None:
    await world.store.set_last_round(RoundDone(DAILY, NOON - DAY, None))
    assert await world.look(until=NOON + DAY + 1) == 2
    world.tasks.reverse()
    await world.work()
    assert await world.done_ms() == NOON + DAY


async def test_another_schedule_has_missed_nothing(world: World) -> None:
    await world.store.set_last_round(RoundDone(DAILY, NOON, NOON + 5))
    world.now = NOON + 20 * HOUR
    assert await world.look(until=world.now + 1, schedule="0 6 * * *") == 0
    assert await world.store.last_round() == RoundDone("0 6 * * *", NOON + 20 * HOUR, NOON + 5)


async def test_moments_of_a_clock_that_was_ahead_keep_nobody_waiting(world: World) -> None:
    await world.store.set_last_round(RoundDone(DAILY, NOON + 365 * DAY, None))
    world.now = NOON + HOUR
    assert await world.look(until=NOON + DAY + 1) == 1
    await world.work()
    assert await world.done_ms() == NOON + DAY
    # A leap back by less makes no moment twice.
    world.now = NOON + DAY - 60_000
    assert await world.look(until=NOON + DAY + HOUR) == 0


async def test_the_interval_needs_no_moment_and_tells_the_next(world: World) -> None:
    assert await world.look(until=NOON + 2 * HOUR + 1, schedule="") == 3
    assert world.status.next_round_ms == NOON + 3 * HOUR
    await world.work()
    assert world.status.last_round_ms == world.now


async def test_the_latest_moment_counts_itself() -> None:
    await anyio.lowlevel.checkpoint()
    assert [latest_round_ms(DAILY, NOON + d) for d in (-1, 0, 1, 30)] == [NOON - DAY, NOON, NOON, NOON]


async def test_the_zapper_waits_for_the_whole_log_and_then_makes_up_for_the_round(
    around: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away at noon, back with a log half read: the round is held, nothing counts as done; then it is made once."""
    monkeypatch.setattr("zapper.timetable.RETRY_S", 0.01)
    around.miner("alice", 5_000_000)
    around.settings["schedule"] = DAILY
    missed = latest_round_ms(DAILY, around.clock.ms)
    whole, read = around.ledger.owed, anyio.Event()
    asked = 0

    async def half() -> list[Owed] | None:
        nonlocal asked
        asked += 1
        return await whole() if read.is_set() else None

    around.ledger.owed = half
    async with around.open() as (zapper, store), anyio.create_task_group() as tasks:
        await store.set_last_round(RoundDone(DAILY, missed - DAY, None))
        tasks.start_soon(zapper.run)
        with anyio.fail_after(30):
            while asked < 3:  # noqa: ASYNC110 - the zapper signals nothing here
                await anyio.sleep(0.01)
            assert (await store.last_round()).moment_ms == missed - DAY
            assert (zapper.status.undone_ms, zapper.status.rounds) == (missed, 0)
            assert "read whole" in zapper.status.held
            assert "read whole" in (await zapper.plan()).held
            read.set()
            while (await store.last_round()).moment_ms != missed:  # noqa: ASYNC110 - a file signals nothing
                await anyio.sleep(0.01)
        assert (zapper.status.undone_ms, zapper.status.rounds, zapper.status.held) == (None, 1, "")
        tasks.cancel_scope.cancel()
    assert around.paid_msat() == 5_000_000


async def test_a_blocked_round_is_not_done(around: Any) -> None:
    around.miner("alice", 5_000_000)
    around.feed.down = True
    async with around.open() as (zapper, _):
        assert "no relay" in (await zapper.pay_round()).held
        around.feed.down = False
        assert (await zapper.pay_round()).held == ""
    assert around.paid_msat() == 5_000_000
