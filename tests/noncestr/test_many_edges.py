"""A pool and an edge elsewhere with a relay between them that can be cut, each a process of its own.

The cut is a TCP proxy's: namespaces would need root. With NONCESTR_CUTS=N the edge is cut off and healed N times more,
and an edge that is killed while it is cut off comes back before its lane is closed, and after.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from nips.nip01 import VerifiedEvent, make_filter
from nips.nip19 import encode_npub, parse_pubkey
from nips.pool import kinds
from nips.pool.receipt import parse_receipt
from nips.pool.statement import Statement, parse_statement
from nips.pool.terms import parse_terms
from noncestr.edge.control import ask
from noncestr.keys.files import load_or_create
from relay_bridge.adapters.fetch import fetch_events

ROOT = Path(__file__).parents[2]
CUTS = int(os.environ.get("NONCESTR_CUTS", "0"))
# Generous: waiting ends as soon as what is awaited is there.
PATIENCE = 200
# Heartbeats of 1 s: silent after 3 s, and at 6 s the grace is over.
GRACE_S = 6
FAST = {
    "NONCESTR_RELAY_PORT": "0",
    "NONCESTR_WEB_PORT": "0",
    "NONCESTR_DEMO_LIGHTNING_PORT": "0",
    "NONCESTR_DEMO_MINERS": "1",
    "NONCESTR_DEMO_HASHES_PER_SECOND": "40000",
    "NONCESTR_CHAIN_NETWORK_BLOCK_SECONDS": "2",
    "NONCESTR_CHAIN_BLOCK_SECONDS": "2",
    "NONCESTR_STRATUM_START_DIFFICULTY": "1/65536",
    "NONCESTR_TERMS_BATCH_SECONDS": "1",
    "NONCESTR_TERMS_HEARTBEAT_SECONDS": "1",
    "NONCESTR_TERMS_LANE_GRACE_SECONDS": str(GRACE_S),
    "NONCESTR_PAYOUTS_BACKEND": "none",
}
Events = list[VerifiedEvent]


class Wire:
    """A TCP proxy that can be cut: what runs through it breaks off, and nothing new gets through."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._whole = True
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._whole:
                near.close()
                continue
            far = socket.create_connection(self._to)
            self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for side in (one, other):
            self._end(side)

    def _end(self, side: socket.socket) -> None:
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
        side.close()
        self._open.discard(side)

    def cut(self) -> None:
        self._whole = False
        for side in list(self._open):
            self._end(side)

    def heal(self) -> None:
        self._whole = True

    def close(self) -> None:
        self.cut()
        self._listener.close()


