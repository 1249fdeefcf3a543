"""What is told unasked: once, when the chain has it, not too often, through kills and lost files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from noncestr.citizen import teller as citizen_teller
from noncestr.citizen.limits import DAY_MS, HOUR_MS
from noncestr.citizen.memory import Memory, open_memory
from noncestr.citizen.teller import DAY_RETRY_MS, FIRST_STATUS_MS, FRESH_MS, NEWS_MS, Teller
from noncestr.config.social import SocialConfig
from noncestr.keys.remote_key import RemoteKeyError
from relay_bridge.errors import RelayUnavailable

NOTE, STATUS = 1, 30315
QUIET = SocialConfig(daily=False, status_minutes=0)


@asynccontextmanager
async def teller(citizen: Any, config: SocialConfig = QUIET) -> AsyncIterator[tuple[Teller, Memory]]:
    async with open_memory(citizen.path, citizen.clock.ms) as memory:
        yield Teller(citizen.who, config, citizen.books, citizen.feed, citizen.clock, memory), memory


@pytest.mark.anyio
async def test_a_block_is_told_once_and_when_the_chain_has_it(citizen: Any) -> None:
    async with teller(citizen) as (tells, _):
        block = citizen.block(1, accepted=False)
        await tells.look()
        assert citizen.feed.published == []
        citizen.books.accepted.add(block.block)
        citizen.clock.ms += 60_000
        for _ in range(3):
            await tells.look()
    async with teller(citizen) as (tells, _):
        await tells.resume()
        await tells.look()
    (note,) = citizen.feed.of(NOTE)
    assert note.pubkey == citizen.who.key.pubkey
    assert note.created_at == block.found_ms // 1000
    assert "nostr:npub1" in note.content


@pytest.mark.anyio
async def test_a_note_written_before_a_kill_goes_out_after_it_unchanged(citizen: Any) -> None:
    citizen.block(1)
    async with teller(citizen) as (tells, memory):
        citizen.feed.away = True
        with pytest.raises(RelayUnavailable):
            await tells.look()
        ((_, written),) = await memory.unsent()
    citizen.feed.away = False
    # Another text, as if the operator had changed it: the note is as it was written.
    async with teller(citizen, replace(QUIET, block_note="new words")) as (tells, _):
        await tells.resume()
        await tells.look()
    assert citizen.feed.of(NOTE) == [written]


@pytest.mark.anyio
async def test_a_remote_signer_that_is_away_is_waited_for_in_a_line_each_time(
    citizen: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Away:
        pubkey = citizen.who.key.pubkey
        asked = 0

        async def sign(self, unsigned: Any) -> Any:
            self.asked += 1
            if self.asked < 3:
                raise RemoteKeyError("the remote signer did not answer")
            return await signs(unsigned)

    for name in ("LOOK_S", "RETRY_S"):
        monkeypatch.setattr(citizen_teller, name, 0.01)
    signs = citizen.who.key.sign
    who = replace(citizen.who, key=Away())
    citizen.block(1)
    async with open_memory(citizen.path, citizen.clock.ms) as memory, anyio.create_task_group() as tasks:
        tells = Teller(who, QUIET, citizen.books, citizen.feed, citizen.clock, memory)
        tasks.start_soon(tells.run)
        with anyio.fail_after(30):
            while not citizen.feed.of(NOTE):  # noqa: ASYNC110 - looked at, in a test
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert caplog.text.count("nothing can be told for a moment: the remote signer did not answer") == 2
    assert "Traceback" not in caplog.text


@pytest.mark.anyio
async def test_a_lost_memory_tells_nothing_twice(citizen: Any) -> None:
    citizen.block(1)
    citizen.books.facts = citizen.day(citizen.clock.ms // DAY_MS * DAY_MS - DAY_MS)
    citizen.books.facts = replace(citizen.books.facts, date="2024-10-03")
    config = SocialConfig(status_minutes=0)
    async with teller(citizen, config) as (tells, _):
        await tells.look()
    assert len(citizen.feed.of(NOTE)) == 2
    citizen.feed.stored = citizen.feed.published[:]
    citizen.path.unlink()
    async with teller(citizen, config) as (tells, _):
        await tells.resume()
        await tells.look()
    assert len(citizen.feed.of(NOTE)) == 2


@pytest.mark.anyio
async def test_there_are_never_more_notes_than_allowed(citizen: Any) -> None:
    async with teller(citizen, replace(QUIET, notes_per_day=4)) as (tells, _):
        for number in range(1, 10):
            citizen.block(number)
            await tells.look()
            citizen.clock.ms += 60_000
        # One is kept for the summary.
        assert len(citizen.feed.of(NOTE)) == 3
        citizen.clock.ms += DAY_MS
        await tells.look()
        assert len(citizen.feed.of(NOTE)) == 3
        citizen.block(10)
        await tells.look()
        assert len(citizen.feed.of(NOTE)) == 4


@pytest.mark.anyio
async def test_old_blocks_are_no_news(citizen: Any) -> None:
    citizen.block(1)
    citizen.clock.ms += NEWS_MS + 1
    async with teller(citizen) as (tells, _):
        await tells.look()
    assert citizen.feed.published == []


@pytest.mark.anyio
async def test_luck_is_told_when_the_work_is_known(citizen: Any) -> None:
    expected = citizen.block(1).expected
    async with teller(citizen) as (tells, _):
        citizen.books.total = 1000
        await tells.look()
        citizen.clock.ms += 1000
        citizen.books.total += expected // 2
        citizen.block(2)
        await tells.look()
        citizen.block(3)
        citizen.clock.ms += FRESH_MS + 1
        citizen.books.total += expected
        await tells.look()
    first, second, third = citizen.feed.of(NOTE)
    assert "it took 49 %" in second.content or "it took 50 %" in second.content
    assert "average" not in first.content + third.content


@pytest.mark.anyio
async def test_a_day_is_told_once_it_is_whole(citizen: Any) -> None:
    midnight = citizen.clock.ms // DAY_MS * DAY_MS
    async with teller(citizen, replace(QUIET, daily=True)) as (tells, _):
        await tells.look()
        await tells.look()
        assert citizen.books.asked_days == [midnight - DAY_MS]
        citizen.clock.ms += DAY_RETRY_MS
        citizen.books.facts = replace(citizen.day(midnight - DAY_MS), date="2024-10-03")
        for _ in range(3):
            await tells.look()
        (note,) = citizen.feed.of(NOTE)
        assert note.created_at == midnight // 1000
        citizen.clock.ms += DAY_MS
        citizen.books.facts = replace(citizen.day(midnight), work=0)
        await tells.look()
        # Nothing happened on that day: nothing is said, and it is not asked for again.
        citizen.clock.ms += DAY_RETRY_MS
        await tells.look()
        assert len(citizen.books.asked_days) == 3
    assert len(citizen.feed.of(NOTE)) == 1


@pytest.mark.anyio
async def test_the_status_comes_at_its_pace_and_expires(citizen: Any) -> None:
    async with teller(citizen, SocialConfig(daily=False, status_minutes=10)) as (tells, _):
        await tells.look()
        assert citizen.feed.published == []
        citizen.clock.ms += FIRST_STATUS_MS
        for _ in range(60):
            await tells.look()
            citizen.clock.ms += 60_000
    statuses = citizen.feed.of(STATUS)
    assert len(statuses) == 6
    assert statuses[0].content.startswith("⛏️ 1.23 PH/s · 14 miners")
    assert int(statuses[0].tag_value("expiration") or 0) == statuses[0].created_at + 1800


@pytest.mark.anyio
async def test_all_can_be_turned_off(citizen: Any) -> None:
    citizen.block(1)
    async with teller(citizen, replace(QUIET, notes=False)) as (tells, _):
        citizen.clock.ms += HOUR_MS
        await tells.look()
    assert citizen.feed.published == []


@pytest.mark.anyio
async def test_it_waits_for_the_books_and_goes_on_after_failures(citizen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(citizen_teller, "LOOK_S", 0.001)
    monkeypatch.setattr(citizen_teller, "RETRY_S", 0.001)
    citizen.books.is_synced = False
    citizen.feed.away = True
    citizen.block(1)
    told = anyio.Event()
    publish = citizen.feed.publish

    async def tell(event: Any, *, chain: str = "") -> None:
        await publish(event, chain=chain)
        told.set()

    monkeypatch.setattr(citizen.feed, "publish", tell)
    async with teller(citizen) as (tells, _), anyio.create_task_group() as tasks:
        tasks.start_soon(tells.run)
        await anyio.sleep(0.02)
        assert not told.is_set()
        citizen.books.is_synced = True
        await anyio.sleep(0.02)
        assert not told.is_set()
        citizen.feed.away = False
        with anyio.fail_after(10):
            await told.wait()
        tasks.cancel_scope.cancel()
    assert len(citizen.feed.of(NOTE)) == 1
