"""The gate: what a key signs while its lane is closed follows the terms that close it."""

import asyncio
import functools
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import Filter, UnsignedEvent, VerifiedEvent
from nips.pool.kinds import RECEIPT, TERMS
from noncestr.edge.lane_gate import GatedFeed
from noncestr.feed import Delivery
from relay_bridge.adapters.subscription import EndOfStored

POOL, EDGE, OTHER = (SecretKey(hashlib.sha256(f"noncestr test key gate {n}".encode()).digest()) for n in range(3))
END = EndOfStored(("ws://a",), {}, True)

pytestmark = pytest.mark.anyio


def told(signer: SecretKey, number: int, kind: int = RECEIPT) -> VerifiedEvent:
    return signer.sign(UnsignedEvent(kind, number, (), ""))


class FakeFeed:
    """Gives what is sent to it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[object] = asyncio.Queue()
        self.published: list[tuple[VerifiedEvent, str]] = []
        self.stored: list[str] = []
        self.held: tuple[int, int] | None = None

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        self.published.append((event, chain))

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        return [event for event, _ in self.published]

    @asynccontextmanager
    async def subscribe(
        self, filters: Sequence[Filter], *, name: str, held: tuple[int, int] | None = None
    ) -> AsyncIterator[AsyncIterator[object]]:
        self.held = held

        async def items() -> AsyncIterator[object]:
            while (item := await self.queue.get()) is not None:
                yield item

        yield items()

    def give(self, *events: VerifiedEvent) -> None:
        for event in events:
            self.queue.put_nowait(Delivery(event, functools.partial(self.stored.append, event.id)))

    def end(self) -> None:
        self.queue.put_nowait(None)


async def passed(gate: GatedFeed) -> list[object]:
    async with gate.subscribe([], name="x") as items:
        return [getattr(item, "event", None) async for item in items]


async def test_an_open_gate_lets_everything_through_and_hears_what_is_live() -> None:
    feed, heard = FakeFeed(), []
    gate = GatedFeed(feed, POOL.pubkey, heard.append)
    first, second = told(EDGE, 1), told(EDGE, 2)
    feed.give(first)
    feed.queue.put_nowait(END)
    feed.give(second)
    feed.end()
    assert await passed(gate) == [first, None, second]
    assert heard == [second]
    await gate.publish(first, chain="c")
    assert feed.published == [(first, "c")]
    assert await gate.fetch([]) == [first]


async def test_what_was_held_back_follows_the_terms() -> None:
    feed = FakeFeed()
    gate = GatedFeed(feed, POOL.pubkey, lambda _: None)
    late, others, terms, after = told(EDGE, 1), told(OTHER, 2), told(POOL, 3, TERMS), told(OTHER, 4)
    with gate.hold([EDGE.pubkey]) as hold:
        hold.until(terms.id)
    feed.give(late, others, terms, after)
    feed.end()
    assert await passed(gate) == [others, terms, late, after]


async def test_what_is_held_back_is_not_said_to_be_stored() -> None:
    """A kill meanwhile loses nothing: the next reader is given it again."""
    feed = FakeFeed()
    gate = GatedFeed(feed, POOL.pubkey, lambda _: None)
    late, others = told(EDGE, 1), told(OTHER, 2)
    feed.give(late, others)
    feed.end()
    with gate.hold([EDGE.pubkey]) as hold:
        hold.until("terms to come")
    async with gate.subscribe([], name="x", held=(5, 7)) as items:
        async for item in items:
            item.stored()
    assert (feed.held, feed.stored) == ((5, 7), [others.id])


async def test_terms_may_pass_before_they_are_named() -> None:
    feed = FakeFeed()
    gate = GatedFeed(feed, POOL.pubkey, lambda _: None)
    late, terms, after = told(EDGE, 1), told(POOL, 2, TERMS), told(OTHER, 3)
    async with gate.subscribe([], name="x") as items:
        with gate.hold([EDGE.pubkey]) as hold:
            feed.give(late, terms)
            got = [(await anext(items)).event]
            feed.give(after)
            # The terms are noted once the next event is asked for: they are with the reader by then.
            got.append((await anext(items)).event)
            hold.until(terms.id)
        feed.give(after)
        got += [(await anext(items)).event, (await anext(items)).event]
    assert got == [terms, after, late, after]


async def test_a_close_that_failed_opens_the_gate_again() -> None:
    feed = FakeFeed()
    gate = GatedFeed(feed, POOL.pubkey, lambda _: None)
    late, after = told(EDGE, 1), told(OTHER, 2)
    async with gate.subscribe([], name="x") as items:
        with gate.hold([EDGE.pubkey, OTHER.pubkey]):
            feed.give(late)
            with anyio.move_on_after(0.01) as waited:
                await anext(items)
            assert waited.cancelled_caught
    feed.give(after)
    feed.end()
    assert await passed(gate) == [late, after]