class Scene:
    """The pool, the edge elsewhere, a miner there, and the wire between edge and relay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data, self.far = folder / "data", folder / "far"
        self.settings = folder / "noncestr.toml"
        self.miner = load_or_create(folder / "miner", "key")
        self.record = folder / "record.jsonl"
        self.edge_key = load_or_create(self.far / "keys", "edge").pubkey
        self.edge_npub = encode_npub(self.edge_key)
        self.configure()
        self._started: list[subprocess.Popen[bytes]] = []
        self.pool = self._start("pool", "up", "--data", str(self.data))
        self.lines = self._banner()
        text = "\n".join(self.lines)
        self.npub = next(word for word in text.split() if word.startswith("npub1"))
        self.relay = self._place("relay")
        self.web = self._place("web")
        self.wire = Wire(int(self.relay.rpartition(":")[2].strip("/")))
        self.port = free_port()
        self.edge = self.start_edge()
        self.mining = self._start(
            "miner",
            *("miner", "--url", self.edge_says("Stratum:")),
            *("--max-hps", "40000", "--record", str(self.record)),
            *("--user", encode_npub(self.miner.pubkey) + ".far"),
        )

    def configure(self, more: str = "") -> None:
        self.settings.write_text(f'[edge]\nkeys = ["{self.edge_npub}"]\n{more}')

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NONCESTR_")}
        return {**kept, **FAST, "HOME": str(self.folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def _start(self, name: str, *words: str, port: int = 0) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.out").open("wb") as out, (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "noncestr", *words],
                cwd=self.folder, env={**self.environment(), "NONCESTR_STRATUM_PORT": str(port)}, stdout=out, stderr=log,
            )  # fmt: skip
        self._started.append(process)
        return process

    def start_edge(self) -> subprocess.Popen[bytes]:
        """On the same port each time: its miner finds it again."""
        return self._start(
            "edge",
            *("edge", "run", "--pool", self.npub, "--relay", self.wire.url),
            *("--chain-of", str(self.data), "--data", str(self.far)),
            port=self.port,
        )

    def _banner(self) -> list[str]:
        self.until(lambda: any(line.startswith("Ctrl-C") for line in self.said("pool")), "the banner")
        return self.said("pool")

    def _place(self, name: str) -> str:
        return next(line.split(":", 1)[1].strip() for line in self.lines if line.strip().startswith(name + ":"))

    def said(self, name: str) -> list[str]:
        return (self.folder / f"{name}.out").read_text().splitlines()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def edge_says(self, beginning: str, times: int = 1) -> str:
        def found() -> list[str]:
            return [line for line in self.said("edge") if line.startswith(beginning)]

        self.until(lambda: len(found()) >= times, beginning)
        return found()[times - 1].removeprefix(beginning).strip()

    def until(self, done: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, f"{what}\n{self.log('pool')[-3000:]}"
            assert self.pool.poll() is None, self.log("pool")
            time.sleep(0.1)

    def events(self) -> Events:
        async def fetch() -> Events:
            wanted = make_filter(tags={"a": [f"34210:{parse_pubkey(self.npub)}:regtest"]})
            return list((await fetch_events([self.relay], [wanted], timeout_s=20)).events)

        return anyio.run(fetch)

    def wait_for(self, done: Callable[[Events], object], what: str) -> Events:
        found: list[Events] = []

        def look() -> object:
            found[:] = [self.events()]
            return done(found[0])

        self.until(look, what)
        return found[0]

    def command(self, *words: str) -> tuple[int, Any]:
        """A command's status and what it says: JSON, or its text when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "noncestr", *words, "--json"],
            cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stderr

    def lane(self, number: int) -> dict[str, Any]:
        """What the pool's status says of a lane of the edge; nothing when it is not open."""
        status = anyio.run(ask, self.data, "status")
        found = (mark for mark in status["watermarks"] if (mark["edge"], mark["number"]) == (self.edge_key, number))
        return next(found, {})

    def verdict(self) -> tuple[int, Counter[str], Counter[str]]:
        """Exit status, what is wrong or missing, what is only noted."""
        status, report = self.command("verify", "--relay", self.relay, "--pool", self.npub)
        wrong: Counter[str] = Counter()
        noted: Counter[str] = Counter()
        for found in report["findings"]:
            (noted if found["grade"] == "not checked" else wrong)[found["code"]] += 1
        return status, wrong, noted

    def acknowledged(self) -> set[tuple[str, str, str]]:
        """(extranonce2, ntime, nonce) of the miner's shares that the edge took."""
        found = set()
        for line in self.record.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if entry["type"] == "share" and entry["answer"] is True:
                found.add(tuple(entry["params"][2:5]))
        return found

    def shares(self, events: Events, lane: int, seqs: range) -> set[tuple[str, str, str]]:
        """The miner's shares in some batches of a lane of the edge."""
        found = set()
        for event in events:
            if event.kind == kinds.RECEIPT and event.pubkey == self.edge_key:
                receipt = parse_receipt(event)
                if receipt.lane == lane and receipt.link.seq in seqs:
                    found |= {
                        (share.extranonce2.hex(), f"{share.ntime:08x}", f"{share.nonce:08x}")
                        for share in receipt.records()
                    }
        return found

    def both_earn(self, events: Events, lane: int) -> list[Statement]:
        """The statements that pay the far miner and another, and count this lane of the edge."""
        return [
            statement
            for statement in statements(events)
            if f"{self.edge_key}/{lane}" in statement.window.heads
            and {row.miner == self.miner.pubkey for row in statement.rows} == {True, False}
        ]

    def stop(self) -> None:
        self.wire.close()
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def statements(events: Events) -> list[Statement]:
    return [parse_statement(event) for event in events if event.kind == kinds.STATEMENT]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.stop()


