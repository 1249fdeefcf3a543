"""From the file to the relays: each event of our chain in its turn until it is taken, views when they are due."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from accounting.adapters import publishing
from accounting.adapters.publishing import Publisher
from accounting.adapters.store import StoredView
from accounting.signing import OwnChain
from accounting.views import View
from nips.keys import AtHand, SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress

pytestmark = pytest.mark.anyio
KEY = SecretKey(b"\x03" * 32)
POOL = PoolAddress("aa" * 32, "regtest")
CHAIN = f"{KEY.pubkey}/accounting"
EVENTS = [KEY.sign(UnsignedEvent(4221, number, (), "")) for number in range(4)]
WAIT_S = 60


@dataclass
class Relays:
    """Takes events unless `away`; `refusing` lets go of it after so many."""

    away: bool = False
    refusing: int = 0
    taken: list[tuple[str, str]] = field(default_factory=list)

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        if self.away or self.refusing:
            self.refusing = max(0, self.refusing - 1)
            raise ConnectionError("the relay is away")
        self.taken.append((event.id, chain))


@dataclass
class Disk:
    unsent: list[VerifiedEvent] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)
    views: dict[str, StoredView] = field(default_factory=dict)
    full: bool = False

    async def unpublished(self) -> list[VerifiedEvent]:
        return list(self.unsent)

    async def mark_published(self, event: VerifiedEvent) -> None:
        if self.full:
            raise OSError("disk")
        self.unsent.remove(event)
        self.marked.append(event.id)

    async def add_views(self, views: Mapping[str, StoredView]) -> None:
        self.views.update(views)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "RETRY_S", 0.001)


@dataclass
class Desk:
    relays: Relays = field(default_factory=Relays)
    disk: Disk = field(default_factory=Disk)
    said: list[str] = field(default_factory=list)
    own: OwnChain = field(default_factory=lambda: OwnChain(AtHand(KEY), POOL))

    def publisher(self) -> Publisher:
        return Publisher(self.relays, self.own, self.said.append)  # type: ignore[arg-type] - what is asked of them


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(WAIT_S):
        while not holds():  # noqa: ASYNC110 - looked at, in a test
            await anyio.sleep(0.001)


async def test_the_chain_goes_out_in_order_and_is_then_marked() -> None:
    desk = Desk()
    desk.own.recovered = True
    desk.disk.unsent = EVENTS[:2]
    publisher = desk.publisher()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publisher.publish_chain, desk.disk)
        await until(lambda: len(desk.disk.marked) == 2)
        assert publisher.unpublished == 0
        # Nothing is looked for until it is woken.
        desk.disk.unsent = EVENTS[2:]
        await anyio.wait_all_tasks_blocked()
        assert len(desk.relays.taken) == 2
        publisher.wake(more=2)
        assert publisher.unpublished == 2
        await until(lambda: len(desk.disk.marked) == 4)
        tasks.cancel_scope.cancel()
    assert desk.relays.taken == [(event.id, CHAIN) for event in EVENTS]
    assert publisher.unpublished == 0
    assert desk.said == []


async def test_nothing_goes_out_before_the_relays_were_asked_for_our_chain() -> None:
    desk = Desk(disk=Disk(unsent=EVENTS[:1]))
    publisher = desk.publisher()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publisher.publish_chain, desk.disk)
        await anyio.wait_all_tasks_blocked()
        assert desk.relays.taken == []
        desk.own.recovered = True
        publisher.wake()
        await until(lambda: desk.disk.marked)
        tasks.cancel_scope.cancel()
    assert desk.relays.taken == [(EVENTS[0].id, CHAIN)]


async def test_what_is_not_taken_stays_and_is_tried_again_before_what_follows() -> None:
    desk = Desk(relays=Relays(refusing=3), disk=Disk(unsent=EVENTS[:3]))
    desk.own.recovered = True
    publisher = desk.publisher()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publisher.publish_chain, desk.disk)
        await until(lambda: len(desk.disk.marked) == 3)
        tasks.cancel_scope.cancel()
    assert [taken for taken, _ in desk.relays.taken] == [event.id for event in EVENTS[:3]]
    assert len(desk.said) == 3
    assert "the relay is away" in desk.said[0]


async def test_a_disk_that_fails_sends_the_very_same_event_again() -> None:
    """The feed takes one id twice as one event: what counts is that none is lost."""
    desk = Desk(disk=Disk(unsent=EVENTS[:1], full=True))
    desk.own.recovered = True
    publisher = desk.publisher()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publisher.publish_chain, desk.disk)
        await until(lambda: len(desk.relays.taken) > 2)
        desk.disk.full = False
        await until(lambda: desk.disk.marked)
        tasks.cancel_scope.cancel()
    assert {taken for taken, _ in desk.relays.taken} == {EVENTS[0].id}


async def test_views_are_remembered_once_all_of_them_went_out() -> None:
    desk = Desk(relays=Relays(away=True))
    views = [View(f"34214:{n}", 5, f"says {n}", UnsignedEvent(34214, 5, (("d", str(n)),), "{}")) for n in range(2)]
    asked: list[int] = []

    def due() -> list[Any]:
        asked.append(1)
        return views if not desk.disk.views else []

    publisher = desk.publisher()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publisher.publish_views, desk.disk, due, 0.001)
        await until(lambda: len(desk.said) > 2)
        assert desk.disk.views == {}
        desk.relays.away = False
        await until(lambda: desk.disk.views)
        looked = len(asked)
        await until(lambda: len(asked) > looked + 2)
        tasks.cancel_scope.cancel()
    assert desk.disk.views == {f"34214:{n}": StoredView(5, f"says {n}") for n in range(2)}
    # No chain of views: each goes by itself, and is not sent again once it is remembered.
    assert [chain for _, chain in desk.relays.taken] == ["", ""]
