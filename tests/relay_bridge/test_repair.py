"""Chains over several relays: what one has lost another gives, forks are told, order is kept."""

from pathlib import Path

import anyio
import pytest

from nips.nip01 import VerifiedEvent, make_filter
from nips.nip11 import RelayInformation
from relay_bridge.adapters import repair
from relay_bridge.adapters import subscription as subscription_module
from relay_bridge.adapters.subscription import EndOfStored
from relay_bridge.chains import Fork, Gap, Place
from relay_bridge.messages import event_frame, event_json
from relay_bridge.service import RelayBridge

pytestmark = pytest.mark.anyio
WAIT = 60
ALL = [make_filter(kinds=[1])]


def where(event) -> Place | None:
    seq = event.tag_value("seq")
    return None if seq is None else Place(f"{event.pubkey[:4]}/lane", int(seq), event.tag_value("prev"))


@pytest.fixture
def chain(sign) -> list[VerifiedEvent]:
    """Twelve events of one chain, three a second."""
    events = [sign(1, 0, (("seq", "0"),))]
    for seq in range(1, 12):
        events.append(sign(1, seq // 3, (("seq", str(seq)), ("prev", events[-1].id))))
    return events


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(repair, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(repair, "FIRST_SECONDS", 0.05)


async def read(subscription, count: int) -> list[VerifiedEvent]:
    with anyio.fail_after(WAIT):
        return [await anext(subscription) for _ in range(count)]


@pytest.mark.parametrize("lost", [[5], [4, 5, 6], [0, 1], [3, 7, 8]])
async def test_what_came_after_the_end_at_another_relay_fills_the_gap(
    tmp_path: Path, telling, keeper, running, chain, lost: list[int]
) -> None:
    """One relay lacks some, and never gets them; the other has them, but never says so by itself."""
    first = {event.id: event for seq, event in enumerate(chain) if seq not in lost}
    second: dict = {}
    alarms: list[object] = []
    async with telling(RelayInformation(), keeper(first)) as a, telling(RelayInformation(), keeper(second)) as b:
        bridge = RelayBridge([a, b], outbox_path=tmp_path / "o.db", chain_of=where, on_alarm=alarms.append)
        async with running(bridge), bridge.subscribe(ALL, name="s") as subscription:
            got = await read(subscription, len(first))
            with anyio.fail_after(WAIT):
                assert isinstance(await anext(subscription), EndOfStored)
            second |= {event.id: event for event in chain}
            got += await read(subscription, len(lost))
            assert {event.id for event in got} == {event.id for event in chain}
            assert subscription.gaps() == []
    assert not any(isinstance(alarm, Fork) for alarm in alarms)


async def test_a_gap_that_nobody_fills_is_reported_once(tmp_path: Path, telling, keeper, running, chain) -> None:
    kept = {event.id: event for seq, event in enumerate(chain) if seq not in (4, 5)}
    alarms: list[object] = []
    reported = anyio.Event()

    def hear(alarm: object) -> None:
        alarms.append(alarm)
        reported.set()

    async with telling(RelayInformation(), keeper(kept)) as url:
        bridge = RelayBridge([url], outbox_path=tmp_path / "o.db", chain_of=where, on_alarm=hear)
        async with running(bridge), bridge.subscribe(ALL, name="s") as subscription:
            await read(subscription, len(kept) + 1)
            with anyio.fail_after(WAIT):
                await reported.wait()
            [gap] = alarms
            assert isinstance(gap, Gap)
            assert (gap.first, gap.last, gap.last_id) == (4, 5, chain[5].id)
            assert bridge.alarms == {"gaps": 1}


async def test_a_fork_is_an_alarm_and_both_are_delivered(tmp_path: Path, relay, running, chain, sign) -> None:
    other = sign(1, 3, (("seq", "11"), ("prev", chain[10].id)), content="another eleventh")
    alarms: list[object] = []
    bridge = RelayBridge([relay.url], outbox_path=tmp_path / "o.db", chain_of=where, on_alarm=alarms.append)
    async with running(bridge), bridge.subscribe(ALL, name="s") as subscription:
        assert isinstance(await anext(subscription), EndOfStored)
        await bridge.publish_many([*chain, other])
        got = await read(subscription, 13)
        assert {event.id for event in got} == {event.id for event in [*chain, other]}
        # Another author's chain of the same numbers is another chain.
        await bridge.publish(sign(1, 4, (("seq", "11"),), who=2))
        await read(subscription, 1)
    forks = [alarm for alarm in alarms if isinstance(alarm, Fork)]
    assert [(fork.seq, fork.ids) for fork in forks] == [(11, tuple(sorted((other.id, chain[11].id))))]
    assert bridge.alarms["forks"] == 1


async def test_a_relay_that_mixes_everything_up(tmp_path: Path, scripted, running, chain, monkeypatch) -> None:
    """It sends live events backwards and twice: an ordered reader gets them in order, each once."""

    async def backwards(socket) -> None:
        import json

        async for text in socket:
            name, sub_id, *filters = json.loads(text)
            if name != "REQ":
                continue
            await socket.send(json.dumps(["EOSE", sub_id]))
            if filters[0].get("limit") == 1:
                live = sub_id
            else:
                for event in [*reversed(chain), *chain]:
                    await socket.send(event_frame(live, event_json(event)))

    async with scripted(backwards) as url:
        bridge = RelayBridge([url], outbox_path=tmp_path / "o.db", chain_of=where)
        async with running(bridge), bridge.subscribe(ALL, name="s", ordered=True) as subscription:
            assert isinstance(await anext(subscription), EndOfStored)
            assert await read(subscription, 12) == chain


async def test_an_ordered_reader_is_not_stopped_by_a_hole(tmp_path: Path, relay, running, chain, monkeypatch) -> None:
    monkeypatch.setattr(subscription_module, "HOLD_MS", 50)
    monkeypatch.setattr(subscription_module, "_TICK_SECONDS", 0.02)
    bridge = RelayBridge([relay.url], outbox_path=tmp_path / "o.db", chain_of=where)
    async with running(bridge), bridge.subscribe(ALL, name="s", ordered=True) as subscription:
        assert isinstance(await anext(subscription), EndOfStored)
        await bridge.publish_many([*chain[:3], *chain[4:]])
        assert await read(subscription, 11) == [*chain[:3], *chain[4:]]
        await bridge.publish(chain[3])
        assert await read(subscription, 1) == [chain[3]]


async def test_the_terms_decide_what_passes(tmp_path: Path, relay, running, chain, sign) -> None:
    bridge = RelayBridge([relay.url], outbox_path=tmp_path / "o.db")
    stranger = sign(1, 1, who=5)
    async with running(bridge):
        await bridge.publish_many([stranger, *chain])
        assert await bridge.flush(WAIT)
        accept = lambda event: event.pubkey == chain[0].pubkey  # noqa: E731 - a predicate is what is tested
        async with bridge.subscribe(ALL, name="s", accept=accept) as subscription:
            got = await read(subscription, 12)
            assert isinstance(await anext(subscription), EndOfStored)
        assert stranger not in got
        assert bridge.status()[0].unwanted == 1
