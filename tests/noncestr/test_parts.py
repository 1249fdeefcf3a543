"""A pool in processes that share nothing but a relay: its key and relay, an edge, the accounting, the zapper, the page.

Each is killed once, and goes on where it was; in the end a stranger finds nothing wrong.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import nostr_sdk
import pytest
import websockets

from nips.nip01 import Filter, VerifiedEvent, encode_event, make_filter
from nips.nip19 import encode_npub, parse_pubkey
from nips.nip38 import USER_STATUS
from nips.nip59 import GIFT_WRAP
from nips.pool import kinds
from nips.pool.payout import parse_payout
from nips.pool.settings import SettingsBody, build_settings
from noncestr.citizen.profiles import profile
from noncestr.keys.files import load_or_create
from relay_bridge.adapters.fetch import fetch_events
from relay_bridge.service import RelayBridge

ROOT = Path(__file__).parents[2]
NOTE = 1
# Generous: waiting ends as soon as what is awaited is there.
PATIENCE = 200
FAST = {
    "NONCESTR_WEB_PORT": "0",
    "NONCESTR_DEMO_MINERS": "1",
    "NONCESTR_DEMO_HASHES_PER_SECOND": "40000",
    "NONCESTR_CHAIN_NETWORK_BLOCK_SECONDS": "1",
    "NONCESTR_CHAIN_BLOCK_SECONDS": "2",
    "NONCESTR_STRATUM_START_DIFFICULTY": "1/65536",
    "NONCESTR_TERMS_BATCH_SECONDS": "1",
    "NONCESTR_TERMS_HEARTBEAT_SECONDS": "1",
    "NONCESTR_TERMS_MATURITY_BLOCKS": "2",
    "NONCESTR_PAYOUTS_INTERVAL_SECONDS": "1",
    # A payout and a block every second or two.
    "NONCESTR_NOTICES_PER_DAY": "1000",
}
Events = list[VerifiedEvent]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Scene:
    """The parts, by name, and a miner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Made beforehand, so that the configuration can name them: a part's first start prints its own.
        keys = {name: load_or_create(folder / name / "keys", name).pubkey for name in ("edge", "accounting", "zapper")}
        (folder / "noncestr.toml").write_text(
            f'[pool]\naccounting = "{encode_npub(keys["accounting"])}"\nzapper = "{encode_npub(keys["zapper"])}"\n'
            f'[edge]\nkeys = ["{encode_npub(keys["edge"])}"]\n'
        )
        self.zapper = encode_npub(keys["zapper"])
        self.miner = load_or_create(folder / "miner", "key")
        self.npub = encode_npub(load_or_create(folder / "pool" / "keys", "pool").pubkey)
        self.ports = {name: str(free_port()) for name in ("relay", "stratum", "demo_lightning")}
        self.relay = f"ws://127.0.0.1:{self.ports['relay']}"
        here = ("--pool", self.npub, "--relay", self.relay)
        chain = ("--chain-of", str(folder / "pool"))
        self.words = {
            "pool": ("pool", "run"),
            "edge": ("edge", "run", *here, *chain),
            "accounting": ("accounting", "run", *here, *chain),
            "zapper": ("zapper", "run", *here, "--demo-user", f"far={encode_npub(self.miner.pubkey)}"),
            "web": ("web", "run", *here),
        }
        self.ready = {
            "pool": "relay:",
            "edge": "Stratum:",
            "accounting": "accounting: it reads",
            "zapper": "zapper: it reads",
            "web": "web:",
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NONCESTR_")}
        ports = {f"NONCESTR_{name.upper()}_PORT": port for name, port in self.ports.items() if name != "demo_lightning"}
        ports["NONCESTR_DEMO_LIGHTNING_PORT"] = self.ports["demo_lightning"]
        more = {"HOME": str(self.folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        return {**kept, **FAST, **ports, **more}

    def start(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.out").open("wb") as out, (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "noncestr", *words],
                cwd=self.folder, env=self.environment(), stdout=out, stderr=log,
            )  # fmt: skip

    def start_part(self, name: str) -> None:
        self.start(name, *self.words[name], "--data", str(self.folder / name))
        self.until(lambda: self.says(name), f"{name} to be there")

    def says(self, name: str) -> list[str]:
        return [line for line in (self.folder / f"{name}.out").read_text().splitlines() if self.ready[name] in line]

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running.pop(name).wait()

    def until(self, done: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            logs = {name: (self.folder / f"{name}.log").read_text()[-2000:] for name in self.running}
            assert time.monotonic() < deadline, f"{what}\n{logs}"
            assert all(process.poll() is None for process in self.running.values()), logs
            time.sleep(0.1)

    def events(self, wanted: Filter | None = None) -> Events:
        """`wanted`: else the log."""

        async def fetch() -> Events:
            asked = wanted or make_filter(kinds=kinds.LEDGER_KINDS)
            return list((await fetch_events([self.relay], [asked], timeout_s=20)).events)

        return anyio.run(fetch)

    def ask(self, text: str) -> None:
        """The miner writes to the pool, with rust-nostr (NIP-17)."""
        pool = nostr_sdk.PublicKey.parse(self.npub)
        wrap = nostr_sdk.nip17_make_private_msg(self.miner_keys(), pool, text).as_json()

        async def put() -> None:
            async with websockets.connect(self.relay) as relay:
                await relay.send(f'["EVENT",{wrap}]')
                while (answer := json.loads(await relay.recv()))[0] != "OK":
                    pass
                assert answer[2], answer

        anyio.run(put)

    def answers(self) -> list[str]:
        """What the pool wrote to the miner."""
        return [text for sender, text in self.messages() if sender == self.npub]

    def notices(self, words: str = "") -> list[str]:
        """What the zapper wrote to the miner, with these words in it."""
        return [text for sender, text in self.messages() if sender != self.npub and words in text]

    def messages(self) -> list[tuple[str, str]]:
        """Who wrote to the miner, the pool or its zapper, and what."""
        wraps = self.events(make_filter(kinds=[GIFT_WRAP], tags={"p": [self.miner.pubkey]}))
        opened = [
            nostr_sdk.UnwrappedGift.from_gift_wrap(
                self.miner_keys(), nostr_sdk.Event.from_json(encode_event(wrap).decode())
            )
            for wrap in wraps
        ]
        assert {gift.sender().to_bech32() for gift in opened} <= {self.npub, self.zapper}
        return [(gift.sender().to_bech32(), json.loads(gift.rumor().as_json())["content"]) for gift in opened]

    def records(self) -> set[str]:
        """The payout records there are, by id."""
        return {event.id for event in self.events() if event.kind == kinds.PAYOUT}

    def miner_keys(self) -> nostr_sdk.Keys:
        return nostr_sdk.Keys.parse(self.miner.secret_bytes().hex())

    def more_of(self, kind: int, what: str) -> None:
        """Wait until there are more such events than there are now."""
        before = self.count(kind)
        self.until(lambda: self.count(kind) > before, what)

    def count(self, kind: int) -> int:
        return sum(event.kind == kind for event in self.events())

    @property
    def lud16(self) -> str:
        """The miner's address at the demo wallet."""
        return f"far@127.0.0.1:{self.ports['demo_lightning']}"

    def settings(self, **body: Any) -> VerifiedEvent:
        """Settings of the miner, now."""
        return self.miner.sign(build_settings(parse_pubkey(self.npub), SettingsBody(**body), int(time.time())))

    def publish(self, *events: VerifiedEvent) -> None:
        """The miner's, by a bridge of its own."""

        async def publish() -> None:
            bridge = RelayBridge([self.relay], outbox_path=self.folder / "miner.sqlite")
            async with anyio.create_task_group() as tasks:
                await tasks.start(bridge.run)
                for event in events:
                    await bridge.publish(event)
                assert await bridge.flush(PATIENCE)
                tasks.cancel_scope.cancel()

        anyio.run(publish)

    def treasury(self, name: str) -> dict[str, Any]:
        """What `noncestr treasury` says on a part's host."""
        done = subprocess.run(
            [sys.executable, "-m", "noncestr", "treasury", "--data", str(self.folder / name), "--json"],
            cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        told: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"funds_msat": None, "holdings": []}
        assert done.returncode == (2 if not done.stdout else told["alert"] is not None), done.stderr
        return told

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.stop()


def heard(told: dict[str, Any]) -> int:
    """When the holders spoke last, Unix ms; 0 before any was heard."""
    return max((each["heard_ms"] for each in told["holdings"]), default=0)


def verdict(scene: Scene) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "noncestr", "verify", "--relay", scene.relay, "--pool", scene.npub, "--json"],
        cwd=scene.folder, env=scene.environment(), capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(900)
def test_each_part_is_killed_and_goes_on(scene: Scene) -> None:
    scene.start_part("pool")
    far = profile(scene.miner, int(time.time()), name="far", lud16=scene.lud16)
    scene.publish(far, scene.settings(notify=("paid", "block")))
    for name in ("edge", "accounting", "zapper", "web"):
        scene.start_part(name)
    stratum = scene.says("edge")[0].removeprefix("Stratum:").strip()
    user = encode_npub(scene.miner.pubkey) + ".far"
    scene.start("miner", "miner", "--url", stratum, "--max-hps", "40000", "--user", user)
    scene.until(lambda: scene.count(kinds.PAYOUT), "a payout")
    scene.until(lambda: scene.notices("paid you") and scene.notices("You found block"), "notices")
    # What there was before the zapper began to tell is no news.
    old = scene.records()

    # The pool speaks to people, from its own reading of the log.
    said = make_filter(authors=[parse_pubkey(scene.npub)], kinds=[NOTE, USER_STATUS])
    scene.until(lambda: {event.kind for event in scene.events(said)} == {NOTE, USER_STATUS}, "a note and a status")
    scene.ask("balance")
    scene.until(scene.answers, "an answer")
    assert "Paid to you so far: " in scene.answers()[0]

    # What the zapper's host holds is counted on every other.
    zapper = encode_npub(load_or_create(scene.folder / "zapper" / "keys", "zapper").pubkey)
    for name, source in (("accounting", zapper), ("pool", zapper), ("zapper", None)):
        scene.until(lambda name=name: scene.treasury(name)["funds_msat"] is not None, f"funds at the {name}")
        told = scene.treasury(name)
        assert {(each["name"], each["source"]) for each in told["holdings"]} == {
            ("lightning", source),
            ("ecash", source),
        }
        assert sum(each["msat"] for each in told["holdings"]) == told["funds_msat"]

    scene.kill("edge")
    scene.start_part("edge")
    scene.more_of(kinds.BLOCK, "a block after the edge's kill")
    scene.kill("zapper")
    silent = heard(scene.treasury("accounting"))
    scene.kill("accounting")
    scene.start_part("accounting")
    scene.more_of(kinds.STATEMENT, "a statement after the accounting's kill")
    # Who speaks no more is not forgotten, and what it said is not taken for new.
    scene.until(lambda: heard(scene.treasury("accounting")) >= silent, "the report of before the kills")
    before = heard(scene.treasury("accounting"))
    scene.start_part("zapper")
    scene.until(lambda: heard(scene.treasury("accounting")) > before, "a report after the zapper's kill")
    scene.more_of(kinds.PAYOUT, "a payout after the zapper's kill")
    scene.kill("pool")
    scene.start_part("pool")
    scene.more_of(kinds.STATEMENT, "a statement after the pool's kill")
    scene.more_of(kinds.PAYOUT, "a payout after the pool's kill")

    # The zapper tells, alone, and each thing once, whatever was killed.
    scene.publish(scene.settings(notify=("paid", "block"), lightning=scene.lud16))
    scene.until(lambda: scene.notices("was changed"), "the notice of a changed address")
    told = scene.records()

    def are_told() -> bool:
        texts = "".join(scene.notices("paid you"))
        return all(record in texts for record in told - old)

    scene.until(are_told, "a notice of each payout")
    notices = scene.notices()
    assert len([text for text in notices if "was changed" in text]) == 1
    assert len(set(notices)) == len(notices)
    for record in told:
        assert len([text for text in notices if record in text]) <= 1

    payouts = [parse_payout(event) for event in scene.events() if event.kind == kinds.PAYOUT]
    assert {payout.miner for payout in payouts} == {scene.miner.pubkey}
    web = scene.says("web")[0].removeprefix("web:").strip()
    with urllib.request.urlopen(f"{web}/healthz") as answer:
        health = json.load(answer)
    assert health["parts"]["relays"]["each"][0]["roles"] == ["log"]
    with urllib.request.urlopen(f"{web}/api/v1/treasury") as answer:
        assert {each["source"] for each in json.load(answer)["holdings"]} == {zapper}
    # The page's books are those of the log, and it signs nothing.
    npub = encode_npub(scene.miner.pubkey)

    def paid_on_the_page() -> int:
        with urllib.request.urlopen(f"{web}/api/v1/miners/{npub}") as answer:
            return int(json.load(answer)["paid_msat"])

    scene.until(lambda: paid_on_the_page() >= sum(payout.amount_msat for payout in payouts), "the page")
    keys = {(event.pubkey, event.kind) for event in scene.events()}
    assert len({key for key, kind in keys if kind == kinds.STATEMENT}) == 1
    assert len({key for key, _ in keys}) == 4
    scene.kill("miner")
    status, report = verdict(scene)
    wrong = Counter(found["code"] for found in report["findings"] if found["grade"] != "not checked")
    assert (status, wrong) == (0, Counter())
    # The edge shows where a block could not be handed in while the chain's process was dead, and tries again.
    for name in ("accounting", "zapper", "pool", "web"):
        assert "Traceback" not in (scene.folder / f"{name}.log").read_text()
