"""A reader that resumes: nothing is read twice, nothing is missed that came late or is dated back."""

from pathlib import Path

import anyio
import pytest

from nips.nip01 import VerifiedEvent, make_filter
from nips.nip11 import RelayInformation
from relay_bridge.adapters import catchup
from relay_bridge.adapters.arrival_store import ArrivalStore, forget_reader
from relay_bridge.adapters.subscription import EndOfStored
from relay_bridge.chains import Place
from relay_bridge.ports import Held
from relay_bridge.service import RelayBridge

pytestmark = pytest.mark.anyio
# Generous: waiting ends as soon as what is awaited is there.
WAIT = 60
HOUR = 3_600
FILTERS = [make_filter(kinds=[1]), make_filter(kinds=[2])]
# Relays that keep and serve, and what each of them offers besides.
KINDS = {"reconciles": (77,), "counts": (45,), "neither": ()}


async def take(bridge: RelayBridge, *, late: int = 0, filters=FILTERS, **how) -> list[VerifiedEvent]:
    """What a reader gets up to the end of stored, and `late` events after it."""
    got: list[VerifiedEvent] = []
    with anyio.fail_after(WAIT):
        async with bridge.subscribe(filters, name="reader", resume=True, **how) as subscription:
            async for delivered in subscription:
                if isinstance(delivered, EndOfStored):
                    break
                got.append(delivered)
            got += [await anext(subscription) for _ in range(late)]
    return got


@pytest.fixture
def log(sign) -> list[VerifiedEvent]:
    return [sign(1 + at % 2, at * HOUR) for at in range(300)]


@pytest.mark.parametrize("offers", KINDS)
async def test_a_restart_reads_little_and_misses_nothing(
    tmp_path: Path, telling, keeper, relay, running, sign, log, monkeypatch, offers: str
) -> None:
    """300 hours are taken; while nobody reads, three new events come and one that is ten days old."""
    monkeypatch.setattr(catchup, "SLICE_RECORDS", 40)
    new, late = [sign(1, (300 + at) * HOUR) for at in range(3)], sign(2, 60 * HOUR + 5)
    kept, served = {event.id: event for event in log}, []
    told = RelayInformation(supported_nips=KINDS[offers])
    async with telling(told, keeper(kept, counts=True, served=served)) as plain:
        url = relay.url if offers == "reconciles" else plain

        def sent() -> int:
            """Events that came over the wire since last asked."""
            count = len(served) + relay.stats["events_sent_stored"]
            served.clear()
            relay.stats["events_sent_stored"] = 0
            return count

        if offers == "reconciles":
            async with running(RelayBridge([url], outbox_path=tmp_path / "w.db")) as writer:
                await writer.publish_many(log)
                assert await writer.flush(30)
        async with running(RelayBridge([url], outbox_path=tmp_path / "r.db")) as bridge:
            assert await take(bridge) == log
        assert sent() >= 300
        async with running(RelayBridge([url], outbox_path=tmp_path / "r.db")) as bridge:
            assert await take(bridge) == []
            # Opening a live request costs an event a filter, the overlap of 900 s one more.
            assert sent() <= 4
            if offers == "reconciles":
                await bridge.publish_many([*new, late])
                assert await bridge.flush(WAIT)
        kept |= {event.id: event for event in [*new, late]}
        if offers == "neither":
            # Such a relay is compared once a day: let that day have passed.
            monkeypatch.setattr(catchup, "WHOLE_SECONDS", 0)
            monkeypatch.setattr(catchup, "PAUSE_SECONDS", 0)
        async with running(RelayBridge([url], outbox_path=tmp_path / "r.db")) as bridge:
            if offers == "reconciles":
                assert await take(bridge) == [late, *new]
                assert sent() <= 6
            else:
                assert await take(bridge, late=1) == [*new, late]
                # By number: the span of 40 with the late one, perhaps the newest too. By pages alone: everything once.
                assert sent() <= (100 if offers == "counts" else 400)
        async with running(RelayBridge([url], outbox_path=tmp_path / "r.db")) as bridge:
            assert await take(bridge) == []


