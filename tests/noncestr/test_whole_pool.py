"""The whole loop on real parts, each process its own: mine, receipt, block, statement, zap, kill -9, verify.

Everything is as `noncestr up` runs it, only faster: blocks every few seconds, two confirmations, payouts at once.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from nips.bolt11 import decode_invoice
from nips.nip01 import UnsignedEvent, VerifiedEvent, make_filter
from nips.nip19 import encode_npub, parse_pubkey
from nips.pool import kinds
from nips.pool.payout import parse_payout
from nips.pool.receipt import parse_receipt
from nips.pool.statement import parse_statement
from nips.pool.terms import parse_terms
from noncestr.keys.files import load_or_create
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.fetch import fetch_events
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy
from relay_bridge.ports import Outcome

ROOT = Path(__file__).parents[2]
# Generous: CI's machine has two cores and other work. Waiting ends as soon as what is awaited is there.
PATIENCE = 200
FAST = {
    "NONCESTR_STRATUM_PORT": "0",
    "NONCESTR_RELAY_PORT": "0",
    "NONCESTR_WEB_PORT": "0",
    "NONCESTR_DEMO_LIGHTNING_PORT": "0",
    "NONCESTR_DEMO_HASHES_PER_SECOND": "40000",
    "NONCESTR_CHAIN_NETWORK_BLOCK_SECONDS": "2",
    "NONCESTR_CHAIN_BLOCK_SECONDS": "3",
    "NONCESTR_STRATUM_START_DIFFICULTY": "1/65536",
    "NONCESTR_TERMS_BATCH_SECONDS": "1",
    "NONCESTR_TERMS_HEARTBEAT_SECONDS": "2",
    "NONCESTR_TERMS_MATURITY_BLOCKS": "2",
    "NONCESTR_PAYOUTS_INTERVAL_SECONDS": "1",
    "NONCESTR_MINT_ENABLED": "false",
}


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NONCESTR_")}
    return {**kept, **FAST, "HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


class Up:
    """`noncestr up` as a process of its own; its lines are read until the banner is whole."""

    def __init__(self, data: Path, *options: str) -> None:
        self.log = (data.parent / "up.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "noncestr", "up", "--data", str(data), *options],
            cwd=data.parent,
            env=environment(data.parent),
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        text = "\n".join(self.lines)
        assert "pool npub:" in text, text + (data.parent / "up.log").read_text()
        self.npub = next(word for word in text.split() if word.startswith("npub1"))
        self.relay = self._value("relay")
        self.stratum = self._value("Stratum")
        self.web = self._value("web")

    def _value(self, name: str) -> str:
        return next(line.split(":", 1)[1].strip() for line in self.lines if line.strip().startswith(name + ":"))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(30)
        self.close()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()


@pytest.fixture
def pools() -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(data: Path, *options: str) -> Up:
        started.append(Up(data, *options))
        return started[-1]

    yield start
    for pool in started:
        if pool.process.poll() is None:
            pool.kill()


def read_log(pool: Up) -> list[VerifiedEvent]:
    async def fetch() -> list[VerifiedEvent]:
        wanted = make_filter(tags={"a": [f"34210:{parse_pubkey(pool.npub)}:regtest"]})
        return list((await fetch_events([pool.relay], [wanted], timeout_s=20)).events)

    return anyio.run(fetch)


def wait_for(pool: Up, done: Callable[[list[VerifiedEvent]], bool]) -> list[VerifiedEvent]:
    deadline = time.monotonic() + PATIENCE
    while True:
        events = read_log(pool)
        if done(events):
            return events
        assert pool.process.poll() is None, "the pool ended by itself"
        assert time.monotonic() < deadline, Counter(event.kind for event in events)
        time.sleep(0.5)


def verify(pool: Up, *, relay: str | None = None) -> tuple[int, dict]:
    done = subprocess.run(
        [sys.executable, "-m", "noncestr", "verify", "--relay", relay or pool.relay, "--pool", pool.npub, "--json"],
        env=environment(ROOT), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def edge_command(data: Path, *words: str) -> tuple[int, dict]:
    """`noncestr edge ...` on a data folder: its status and what it says as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "noncestr", "edge", *words, "--data", str(data), "--json"],
        env=environment(ROOT), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def accepted(record: Path) -> Counter[tuple[str, str, str]]:
    """(extranonce2, ntime, nonce) of each submission the pool acknowledged; a last line may be cut."""
    found: Counter[tuple[str, str, str]] = Counter()
    for line in record.read_text().splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if entry["type"] == "share" and entry["answer"] is True:
            _, _, extranonce2, ntime, nonce = entry["params"][:5]
            found[(extranonce2, ntime, nonce)] += 1
    return found


