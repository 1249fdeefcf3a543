"""A whole pool beside a real Bitcoin Core (regtest): it mines on it, pays from it, dies amid batches, is audited by it.

`make real-wallet BITCOIND=...`, skipped without.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import anyio.to_thread
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event, make_filter
from nips.nip19 import encode_npub, parse_pubkey
from nips.pool import kinds
from nips.pool.payout import Payout, parse_payout
from nips.pool.settings import SettingsBody, build_settings
from noncestr.keys.files import load
from noncestr.payouts.chain import RpcWallet
from noncestr.running import running
from relay_bridge.adapters.fetch import fetch_events
from relay_bridge.service import RelayBridge
from tests.noncestr.payouts import test_chain as test_payout_chain
from tests.noncestr.payouts.test_chain import BITCOIND, Core, mine

ROOT = Path(__file__).parents[2]
# Blocks until the subsidy is some 1,220,000 sat: 150 are a regtest halving. So one wallet can pay for many.
HALVINGS = 12
# Generous: waiting ends as soon as what is awaited is there.
PATIENCE = 200
SAT = 100_000_000
# [payouts] onchain_sat
ONCHAIN_MSAT = 100_000_000
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not BITCOIND, reason="NONCESTR_BITCOIND names no bitcoind: no pool ran beside a real node"),
]

core = test_payout_chain.core


class Wire:
    """A door before the node, at which a pool's process dies amid a payment: `before` a batch is handed over, or
    `after` the node took it, its answer never heard. `method`: of the call that it dies at.
    """

    def __init__(self, node_url: str) -> None:
        self.method = "sendrawtransaction"
        self.moments: list[str] = []
        self.kill: Callable[[], None] = lambda: None
        self.died: list[str] = []
        self.sent: list[str] = []
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sends = b'"sendrawtransaction"' in body
                moment = wire.moments.pop(0) if wire.moments and f'"{wire.method}"'.encode() in body else ""
                if moment == "before":
                    wire.die(moment)
                    return
                asked = urllib.request.Request(
                    node_url + self.path, body, {"Authorization": self.headers["Authorization"]}
                )
                try:
                    with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
                        status, told = answer.status, answer.read()
                except urllib.error.HTTPError as error:
                    status, told = error.code, error.read()
                except OSError:
                    self.close_connection = True
                    return
                if sends:
                    wire.sent.append(json.loads(told)["result"])
                if moment == "after":
                    wire.die(moment)
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: Any) -> None:
                """Nothing: the tests' output is kept clean."""

            def handle(self) -> None:
                with suppress(OSError):  # the pool that asked is dead
                    super().handle()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = Thread(target=self.server.serve_forever)
        self._thread.start()

    def die(self, moment: str) -> None:
        self.kill()
        self.died.append(moment)

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class Pool:
    """`noncestr up` in a folder, started again after each kill."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NONCESTR_")}
        self.environment = {
            **kept, "HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1",
            **{f"NONCESTR_{name}": value for name, value in settings.items()},
        }  # fmt: skip
        self.process: subprocess.Popen[str] | None = None
        self.told: dict[str, str] = {}

    def start(self) -> None:
        with (self.folder / "up.log").open("ab") as log:
            self.process = self.spawn("up", "--no-demo", "--data", "data", stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            name, _, value = line.strip().partition(":")
            self.told[name] = value.strip()
            if line.startswith("Ctrl-C"):
                return
        raise AssertionError((self.folder / "up.log").read_text())

    def spawn(self, *words: str, **how: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "noncestr", *words], cwd=self.folder, env=self.environment, text=True, **how
        )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ask(self, *words: str) -> Any:
        """A command's answer as JSON."""
        process = self.spawn(*words, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=PATIENCE)
        assert out, err
        return json.loads(out)

    def log(self, *others: int) -> list[VerifiedEvent]:
        """The pool's events, and all of these other kinds."""

        async def fetch() -> list[VerifiedEvent]:
            wanted = [make_filter(tags={"a": [f"34210:{self.pubkey}:regtest"]})]
            wanted += [make_filter(kinds=[kind]) for kind in others]
            found = await fetch_events([self.told["relay"]], wanted, timeout_s=20)
            return list({event.id: event for event in found.events}.values())

        return anyio.run(fetch)

    @property
    def pubkey(self) -> str:
        return parse_pubkey(self.told["pool npub"])

    def key(self, pubkey: str) -> SecretKey:
        keys = (load(path) for path in (self.folder / "data" / "keys").glob("*.nsec"))
        return next(key for key in keys if key.pubkey == pubkey)

    def payouts(self) -> list[Payout]:
        return [parse_payout(event) for event in self.log() if event.kind == kinds.PAYOUT]