def cut_and_heal(scene: Scene) -> None:
    """Blocks are found on both sides of the cut; statements wait, and count all of it once it is healed."""
    before = scene.both_earn(scene.wait_for(lambda found: scene.both_earn(found, 0), "a statement of both"), 0)
    silent, back = (f"lane {scene.edge_npub}/0 is {text}" for text in ("silent for", "back after"))
    # A machine that pauses for seconds makes a lane silent too: more may be said than there are cuts.
    silences, returns = scene.log("pool").count(silent), scene.log("pool").count(back)
    scene.wire.cut()
    cut_ms = time.time_ns() // 1_000_000
    scene.until(lambda: scene.lane(0)["silent"] and scene.lane(0)["holds_up"], "the lane to be seen silent")
    # Whoever is asked sees it at once; the pool itself looks once a second, and says it.
    scene.until(lambda: scene.log("pool").count(silent) > silences, "the pool to say so")
    waiting = {held["block"] for held in scene.lane(0)["holds_up"]}
    with urllib.request.urlopen(scene.web.rstrip("/") + "/api/v1/pool") as answer:
        assert {mark["lane"]: mark["silent"] for mark in json.load(answer)["lanes"]}[f"{scene.edge_npub}/0"]
    events = scene.events()
    assert not [each for each in statements(events) if each.reward.found_ms > cut_ms]
    scene.wire.heal()

    def gone_on(found: Events) -> bool:
        # Blocks of both sides and of the time of the cut have their statement.
        late = scene.both_earn(found, 0)
        return waiting <= {each.reward.block for each in statements(found)} and len(late) > len(before)

    scene.wait_for(gone_on, "the statements that waited")
    scene.until(lambda: scene.log("pool").count(back) > returns, "the lane to be back")


@pytest.mark.timeout(900 * (1 + CUTS))
def test_edges_on_both_sides_of_a_cut_a_close_with_a_backlog_and_an_end_for_good(scene: Scene) -> None:
    for _ in range(1 + CUTS):
        cut_and_heal(scene)
    assert scene.log("pool").count(f"lane {scene.edge_npub}/0 is silent for") >= 1 + CUTS

    # An open lane is not closed before its grace is over; asked while it is heard, for a command may take as long.
    lane = f"{scene.edge_npub}/0"
    status, text = scene.command("edge", "close", lane, "--data", str(scene.data))
    assert status == 2
    assert f"its grace is {GRACE_S} s" in text
    # Cut off again, until the grace is over: the operator closes the lane, and statements go on.
    scene.wire.cut()
    scene.until(lambda: scene.lane(0)["silent"] and scene.lane(0)["holds_up"], "the lane to be seen silent")
    scene.until(lambda: scene.lane(0)["quiet_ms"] > (GRACE_S + 1) * 1000, "the grace to be over")
    status, closed = scene.command("edge", "close", lane, "--data", str(scene.data))
    assert status == 0, closed
    waited = {held["block"] for held in closed["waited_for_it"]}
    assert waited
    scene.wait_for(lambda found: waited <= {each.reward.block for each in statements(found)}, "statements without it")

    # The edge comes back with what it took meanwhile: that counts nowhere, is told, and convicts nobody.
    scene.wire.heal()
    scene.edge_says("a lane was closed by the pool")
    scene.until(lambda: scene.command("edge", "lost", "--data", str(scene.far))[1], "the report")
    (report,) = scene.command("edge", "lost", "--data", str(scene.far))[1]
    assert (report["lane"], report["batch"], report["complete"]) == (lane, closed["batch"], True)
    events = scene.wait_for(lambda found: scene.both_earn(found, 1), "a statement with the new lane")
    beyond = scene.shares(events, 0, range(closed["batch"] + 1, 10**6))
    assert report["shares"] == len(beyond) > 0
    assert [row["miner"] for row in report["miners"]] == [encode_npub(scene.miner.pubkey)]
    taken = scene.acknowledged()
    counted = scene.shares(scene.events(), 0, range(closed["batch"] + 1))
    counted |= scene.shares(scene.events(), 1, range(10**6))
    assert not counted & beyond
    # What was taken in the last batches may not be published yet.
    scene.wait_for(
        lambda found: taken <= counted | beyond | scene.shares(found, 1, range(10**6)), "each share in one place"
    )

    # Killed for good: the lane is reported, closed by the pool itself after its grace, and statements go on.
    scene.configure("close_silent = true\n")
    scene.pool.send_signal(signal.SIGHUP)
    scene.until(lambda: "the configuration was read again" in scene.log("pool"), "SIGHUP")
    scene.edge.kill()
    scene.mining.kill()

    def goes_on(found: Events) -> bool:
        newest = max((parse_terms(event) for event in found if event.kind == kinds.TERMS), key=lambda it: it.link.seq)
        end = newest.body.closed.get(f"{scene.edge_key}/1")
        if end is None:
            return False
        (last,) = (parse_receipt(event) for event in found if event.id == end.id)
        return any(each.reward.found_ms > last.to_ms for each in statements(found))

    scene.wait_for(goes_on, "statements after the edge's end")
    status, wrong, noted = scene.verdict()
    assert (status, wrong) == (0, Counter())
    assert noted["closed-chain"] >= report["batches"]
    assert f"lane {scene.edge_npub}/1 is silent for" in scene.log("pool")
    assert "Traceback" not in scene.log("pool") + scene.log("edge")


