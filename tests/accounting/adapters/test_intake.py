"""What is on its way to the fold: in small steps, again after every failure, and receipts only when they are wanted."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from accounting.adapters import intake as module
from accounting.adapters.intake import ATTESTATIONS, NAME, QUEUE, STEP_BYTES, STEP_EVENTS, Found, Intake
from accounting.ports import Held
from nips.keys import SecretKey
from nips.nip01 import Filter, UnsignedEvent, VerifiedEvent
from nips.nip57 import ZAP_RECEIPT
from nips.pool.address import PoolAddress
from nips.pool.kinds import ATTESTATION, LEDGER_KINDS

pytestmark = pytest.mark.anyio
KEY = SecretKey(b"\x05" * 32)
POOL = PoolAddress(KEY.pubkey, "regtest")
WAIT_S = 60
# The end of what is stored, as a feed tells it: no event.
END = object()


def event(number: int, size: int = 10) -> VerifiedEvent:
    return KEY.sign(UnsignedEvent(4212, number, (), "x" * size))


@dataclass
class Feed:
    """Gives each subscription the next of `answers`, an exception or deliveries, and then ends it."""

    answers: list[Any]
    asked: list[tuple[str, Sequence[Filter], Held | None]] = field(default_factory=list)
    fetched: list[Sequence[Filter]] = field(default_factory=list)

    def _next(self) -> Any:
        found = self.answers.pop(0) if self.answers else []
        if isinstance(found, Exception):
            raise found
        return found

    @asynccontextmanager
    async def subscribe(
        self, filters: Sequence[Filter], *, name: str, held: Held | None = None
    ) -> AsyncIterator[AsyncIterator[object]]:
        self.asked.append((name, filters, held))
        items = self._next()

        async def deliveries() -> AsyncIterator[object]:
            for item in items:
                yield item
            if not self.answers:
                await anyio.sleep_forever()

        yield deliveries()

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        self.fetched.append(filters)
        found: list[VerifiedEvent] = self._next()
        return found

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        raise AssertionError("nothing is published here")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0)


async def begun() -> None:
    """The feed was told: nothing of ours hangs on it."""


async def until(said: Any) -> None:
    with anyio.fail_after(WAIT_S):
        while not said():  # noqa: ASYNC110 - looked at, in a test
            await anyio.sleep(0.001)


async def steps_of(items: Sequence[object]) -> list[int]:
    """How many of the deliveries each step takes."""
    assert len(items) <= QUEUE
    feed, taken = Feed([list(items)]), []
    with Intake(feed, POOL, lambda _: None, WAIT_S) as intake:

        async def held() -> Held:
            return Held(0, 0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(intake.follow, held, begun)
            await anyio.wait_all_tasks_blocked()
            while sum(taken) < len(items):
                taken.append(len(await intake.next_items()))
            tasks.cancel_scope.cancel()
    return taken


async def test_a_step_is_many_small_events_or_one_large() -> None:
    small = [Found(event(number)) for number in range(STEP_EVENTS + 5)]
    assert await steps_of(small) == [STEP_EVENTS, 5]
    large = [Found(event(number, STEP_BYTES)) for number in range(3)]
    assert await steps_of(large) == [1, 1, 1]
    assert await steps_of([small[0], large[0], small[1]]) == [2, 1]
    # What carries no event ends a step: it may change what is to be done next.
    assert await steps_of([small[0], END, small[1], small[2]]) == [2, 2]


async def test_a_step_of_nothing_comes_after_a_tick() -> None:
    with Intake(Feed([]), POOL, lambda _: None, 0.01) as intake, anyio.fail_after(WAIT_S):
        assert await intake.next_items() == []


async def test_the_log_is_read_again_after_every_failure_from_what_is_on_the_disk() -> None:
    feed = Feed([RuntimeError("relays"), [Found(event(1)), END], [Found(event(2))]])
    said: list[str] = []
    stored = iter(range(10))

    async def held() -> Held:
        number = next(stored)
        if number == 1:
            raise OSError("disk")
        return Held(number, 0)

    with Intake(feed, POOL, said.append, WAIT_S) as intake:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(intake.follow, held, begun)
            await until(lambda: len(feed.asked) == 3)
            found: list[object] = []
            while len(found) < 3:
                found += await intake.next_items()
            tasks.cancel_scope.cancel()
    assert [getattr(item, "event", None) for item in found] == [event(1), None, event(2)]
    # The disk failed the second time: the relays were not asked then.
    assert [told for _, _, told in feed.asked] == [Held(0, 0), Held(2, 0), Held(3, 0)]
    ((asked,),) = {tuple(filters) for _, filters, _ in feed.asked}
    assert asked.kinds == LEDGER_KINDS
    assert {name for name, _, _ in feed.asked} == {NAME}
    assert [text.split(":")[0] for text in said] == ["the subscription broke"] * 2 + ["the subscription ended"]


async def test_receipts_are_asked_for_when_they_are_wanted() -> None:
    receipt = KEY.sign(UnsignedEvent(ZAP_RECEIPT, 1, (), ""))
    feed, said = Feed([RuntimeError("relays"), [receipt]]), []
    due = iter([[], ["aa" * 32], [], ["aa" * 32]])
    with Intake(feed, POOL, said.append, 0.001) as intake:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(intake.seek_receipts, lambda: next(due, []))
            found: list[object] = []
            with anyio.fail_after(WAIT_S):
                while not found:
                    found = await intake.next_items()
            tasks.cancel_scope.cancel()
    assert found == [Found(receipt)]
    assert len(feed.fetched) == 2
    assert {(tuple(asked.ids or ()), tuple(asked.kinds or ())) for (asked,) in feed.fetched} == {
        (("aa" * 32,), (ZAP_RECEIPT,))
    }
    assert said == ["zap receipts could not be asked for: RuntimeError('relays')"]


async def test_the_feed_is_told_anew_what_is_held_when_all_is_to_come_again() -> None:
    feed = Feed([[Found(event(1))]])
    told: list[int] = []
    said: list[str] = []

    async def held() -> Held:
        return Held(9 - len(told), 5)

    async def heard() -> None:
        told.append(len(feed.asked))

    with Intake(feed, POOL, said.append, WAIT_S) as intake:
        # Nothing is followed so far: nothing to break off.
        intake.follow_anew()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(intake.follow, held, heard)
            await until(lambda: told == [1])
            intake.follow_anew()
            await until(lambda: told == [1, 2])
            tasks.cancel_scope.cancel()
    assert [told for _, _, told in feed.asked] == [Held(9, 5), Held(8, 5)]
    assert said == [], "that is no trouble"


async def test_attestations_are_followed_once_they_are_wanted() -> None:
    word = KEY.sign(UnsignedEvent(ATTESTATION, 100, (), "{}"))
    feed, taken, said = Feed([RuntimeError("relays"), [Found(word), END]]), [], []
    since = iter([None, None])
    with Intake(feed, POOL, said.append, WAIT_S) as intake:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(intake.follow_attestations, lambda: next(since, 50), taken.append)
            await until(lambda: len(taken) == 3)
            tasks.cancel_scope.cancel()
    # None: whoever waits for what was stored need wait no more, also when nobody can be asked.
    assert taken == [None, word, None]
    assert [(name, filters[0].since) for name, filters, _ in feed.asked] == [(ATTESTATIONS, 50)] * 2
    assert len(said) == 1