@contextmanager
def mining(pool: Pool, miners: list[SecretKey]) -> Iterator[None]:
    running_ = [
        pool.spawn(
            "miner", "--url", pool.told["Stratum"], "--max-hps", "20000", "--user", encode_npub(miner.pubkey),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for miner in miners
    ]  # fmt: skip
    try:
        yield
    finally:
        for each in running_:
            each.terminate()
        for each in running_:
            each.wait(PATIENCE)


def wait_until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


async def say(pool: Pool, miners: dict[str, tuple[SecretKey, SettingsBody]]) -> None:
    """Publish their settings, each by its own signature."""
    events = [key.sign(build_settings(pool.pubkey, body, int(time.time()))) for key, body in miners.values()]
    bridge = RelayBridge([pool.told["relay"]], outbox_path=pool.folder / "miners.sqlite")
    async with running(bridge.run):
        await bridge.publish_many(events)
        assert await bridge.flush(PATIENCE)


@pytest.fixture
async def rich(core: Core) -> AsyncIterator[RpcWallet]:
    """The pool's wallet, with two coins of 50 bitcoin, on a chain of small subsidies whose blocks are old."""
    await core.up()
    node = core.wallet()
    await node.call("setmocktime", int(time.time()) - 2 * 86_400)
    await node.call("createwallet", "pool")
    await node.call("createwallet", "miner")
    wallet = core.wallet("pool")
    await mine(wallet, 2, await wallet.call("getnewaddress"))
    await mine(wallet, 150 * HALVINGS)
    await node.call("setmocktime", 0)
    await mine(wallet, 1)
    yield wallet
    for rpc in core.opened:
        await rpc.close()


async def test_a_whole_pool_pays_on_chain_is_killed_amid_batches_and_never_pays_twice(
    core: Core, rich: RpcWallet, tmp_path: Path
) -> None:
    wire = Wire(f"http://127.0.0.1:{core.port}")
    home = tmp_path / "pool"
    home.mkdir()
    settings = {
        "STRATUM_PORT": "0", "RELAY_PORT": "0", "WEB_PORT": "0", "DEMO_LIGHTNING_PORT": "0", "MINT_ENABLED": "false",
        "STRATUM_START_DIFFICULTY": "1/65536", "TERMS_BATCH_SECONDS": "1", "TERMS_HEARTBEAT_SECONDS": "2",
        "TERMS_MATURITY_BLOCKS": "2", "CHAIN_BLOCK_SECONDS": "2", "PAYOUTS_INTERVAL_SECONDS": "3600",
        "PAYOUTS_MAX_FEE_SAT": "10000", "PAYOUTS_BACKEND": "none",
        "CHAIN_SOURCE": "bitcoind", "CHAIN_PAYOUT": await rich.call("getnewaddress"), "NODE_URLS": wire.url,
        "NODE_COOKIE_FILES": str(tmp_path / "regtest" / ".cookie"), "PAYOUTS_ONCHAIN_WALLET": "pool",
    }  # fmt: skip
    pool = Pool(home, settings)
    wire.kill = pool.kill
    keys = [SecretKey(os.urandom(32)) for _ in range(2)]
    addresses = {key.pubkey: str(await core.wallet("miner").call("getnewaddress")) for key in keys}
    try:
        await anyio.to_thread.run_sync(pool.start)
        await say(
            pool,
            {k.pubkey: (k, SettingsBody(methods=("onchain",), onchain=addresses[k.pubkey])) for k in keys},
        )
        await anyio.to_thread.run_sync(kill_amid_batches, pool, wire, keys)
        assert set(await finish(pool, rich)) == {"settled"}
        paid = await anyio.to_thread.run_sync(pool.payouts)
        # Each batch was handed to the node more than once, and paid once.
        assert wire.died == ["before", "after", "before", "after", "before"]
        outputs = [(payout.proof["txid"], payout.proof["vout"]) for payout in paid]
        assert max(Counter(outputs).values()) == 1
        assert {payout.method for payout in paid} == {"onchain"}
        told: Counter[str] = Counter()
        for payout in paid:
            told[payout.miner] += payout.amount_msat
        for key in keys:
            received = await core.wallet("miner").call("getreceivedbyaddress", addresses[key.pubkey], 3)
            assert told[key.pubkey] == int(Decimal(received) * SAT) * 1000 > 0
        spent = [each for each in await rich.call("listtransactions", "*", 1000) if each["category"] == "send"]
        assert {(each["txid"], each["vout"]) for each in spent} == set(outputs)
        await anyio.to_thread.run_sync(audit, pool, core, told, len(paid))
    finally:
        wire.moments.clear()
        if pool.process is not None and pool.process.poll() is None:
            pool.kill()
        wire.close()


def kill_amid_batches(pool: Pool, wire: Wire, keys: list[SecretKey]) -> None:
    """Five times: a round is begun, the pool dies in it and is started again."""

    def due() -> list[int]:
        found = pool.ask("payouts", "plan", "--data", "data")["payouts"]
        return [msat for _, msat in found if msat >= ONCHAIN_MSAT]

    def died(times: int) -> Callable[[], bool]:
        return lambda: len(wire.died) == times

    for number, moment in enumerate(("before", "after", "before", "after", "before"), 1):
        with mining(pool, keys):
            wait_until(lambda: len(due()) == len(keys), f"round {number}: not enough is due")
        wire.moments.append(moment)
        process = pool.spawn("payouts", "run", "--data", "data", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(died(number), f"round {number}: no batch was sent")
        process.wait(PATIENCE)
        pool.start()
        # The store holds the amounts: they are not due again.
        wait_until(lambda: due() == [], f"round {number}: it is due again")


async def finish(pool: Pool, wallet: RpcWallet) -> Counter[str]:
    """Blocks of others, until each payout has its record; the payouts by their states."""
    with anyio.fail_after(PATIENCE):
        while True:
            found = await anyio.to_thread.run_sync(pool.ask, "payouts", "show", "--data", "data", "--limit", "1000")
            states = Counter(row["state"] for row in found["payouts"])
            paid = await anyio.to_thread.run_sync(pool.payouts)
            if set(states) <= {"settled", "failed"} and states["settled"] == len(paid):
                return states
            await mine(wallet, 1)
            await anyio.sleep(1)


def audit(pool: Pool, core: Core, told: Counter[str], payouts: int) -> None:
    """`noncestr verify` with the node: all holds, each payout is proven by the chain."""
    words = ("verify", "--relay", pool.told["relay"], "--pool", pool.told["pool npub"])
    node = ("--bitcoin-rpc", f"http://127.0.0.1:{core.port}", "--bitcoin-cookie", f"{core.folder}/regtest/.cookie")
    plain = pool.ask(*words)
    assert plain["payout_methods"] == {"onchain": {"claimed": payouts}}
    report = pool.ask(*words, *node)
    assert [found for found in report["findings"] if found["grade"] != "not checked"] == []
    assert report["payout_methods"] == {"onchain": {"proven": payouts}}
    assert {row["miner"]: row["paid_msat"] for row in report["miners"]} == dict(told)
    assert all(row["owed_msat"] >= 0 for row in report["miners"])
    tampered(pool, node)


def tampered(pool: Pool, node: tuple[str, ...]) -> None:
    """The node refutes what the zapper's own key signs: more than the output holds, another's output."""
    log = pool.log(kinds.SETTINGS)
    told = pool.folder / "log.jsonl"
    words = ("verify", "--archive", str(told), "--pool", pool.told["pool npub"], *node)
    told.write_bytes(b"\n".join(map(encode_event, log)))
    payouts = sum(event.kind == kinds.PAYOUT for event in log)
    assert pool.ask(*words)["payout_methods"] == {"onchain": {"proven": payouts}}

    # The newest of the chain of records: none links to it.
    newest = max((event for event in log if event.kind == kinds.PAYOUT), key=lambda event: parse_payout(event).link.seq)
    payout = parse_payout(newest)
    for change in (
        {"amount_msat": payout.amount_msat + 1000},
        {"proof": {**payout.proof, "vout": 1 - payout.proof["vout"]}},
    ):
        text = json.dumps({**json.loads(newest.content), **change}, separators=(",", ":"))
        forged = pool.key(newest.pubkey).sign(UnsignedEvent(newest.kind, newest.created_at, newest.tags, text))
        told.write_bytes(b"\n".join(encode_event(forged if event is newest else event) for event in log))
        report = pool.ask(*words)
        assert report["payout_methods"] == {"onchain": {"proven": payouts - 1, "refuted": 1}}
        assert {"payout-proof"} <= {found["code"] for found in report["findings"]}