@pytest.mark.skipif(not CUTS, reason="two minutes: NONCESTR_CUTS=1 and more")
@pytest.mark.timeout(900 * (1 + CUTS))
def test_an_edge_killed_while_cut_off_comes_back_before_the_close_and_after(scene: Scene) -> None:
    """What it took is in its journal alone: it counts as long as the lane is open, and is told as lost after that."""

    def killed_in_the_dark(lane: int) -> set[tuple[str, str, str]]:
        scene.wait_for(lambda found: scene.both_earn(found, lane), "a statement of both")
        told = scene.events()
        scene.wire.cut()
        before = len(scene.acknowledged())
        scene.until(lambda: len(scene.acknowledged()) >= before + 5, "shares in the dark")
        scene.edge.kill()
        scene.edge.wait()
        return scene.acknowledged() - scene.shares(told, lane, range(10**6))

    # It starts again without a relay, under the terms it saw last, in its lane; then the relays are back.
    dark = killed_in_the_dark(0)
    scene.edge = scene.start_edge()
    scene.edge_says("Stratum:")
    scene.wire.heal()
    scene.wait_for(lambda found: dark <= scene.shares(found, 0, range(10**6)), "what was taken in the dark")
    assert not scene.command("edge", "lost", "--data", str(scene.far))[1]

    # The same, and the lane is closed while the edge is dead: it starts without knowing.
    dark = killed_in_the_dark(0)
    scene.until(lambda: scene.lane(0)["quiet_ms"] > (GRACE_S + 1) * 1000, "the grace to be over")
    status, closed = scene.command("edge", "close", f"{scene.edge_npub}/0", "--data", str(scene.data))
    assert status == 0, closed
    scene.edge = scene.start_edge()
    scene.edge_says("Stratum:")
    scene.wire.heal()
    events = scene.wait_for(lambda found: scene.both_earn(found, 1), "a statement with the new lane")
    scene.until(lambda: scene.command("edge", "lost", "--data", str(scene.far))[1], "the report")
    (report,) = scene.command("edge", "lost", "--data", str(scene.far))[1]
    beyond = scene.shares(events, 0, range(closed["batch"] + 1, 10**6))
    assert report["complete"]
    assert report["shares"] == len(beyond)
    in_time = scene.shares(events, 0, range(closed["batch"] + 1))
    assert dark <= in_time | beyond
    assert dark & beyond

    # Dead again, and closed; this time it hears of it at its start.
    dark = killed_in_the_dark(1)
    scene.until(lambda: scene.lane(1)["quiet_ms"] > (GRACE_S + 1) * 1000, "the grace to be over")
    status, closed = scene.command("edge", "close", f"{scene.edge_npub}/1", "--data", str(scene.data))
    assert status == 0, closed
    scene.wire.heal()
    scene.edge = scene.start_edge()
    scene.wait_for(lambda found: scene.both_earn(found, 2), "a statement with the third lane")
    scene.until(lambda: len(scene.command("edge", "lost", "--data", str(scene.far))[1]) == 2, "the second report")
    assert scene.verdict()[:2] == (0, Counter())
    assert "Traceback" not in scene.log("pool") + scene.log("edge")
