"""A relay that does everything wrong, beside a good one: nothing is lost, doubled or stalled, and it is told of."""

import itertools
import json
import random
from pathlib import Path

import anyio
import pytest

from nips.nip01 import make_filter, parse_event, parse_filter
from nips.pool import kinds
from relay_bridge import backoff, outbox
from relay_bridge.adapters import reading, refill, subscription
from relay_bridge.adapters.subscription import EndOfStored
from relay_bridge.chains import Place
from relay_bridge.messages import event_frame, event_json
from relay_bridge.service import RelayBridge

pytestmark = pytest.mark.anyio
WAIT = 60
KINDS = [kinds.RECEIPT, kinds.ANNOUNCEMENT]
ASKED = [make_filter(kinds=KINDS)]


def where(event) -> Place | None:
    seq = event.tag_value("seq")
    return None if seq is None else Place("lane", int(seq), event.tag_value("prev"))


class Hostile:
    """One relay, many tricks, drawn by a seeded lot."""

    def __init__(self, sign, seed: int) -> None:
        self.lot = random.Random(seed)
        self.kept: dict[str, object] = {}
        self.live: dict[object, tuple[str, list]] = {}
        self.tricks: set[str] = set()
        self.other_pool = [sign(kinds.RECEIPT, at, (("seq", str(at)),), who=8) for at in range(5)]
        self.old_address = [sign(kinds.ANNOUNCEMENT, at, (("d", "regtest"),)) for at in range(3)]

    def trick(self, *names: str) -> str:
        name = self.lot.choice(names)
        self.tricks.add(name)
        return name

    async def serve(self, socket) -> None:
        for text in itertools.repeat(None):
            text = await socket.recv()
            name, *items = json.loads(text)
            if name == "EVENT":
                await self.take(socket, parse_event(items[0]))
            elif name == "REQ":
                await self.answer(socket, items[0], [parse_filter(item) for item in items[1:]])
            elif name == "CLOSE":
                self.live.pop(items[0], None)

    async def take(self, socket, event) -> None:
        """Store or not, say OK or not: in every combination."""
        match self.trick(
            "honest", "honest", "swallows", "false duplicate", "mute", "wrong id", "limits", "errs", "ends"
        ):
            case "honest":
                self.kept[event.id] = event
                await self.say(socket, ["OK", event.id, True, ""])
                for sub_id, filters in list(self.live.values()):
                    if any(each.matches(event) for each in filters):
                        await self.send_event(socket, sub_id, event)
            case "swallows":
                await self.say(socket, ["OK", event.id, True, ""])
            case "false duplicate":
                await self.say(socket, ["OK", event.id, False, "duplicate: believe me"])
            case "mute":
                self.kept[event.id] = event
            case "wrong id":
                await self.say(socket, ["OK", "f" * 64, True, ""])
            case "limits":
                await self.say(socket, ["OK", event.id, False, "rate-limited: not now"])
            case "errs":
                await self.say(socket, ["OK", event.id, False, "error: something"])
            case "ends":
                socket.transport.write(b'\x81\x64["OK"')
                socket.transport.close()

    async def answer(self, socket, sub_id, filters) -> None:
        match self.trick("honest", "honest", "backwards", "drops", "floods", "no end", "closes", "huge", "cut", "lies"):
            case "honest" | "backwards" | "drops" as how:
                found = [event for event in self.kept.values() if any(each.matches(event) for each in filters)]
                found.sort(key=lambda event: event.created_at, reverse=how != "backwards")
                for event in found:
                    if how != "drops" or self.lot.random() < 0.5:
                        await self.send_event(socket, sub_id, event)
                        await self.send_event(socket, sub_id, event)
            case "floods":
                for number in range(300):
                    await self.say(socket, ["NOTICE", f"hello {number}"])
            case "no end":
                return
            case "closes":
                await self.say(socket, ["CLOSED", sub_id, "error: shutting down"])
                return
            case "huge":
                await socket.send('["NOTICE","' + "x" * 600_000 + '"]')
                return
            case "cut":
                socket.transport.write(b'\x81\x7e\xff\xff["EVENT","')
                socket.transport.close()
                return
            case "lies":
                forged = json.loads(event_json(self.other_pool[0]))
                await self.send_event(socket, "another subscription", self.other_pool[1])
                await socket.send(f'["EVENT",{json.dumps(sub_id)},{json.dumps({**forged, "content": "forged"})}]')
                await socket.send(b"\x00binary")
                for event in (*self.other_pool, *self.old_address):
                    await self.send_event(socket, sub_id, event)
                await self.say(socket, ["COUNT", sub_id, {"count": -1}])
                await self.say(socket, ["NEG-MSG", sub_id, "61"])
                await self.say(socket, ["AUTH", "a" * 2_000])
        self.live[socket] = (sub_id, filters)
        await self.say(socket, ["EOSE", sub_id])

    async def say(self, socket, message) -> None:
        await socket.send(json.dumps(message))

    async def send_event(self, socket, sub_id, event) -> None:
        await socket.send(event_frame(sub_id, event_json(event)))


