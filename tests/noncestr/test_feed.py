"""The feed gives the bridge's events by name."""

import hashlib
from collections.abc import Sequence

import pytest

from nips.keys import SecretKey
from nips.nip01 import Filter, UnsignedEvent, VerifiedEvent
from noncestr.feed import BridgeFeed, Delivery
from relay_bridge.adapters.subscription import EndOfStored
from relay_bridge.ports import Held

KEY = SecretKey(hashlib.sha256(b"noncestr test key feed").digest())


class FakeBridge:
    """Gives one stored event, the end of stored, one live event."""

    def __init__(self, events: Sequence[VerifiedEvent]) -> None:
        self.events = list(events)
        self.published: list[tuple[str, str]] = []
        self.how: dict[str, object] = {}
        self.told: list[str] = []

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        self.published.append((event.id, chain))

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        return self.events

    def subscribe(self, filters: Sequence[Filter], *, name: str, **how: object) -> "FakeBridge":
        self.how = how
        return self

    def stored(self, event: VerifiedEvent) -> None:
        self.told.append(event.id)

    async def __aenter__(self) -> "FakeBridge":
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def __aiter__(self):
        yield self.events[0]
        yield EndOfStored(("ws://a",), {}, True)
        yield self.events[1]


@pytest.mark.anyio
async def test_the_feed_names_its_events() -> None:
    events = [KEY.sign(UnsignedEvent(1, second, (), "")) for second in (1, 2)]
    bridge = FakeBridge(events)
    feed = BridgeFeed(bridge)
    async with feed.subscribe([], name="x") as items:
        got = [item async for item in items]
    assert [getattr(item, "event", None) for item in got] == [events[0], None, events[1]]
    assert isinstance(got[0], Delivery)
    assert bridge.how == {"ordered": False, "resume": False, "held": None}
    await feed.publish(events[0], chain="c")
    assert bridge.published == [(events[0].id, "c")]
    assert await feed.fetch([]) == events


@pytest.mark.anyio
async def test_a_reader_that_resumes_says_what_it_holds_and_what_it_stored() -> None:
    events = [KEY.sign(UnsignedEvent(1, second, (), "")) for second in (1, 2)]
    bridge = FakeBridge(events)
    async with BridgeFeed(bridge).subscribe([], name="x", held=(3, 9)) as items:
        got = [item async for item in items]
    assert bridge.how == {"ordered": True, "resume": True, "held": Held(3, 9)}
    assert bridge.told == []
    got[2].stored()
    assert bridge.told == [events[1].id]