async def test_what_was_not_taken_comes_again(tmp_path: Path, relay, running, sign) -> None:
    """A reader that breaks off in the middle, and one that fails over an event, get it once more; nothing is lost."""
    events = [sign(1, at) for at in range(10)]
    path = tmp_path / "r.db"
    async with running(RelayBridge([relay.url], outbox_path=path)) as bridge:
        await bridge.publish_many(events)
        assert await bridge.flush(WAIT)

        async def fail() -> None:
            async with bridge.subscribe(FILTERS, name="reader", resume=True) as subscription:
                for _ in range(4):
                    await anext(subscription)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await take(bridge) == events[3:]
    async with running(RelayBridge([relay.url], outbox_path=path)) as bridge:
        assert await take(bridge) == []
        # Another name, and other filters, begin anew.
        assert await take(bridge, filters=[make_filter(kinds=[1], until=events[4].created_at)]) == events[:5]
        async with bridge.subscribe(FILTERS, name="other", resume=True) as subscription:
            assert await anext(subscription) == events[0]


async def test_a_reader_that_reads_ahead_of_its_disk_says_what_is_stored(tmp_path: Path, relay, running, sign) -> None:
    """What it did not say so of comes again, however much it has read since, and out of order too."""
    events = [sign(1, at) for at in range(10)]
    path = tmp_path / "r.db"

    async def read(bridge: RelayBridge, held: Held, store: list[VerifiedEvent]) -> list[VerifiedEvent]:
        got = []
        with anyio.fail_after(WAIT):
            async with bridge.subscribe(FILTERS, name="reader", resume=True, held=held) as subscription:
                async for delivered in subscription:
                    if isinstance(delivered, EndOfStored):
                        break
                    got.append(delivered)
                for event in store:
                    subscription.stored(event)
        # After the reader has left nobody notes anything.
        subscription.stored(events[9])
        return got

    async with running(RelayBridge([relay.url], outbox_path=path)) as bridge:
        await bridge.publish_many(events)
        assert await bridge.flush(WAIT)
        assert await read(bridge, Held(0, 0), [events[7], *events[:3]]) == events
        assert await read(bridge, Held(4, events[7].created_at), []) == [*events[3:7], *events[8:]]
    async with running(RelayBridge([relay.url], outbox_path=path)) as bridge:
        assert await read(bridge, Held(9, events[9].created_at), events[3:7]) == [*events[3:7], *events[8:]]
        assert await read(bridge, Held(9, events[9].created_at), []) == events[8:]


@pytest.mark.parametrize("left", [0, 4, 9], ids=["nothing", "some", "all but the newest"])
async def test_a_reader_that_lost_its_disk_gets_everything_anew(
    tmp_path: Path, relay, running, sign, left: int
) -> None:
    events = [sign(1, at) for at in range(10)]
    path = tmp_path / "r.db"
    async with running(RelayBridge([relay.url], outbox_path=path)) as bridge:
        await bridge.publish_many(events)
        assert await bridge.flush(WAIT)
        assert await take(bridge) == events
        assert await take(bridge, held=Held(10, events[-1].created_at)) == []
        newest = events[left - 1].created_at if left else 0
        assert await take(bridge, held=Held(left, newest)) == events
    # A rebuild says so itself.
    async with running(RelayBridge([relay.url], outbox_path=path)) as bridge:
        assert await take(bridge) == events
    forget_reader(path, "another")
    async with running(RelayBridge([relay.url], outbox_path=path)) as bridge:
        assert await take(bridge) == []
    forget_reader(path, "reader")
    async with running(RelayBridge([relay.url], outbox_path=path)) as bridge:
        assert await take(bridge) == events
    forget_reader(tmp_path / "none.db", "reader")