@pytest.mark.parametrize("seed", range(4))
async def test_a_hostile_relay_changes_nothing(
    tmp_path: Path, relay, scripted, running, sign, monkeypatch, eventually, seed: int
) -> None:
    monkeypatch.setattr(reading, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(subscription, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(subscription, "_RETRY_SECONDS", 0.05)
    # A good relay gets seconds to recover; this one is to show what it can do.
    monkeypatch.setattr(backoff, "FIRST_MS", 10)
    monkeypatch.setattr(backoff, "LONGEST_MS", 50)
    monkeypatch.setattr(outbox, "FIRST_PAUSE_MS", 10)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE_MS", 50)
    monkeypatch.setattr(outbox, "ANSWER_MS", 200)
    monkeypatch.setattr(refill, "SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(refill, "LOOK_SECONDS", 0.3)
    hostile = Hostile(sign, seed)
    mine = sign().pubkey
    log = [sign(kinds.RECEIPT, 0, (("seq", "0"),))]
    for seq in range(1, 150):
        log.append(sign(kinds.RECEIPT, seq // 3, (("seq", str(seq)), ("prev", log[-1].id))))
    announcement = sign(kinds.ANNOUNCEMENT, 60, (("d", "regtest"),))
    alarms: list[object] = []
    async with scripted(hostile.serve) as url:
        bridge = RelayBridge(
            [url, relay.url],
            outbox_path=tmp_path / "o.db",
            chain_of=lambda event: where(event) if event.pubkey == mine else None,
            on_alarm=alarms.append,
            keep=[refill.Keep(make_filter(authors=[mine], kinds=[kinds.RECEIPT]))],
            source=(relay.url, relay.store),
        )
        got = []

        async def read() -> None:
            accept = lambda event: event.pubkey == mine  # noqa: E731 - the terms, in short
            async with bridge.subscribe(ASKED, name="r", accept=accept, ordered=True, resume=True) as reader:
                async for delivered in reader:
                    if not isinstance(delivered, EndOfStored):
                        got.append(delivered)
                    if len({event.id for event in got} & wanted) == len(wanted):
                        return

        wanted = {event.id for event in (*log, announcement)}
        async with running(bridge):
            with anyio.fail_after(WAIT):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(read)
                    for start in range(0, len(log), 10):
                        await bridge.publish_many(log[start : start + 10], chain="lane")
                        await anyio.sleep(0.02)
                    await bridge.publish(announcement)
            assert await bridge.flush(WAIT), "the good relay is a quorum"
            await eventually(lambda: len(hostile.tricks) >= 8)
            fetched = await bridge.fetch(ASKED, timeout_s=1)
            [bad, good] = bridge.status()
        ids = [event.id for event in got]
        assert len(ids) == len(set(ids)), "nothing twice"
        assert wanted <= set(ids)
        assert {event.id for event in got} - wanted <= {event.id for event in hostile.old_address}
        chained = [event for event in got if event.kind == kinds.RECEIPT]
        assert chained == log, "the chain in its order"
        assert {event.id for event in fetched} >= wanted
        assert alarms == []
        assert (good.bad, good.refused, good.backlog) == (0, 0, 0)
        # What it did is told of.
        assert bad.bad > 0 or bad.last_error or not bad.connected