def credited(events: list[VerifiedEvent], miner: str) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for event in events:
        if event.kind != kinds.RECEIPT:
            continue
        receipt = parse_receipt(event)
        for share in receipt.records():
            if receipt.miners[receipt.sessions[share.session].miner] == miner:
                found[(share.extranonce2.hex(), f"{share.ntime:08x}", f"{share.nonce:08x}")] += 1
    return found


def tampered(events: list[VerifiedEvent], keys: Path) -> list[VerifiedEvent]:
    """The log with one statement that gives its first row one msat more, signed anew by the accounting itself."""
    at = next(n for n, event in enumerate(events) if event.kind == kinds.STATEMENT)
    event = events[at]
    content = json.loads(event.content)
    content["rows"][0][1] += 1
    content["fee_msat"] -= 1
    text = json.dumps(content, separators=(",", ":"))
    forged = load_or_create(keys, "accounting").sign(UnsignedEvent(event.kind, event.created_at, event.tags, text))
    return [*events[:at], forged, *events[at + 1 :]]


def verify_copy(pool: Up, events: list[VerifiedEvent], path: Path) -> tuple[int, dict]:
    """What the command says of a log that another relay serves."""

    async def run() -> tuple[int, dict]:
        async with SqliteEventStore(path) as store, RelayServer("127.0.0.1", 0, store, OpenPolicy()) as server:
            left = len(events)
            stored = anyio.Event()

            def done(outcome: Outcome) -> None:
                nonlocal left
                assert outcome is Outcome.STORED
                left -= 1
                if not left:
                    stored.set()

            for event in events:
                store.put(event, done)
            await stored.wait()
            return await anyio.to_thread.run_sync(lambda: verify(pool, relay=server.url))

    return anyio.run(run)