async def test_live_events_are_remembered_too(tmp_path: Path, relay, running, sign) -> None:
    path = tmp_path / "r.db"
    async with (
        running(RelayBridge([relay.url], outbox_path=path)) as bridge,
        bridge.subscribe(FILTERS, name="reader", resume=True) as subscription,
    ):
        assert isinstance(await anext(subscription), EndOfStored)
        for at in (5, 1, 9):
            await bridge.publish(sign(1, at))
            assert await anext(subscription) == sign(1, at)
    async with running(RelayBridge([relay.url], outbox_path=path)) as bridge:
        assert await take(bridge) == []


async def test_a_second_relay_brings_only_what_is_new(tmp_path: Path, relay, other_relay, running, log, sign) -> None:
    """It holds the same log and one event more: that one is read, the rest is compared."""
    extra = sign(2, 77)
    for server, events in ((relay, log), (other_relay, [*log, extra])):
        async with running(RelayBridge([server.url], outbox_path=tmp_path / "w.db")) as writer:
            await writer.publish_many(events)
            assert await writer.flush(30)
        (tmp_path / "w.db").unlink()
    async with running(RelayBridge([relay.url], outbox_path=tmp_path / "r.db")) as bridge:
        assert await take(bridge) == log
    async with running(RelayBridge([relay.url, other_relay.url], outbox_path=tmp_path / "r.db")) as bridge:
        other_relay.stats["events_sent_stored"] = 0
        assert await take(bridge) == [extra]
        # Two for the live request, one that is new.
        assert other_relay.stats["events_sent_stored"] <= 3


async def test_chains_go_on_where_they_were(tmp_path: Path, relay, running, sign) -> None:
    """After a restart the next event of a chain is no gap, and a hole is still seen."""

    def where(event) -> Place | None:
        return Place("lane", int(event.tag_value("seq")), event.tag_value("prev"))

    def link(seq: int, prev: str) -> VerifiedEvent:
        return sign(1, seq, (("seq", str(seq)), *((("prev", prev),) if prev else ())))

    chain = [link(0, "")]
    for seq in range(1, 6):
        chain.append(link(seq, chain[-1].id))
    alarms: list[object] = []
    path = tmp_path / "r.db"

    def bridged() -> RelayBridge:
        return RelayBridge([relay.url], outbox_path=path, chain_of=where, on_alarm=alarms.append)

    async with running(bridged()) as bridge:
        await bridge.publish_many(chain[:3])
        assert await bridge.flush(WAIT)
        assert await take(bridge, ordered=True) == chain[:3]
    async with running(bridged()) as bridge:
        await bridge.publish_many(chain[3:5])
        assert await bridge.flush(WAIT)
        async with bridge.subscribe(FILTERS, name="reader", resume=True, ordered=True) as subscription:
            assert [await anext(subscription) for _ in range(2)] == chain[3:5]
            assert isinstance(await anext(subscription), EndOfStored)
            await bridge.publish(chain[5])
            with anyio.fail_after(WAIT):
                assert await anext(subscription) == chain[5]
            assert subscription.gaps() == []
    assert alarms == []


async def test_spans_of_days(tmp_path: Path, sign) -> None:
    """Spans cover all of time without overlap, and hold as many as asked for unless one day has more."""
    store = ArrivalStore(tmp_path / "a.db")
    await store.open()
    arrivals = await store.reader("r", FILTERS)
    day = 24 * HOUR
    await arrivals.add(sign(1, at) for at in (0, day, day + 1, 2 * day, 2 * day + 1, 2 * day + 2, 9 * day))
    spans = await arrivals.slices(0, 2)
    assert [since for since, _ in spans][:-1] == [until + 1 for _, until in spans[1:]]
    assert (spans[0][1], spans[-1][0]) == (None, None)
    assert [await arrivals.count(0, since or 0, until or 2**40) for since, until in spans] == [1, 3, 2, 1]
    assert await arrivals.slices(1, 2) == [(None, None)]
    assert await arrivals.total() == 7
    await store.close()
