"""A live pool and a person with another client: notes, profiles, names, and a balance asked for in private."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import nostr_sdk
import pytest
import websockets

from nips.nip01 import Filter, UnsignedEvent, VerifiedEvent, decode_event, make_filter, verify
from nips.nip05 import parse_identifier, pubkey_of
from nips.nip19 import parse_pubkey
from noncestr.citizen import teller as citizen_teller
from noncestr.citizen.citizen import Citizen
from noncestr.config.social import SocialConfig
from noncestr.feed import BridgeFeed
from noncestr.keys.files import load
from noncestr.running import running
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.fetch import fetch_events
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy
from relay_bridge.service import RelayBridge

ROOT = Path(__file__).parents[3]
# Generous: CI's machine has two cores and other work. Waiting ends as soon as what is awaited is there.
PATIENCE = 120
FAST = {
    "NONCESTR_STRATUM_PORT": "0",
    "NONCESTR_RELAY_PORT": "0",
    "NONCESTR_WEB_PORT": "0",
    "NONCESTR_DEMO_LIGHTNING_PORT": "0",
    "NONCESTR_DEMO_HASHES_PER_SECOND": "30000",
    "NONCESTR_CHAIN_NETWORK_BLOCK_SECONDS": "2",
    "NONCESTR_CHAIN_BLOCK_SECONDS": "4",
    "NONCESTR_TERMS_BATCH_SECONDS": "1",
    "NONCESTR_TERMS_HEARTBEAT_SECONDS": "2",
    "NONCESTR_TERMS_MATURITY_BLOCKS": "2",
    "NONCESTR_PAYOUTS_INTERVAL_SECONDS": "1",
    "NONCESTR_MINT_ENABLED": "false",
}


class Pool:
    """`noncestr up` with the demo's miners, as a process of its own."""

    def __init__(self, data: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NONCESTR_")}
        self.data = data
        self.log = (data.parent / "up.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "noncestr", "up", "--data", str(data)],
            cwd=data.parent,
            env={**kept, **FAST, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            lines.append(line.strip())
            if line.startswith("Ctrl-C"):
                break
        values = dict(line.split(":", 1) for line in lines if ":" in line)
        assert "pool npub" in values, (data.parent / "up.log").read_text()
        self.pubkey = parse_pubkey(values["pool npub"])
        self.relay, self.web = values["relay"].strip(), values["web"].strip()

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()

    def read(self, wanted: Filter) -> list[VerifiedEvent]:
        return list(anyio.run(lambda: fetch_events([self.relay], [wanted], timeout_s=20)).events)

    def wait_for(self, wanted: Filter, done: Callable[[list[VerifiedEvent]], Any] = bool) -> list[VerifiedEvent]:
        deadline = time.monotonic() + PATIENCE
        while not done(found := self.read(wanted)):
            assert self.process.poll() is None, "the pool ended by itself"
            assert time.monotonic() < deadline, (self.data.parent / "up.log").read_text()[-3000:]
            time.sleep(0.5)
        return found

    def send(self, event: str) -> None:
        async def put() -> None:
            async with websockets.connect(self.relay) as relay:
                await relay.send(f'["EVENT",{event}]')
                while (answer := json.loads(await relay.recv()))[0] != "OK":
                    pass
                assert answer[2], answer

        anyio.run(put)


@pytest.fixture
def pools() -> Iterator[Callable[[Path], Pool]]:
    started: list[Pool] = []

    def start(data: Path) -> Pool:
        started.append(Pool(data))
        return started[-1]

    yield start
    for pool in started:
        if pool.process.poll() is None:
            pool.end(signal.SIGKILL)


def blocks_of(notes: list[VerifiedEvent]) -> list[str]:
    return sorted(note.tag_value("block") or "" for note in notes)


@pytest.mark.timeout(400)
def test_a_person_follows_the_pool_and_writes_to_it(tmp_path: Path, pools: Callable[[Path], Pool]) -> None:
    pool = pools(tmp_path / "data")
    of_pool = make_filter(authors=[pool.pubkey], kinds=[1])
    notes = pool.wait_for(of_pool, lambda found: len(found) >= 2)
    pool.end(signal.SIGKILL)

    pool = pools(tmp_path / "data")
    more = pool.wait_for(of_pool, lambda found: len(found) > len(notes))
    # What was posted stays as it was, and no block has two notes.
    assert {note.id for note in notes} <= {note.id for note in more}
    assert len(set(blocks_of(more))) == len(more)
    known = {block["block"] for block in read_json(f"{pool.web}/api/v1/pool")["blocks"]}
    assert set(blocks_of(more)) <= known

    names = read_json(f"{pool.web}/.well-known/nostr.json?name=edge")
    edge = pubkey_of(json.dumps(names).encode(), parse_identifier("edge@pool.example"))
    assert names["relays"] == {edge: [pool.relay]}
    (profile,) = pool.read(make_filter(authors=[edge], kinds=[0]))
    assert ("p", pool.pubkey) in profile.tags
    (inbox,) = pool.read(make_filter(authors=[pool.pubkey], kinds=[10050]))
    assert inbox.tags == (("relay", pool.relay),)

    # Alice, one of the demo's miners, writes with rust-nostr.
    secret = load(tmp_path / "data" / "keys" / "demo-alice.nsec")
    alice = nostr_sdk.Keys.parse(secret.secret_bytes().hex())
    question = nostr_sdk.nip17_make_private_msg(alice, nostr_sdk.PublicKey.parse(pool.pubkey), "balance")
    assert verify(decode_event(question.as_json())).kind == 1059
    pool.send(question.as_json())
    pool.send(question.as_json())

    def answers(wraps: list[VerifiedEvent]) -> list[str]:
        """But for the notice that her address has another port since the restart."""
        found = []
        for wrap in wraps:
            gift = nostr_sdk.UnwrappedGift.from_gift_wrap(alice, nostr_sdk.Event.from_json(json.dumps(plain(wrap))))
            message = json.loads(gift.rumor().as_json())
            assert gift.sender().to_hex() == message["pubkey"] == pool.pubkey
            found.append(message["content"])
        return [text for text in found if "was changed by your profile" not in text]

    messages = pool.wait_for(make_filter(kinds=[1059], tags={"p": [secret.pubkey]}), answers)
    (answer,) = answers(messages)
    assert "Paid to you so far: " in answer
    pool.end(signal.SIGINT)
    assert pool.process.returncode == 0


@pytest.mark.anyio
async def test_notes_that_mention_the_pool_are_answered_over_a_relay(
    tmp_path: Path, citizen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a relay that takes notes of others. A restart reads the first question again, and answers the second alone."""
    monkeypatch.setattr(citizen_teller, "LOOK_S", 0.05)
    block = citizen.block(1)
    answered: dict[str, list[VerifiedEvent]] = {}
    questions: list[str] = []

    async def read(bridge: RelayBridge) -> bool:
        found = await bridge.fetch([make_filter(authors=[citizen.who.key.pubkey], kinds=[1])])
        answered.clear()
        for note in found:
            answered.setdefault(note.tag_value("e") or "", []).append(note)
        return {"", *questions} <= answered.keys()

    async with (
        SqliteEventStore(tmp_path / "relay.sqlite") as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy()) as server,
    ):
        for name in ("alice", "bob"):
            named = ("p", citizen.who.key.pubkey)
            asking = citizen.key(name).sign(UnsignedEvent(1, citizen.clock.ms // 1000, (named,), "hashrate?"))
            questions.append(asking.id)
            bridge = RelayBridge([server.url], outbox_path=tmp_path / "outbox.sqlite")
            lives = Citizen(citizen.who, SocialConfig(), citizen.books, BridgeFeed(bridge), citizen.clock, tmp_path)
            async with running(bridge.run), running(lives.run):
                await bridge.publish(asking)
                with anyio.fail_after(30):
                    while not await read(bridge):  # noqa: ASYNC110 - a relay is asked, it tells nothing by itself
                        await anyio.sleep(0.05)
    assert [len(notes) for notes in answered.values()] == [1, 1, 1]
    assert answered[""][0].tag_value("block") == block.block
    assert ("p", citizen.key("bob").pubkey) in answered[questions[1]][0].tags


def plain(event: VerifiedEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in ("id", "pubkey", "created_at", "kind", "tags", "content", "sig")}


def read_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)