@pytest.mark.timeout(600)
def test_the_whole_loop_survives_kill_9_and_verifies(tmp_path: Path, pools: Callable[..., Up]) -> None:
    """Mine with a new npub, be credited, see a block split and paid; kill everything; nothing acknowledged is lost."""
    data = tmp_path / "data"
    pool = pools(data)
    miner = load_or_create(tmp_path / "miner", "key")
    record = tmp_path / "record.jsonl"
    mining = subprocess.Popen(
        [
            *(sys.executable, "-m", "noncestr", "miner", "--url", pool.stratum, "--max-hps", "60000"),
            *("--user", encode_npub(miner.pubkey) + ".test", "--record", str(record)),
        ],
        env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        events = wait_for(
            pool,
            lambda found: (
                any(e.kind == kinds.PAYOUT for e in found)
                and any(e.kind == kinds.STATEMENT and miner.pubkey in e.tag_values("p") for e in found)
                and record.exists()
                and len(accepted(record)) >= 5
            ),
        )
    finally:
        pool.kill()
        mining.terminate()
        mining.wait(20)
    statement = next(parse_statement(e) for e in events if e.kind == kinds.STATEMENT)
    assert sum(row.msat for row in statement.rows) + statement.fee_msat == statement.reward.gross_msat == 100_000_000
    payout = next(parse_payout(e) for e in events if e.kind == kinds.PAYOUT)
    assert payout.method == "zap"
    paid_hash = decode_invoice(payout.proof["bolt11"]).payment_hash
    assert hashlib.sha256(bytes.fromhex(payout.proof["preimage"])).hexdigest() == paid_hash

    again = pools(data)
    assert again.npub == pool.npub
    before = {event.id for event in events if event.kind in kinds.LEDGER_KINDS}
    wanted = accepted(record)
    newest = max(e.created_at for e in events if e.kind == kinds.RECEIPT)
    events = wait_for(
        again,
        lambda found: (
            sum(e.kind == kinds.RECEIPT and e.created_at > newest for e in found) >= 3
            and sum(e.kind == kinds.PAYOUT and e.id not in before for e in found) >= 1
        ),
    )
    assert before <= {event.id for event in events}
    got = credited(events, miner.pubkey)
    assert wanted - got == Counter()
    assert max(got.values()) == 1
    status, report = verify(again)
    assert (status, [f for f in report["findings"] if f["grade"] != "not checked"]) == (0, [])

    log = [event for event in read_log(again) if event.kind in kinds.LEDGER_KINDS]
    assert verify_copy(again, log, tmp_path / "copy.sqlite")[0] == 0
    status, report = verify_copy(again, tampered(log, data / "keys"), tmp_path / "tampered.sqlite")
    assert status == 1
    assert "statement-split" in {found["code"] for found in report["findings"]}
    assert again.stop() == 0


def test_a_second_pool_on_the_same_folder_is_refused(tmp_path: Path, pools: Callable[..., Up]) -> None:
    data = tmp_path / "data"
    pool = pools(data)
    done = subprocess.run(
        [sys.executable, "-m", "noncestr", "up", "--data", str(data)],
        env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 2
    assert "another noncestr is running" in done.stderr
    assert "Traceback" not in done.stderr
    assert pool.stop() == 0


@pytest.mark.timeout(600)
def test_a_lost_journal_opens_a_new_lane_and_a_lost_ledger_is_rebuilt(tmp_path: Path, pools: Callable[..., Up]) -> None:
    data = tmp_path / "data"
    pool = pools(data)
    wait_for(pool, lambda found: any(e.kind == kinds.PAYOUT for e in found))
    assert pool.stop() == 0
    shutil.rmtree(data / "journal")
    for path in data.glob("ledger.sqlite*"):
        path.unlink()
    (data / "terms.jsonl").unlink()
    again = pools(data)

    def went_on(found: list[VerifiedEvent]) -> bool:
        late = [parse_receipt(e) for e in found if e.kind == kinds.RECEIPT and e.tag_value("lane") == "1"]
        newest = max((receipt.to_ms for receipt in late if receipt.count), default=0)
        statements = [parse_statement(e) for e in found if e.kind == kinds.STATEMENT]
        return any(s.reward.found_ms < newest and any("/1" in lane for lane in s.window.heads) for s in statements)

    wait_for(again, went_on)
    status, report = verify(again)
    assert (status, [f for f in report["findings"] if f["grade"] != "not checked"]) == (0, [])
    assert again.stop() == 0


def processes_of(data: Path) -> dict[int, int]:
    """The pids of the lanes' processes, by their numbers, as the system lists them."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if words[1:6] == ["-m", "noncestr", "edge", "lane", "--data"] and words[6] == str(data):
            found[int(words[words.index("--process") + 1])] = int(folder.name)
    return found


@pytest.mark.timeout(600)
def test_two_workers_outlive_a_kill_of_one_and_fewer_workers_finish_its_lane(
    tmp_path: Path, pools: Callable[..., Up]
) -> None:
    """Two lanes on one port: one is killed under load and comes back in its lane; statements go on; then one worker
    alone finishes the other lane and goes on.
    """
    data = tmp_path / "data"
    pool = pools(data, "--workers", "2")
    miners = [load_or_create(tmp_path / "miner", f"key{n}") for n in range(6)]
    records = [tmp_path / f"record{n}.jsonl" for n in range(6)]
    mining = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "noncestr", "miner", "--url", pool.stratum, "--max-hps", "15000"),
                *("--user", encode_npub(miner.pubkey) + ".test", "--record", str(record)),
            ],
            env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for miner, record in zip(miners, records, strict=True)
    ]  # fmt: skip

    def shares_by_lane(found: list[VerifiedEvent]) -> Counter[int]:
        lanes: Counter[int] = Counter()
        for event in found:
            if event.kind == kinds.RECEIPT:
                receipt = parse_receipt(event)
                lanes[receipt.lane] += receipt.count
        return lanes

    def statements(found: list[VerifiedEvent]) -> int:
        return sum(event.kind == kinds.STATEMENT for event in found)

    try:
        # The system spreads connections by chance: six miners and the demo's two all on one lane are one in 128.
        events = wait_for(pool, lambda found: statements(found) >= 2 and sum(shares_by_lane(found).values()) >= 8)
        status, report = verify(pool)
        assert (status, [f for f in report["findings"] if f["grade"] != "not checked"]) == (0, [])
        before = processes_of(data)
        assert set(before) == {0, 1}
        _, found = edge_command(data, "status")
        assert {report["process"]: report["pid"] for report in found["lanes"]} == before
        assert found["total"]["sessions"] == sum(report["edge"]["sessions"] for report in found["lanes"]) >= 6
        _, rows = edge_command(data, "sessions")
        assert {row["miner"] for row in rows} >= {encode_npub(miner.pubkey) for miner in miners}
        lanes = shares_by_lane(events)
        victim = max(lanes, key=lambda lane: lanes[lane])
        os.kill(before[victim], signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while processes_of(data).get(victim, before[victim]) == before[victim]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        told, newest = statements(read_log(pool)), time.time()

        def back(found: list[VerifiedEvent]) -> bool:
            late = [parse_receipt(e).lane for e in found if e.kind == kinds.RECEIPT and e.created_at > newest]
            return {0, 1} <= set(late) and statements(found) >= told + 2

        wait_for(pool, back)
        after = processes_of(data)
        assert after[1 - victim] == before[1 - victim]
        assert set(after) == {0, 1}
        status, report = verify(pool)
        assert (status, [f for f in report["findings"] if f["grade"] != "not checked"]) == (0, [])
    finally:
        pool.kill()
        for process in mining:
            process.terminate()
        for process in mining:
            process.wait(20)
    again = pools(data, "--workers", "1")
    assert not processes_of(data)

    def finished(found: list[VerifiedEvent]) -> bool:
        ended = [parse_receipt(e) for e in found if e.kind == kinds.RECEIPT and e.tag_value("fin") is not None]
        if [receipt.lane for receipt in ended] != [1]:
            return False
        late = [parse_statement(e) for e in found if e.kind == kinds.STATEMENT]
        return any(statement.reward.found_ms > ended[0].to_ms for statement in late)

    events = wait_for(again, finished)
    for miner, record in zip(miners, records, strict=True):
        got = credited(events, miner.pubkey)
        assert accepted(record) - got == Counter()
        assert max(got.values(), default=1) == 1
    status, report = verify(again)
    assert (status, [f for f in report["findings"] if f["grade"] != "not checked"]) == (0, [])
    status, drained = edge_command(data, "drain")
    assert (status, drained["left"], drained["published"], drained["done"]) == (0, 0, True, True)
    assert again.process.wait(30) == 0
    again.close()


class LoneEdge:
    """`noncestr edge run` as a process of its own."""

    def __init__(self, data: Path, pool: Up, chain_of: Path) -> None:
        self.out, self.log = data.parent / "edge.out", data.parent / "edge.log"
        with self.out.open("ab") as out, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "noncestr", "edge", "run", "--pool", pool.npub, "--relay", pool.relay),
                    *("--chain-of", str(chain_of), "--data", str(data)),
                ],
                cwd=data.parent, env=environment(data.parent), stdout=out, stderr=log,
            )  # fmt: skip

    def wait_for(self, beginning: str) -> str:
        """The rest of the first line that begins so."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for line in self.out.read_text().splitlines():
                if line.startswith(beginning):
                    return line.removeprefix(beginning).strip()
            assert self.process.poll() is None, self.out.read_text() + self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.timeout(600)
def test_an_edge_elsewhere_earns_in_the_same_statement_over_relays_alone(
    tmp_path: Path, pools: Callable[..., Up]
) -> None:
    """The pool names the edge while it runs (SIGHUP); a miner there and the demo miners share statements; the edge
    outlives kill -9; it leaves for good, and is left out.
    """
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere" / "edge"
    elsewhere.parent.mkdir()
    settings = tmp_path / "noncestr.toml"
    settings.write_text("")
    pool = pools(data)
    edge = LoneEdge(elsewhere, pool, data)
    miner, record = load_or_create(tmp_path / "miner", "key"), tmp_path / "record.jsonl"
    mining = None
    try:
        npub = edge.wait_for("edge npub:")
        edge.wait_for("waiting: the pool's terms do not name this edge")
        settings.write_text(f'[edge]\nkeys = ["{npub}"]\n')
        pool.process.send_signal(signal.SIGHUP)
        stratum = edge.wait_for("Stratum:")
        mining = subprocess.Popen(
            [
                *(sys.executable, "-m", "noncestr", "miner", "--url", stratum, "--max-hps", "40000"),
                *("--user", encode_npub(miner.pubkey) + ".far", "--record", str(record)),
            ],
            env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

        def both_earn(found: list[VerifiedEvent]) -> bool:
            statements = [parse_statement(e) for e in found if e.kind == kinds.STATEMENT]
            return any(
                len({lane.partition("/")[0] for lane in s.window.heads}) == 2
                and any(row.miner == miner.pubkey for row in s.rows)
                and any(row.miner != miner.pubkey for row in s.rows)
                for s in statements
            )

        wait_for(pool, both_earn)
        edge.kill()
        edge.out.unlink()
        edge = LoneEdge(elsewhere, pool, data)
        edge.wait_for("Stratum:")
        # A file that is wrong changes nothing.
        settings.write_text("[edge]\nkeys = 3\n")
        pool.process.send_signal(signal.SIGHUP)
        status, drained = edge_command(elsewhere, "drain", "--fin")
        assert (status, drained["done"]) == (0, True)
        assert edge.process.wait(30) == 0
        mining.terminate()
        mining.wait(20)
        events = read_log(pool)
        (ended,) = [e for e in events if e.kind == kinds.RECEIPT and e.tag_value("fin") is not None]
        assert encode_npub(ended.pubkey) == npub
        got = credited(events, miner.pubkey)
        assert accepted(record) - got == Counter()
        assert max(got.values()) == 1
        settings.write_text("")
        pool.process.send_signal(signal.SIGHUP)
        lane = f"{ended.pubkey}/0"

        def closed(found: list[VerifiedEvent]) -> bool:
            # The demo target may bring new terms at any time.
            return any(lane in parse_terms(event).body.closed for event in found if event.kind == kinds.TERMS)

        events = wait_for(pool, closed)
        newest = max((parse_terms(e) for e in events if e.kind == kinds.TERMS), key=lambda terms: terms.link.seq)
        assert newest.body.closed[lane].id == ended.id
        assert ended.pubkey not in newest.body.keys_of("edge")
        status, report = verify(pool)
        assert (status, [f for f in report["findings"] if f["grade"] != "not checked"]) == (0, [])
        assert pool.stop() == 0
        assert "SIGHUP: nothing was changed: the configuration is wrong" in (tmp_path / "up.log").read_text()
    finally:
        edge.kill()
        if mining is not None:
            mining.kill()
            mining.wait()
