"""The demo's ecash, as `noncestr up` runs it: a mint beside the pool, a nutzap, a withdrawal, kill -9, verify."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from nips.nip01 import VerifiedEvent, make_filter
from nips.nip19 import parse_pubkey
from nips.pool import kinds
from nips.pool.payout import Payout, parse_payout
from relay_bridge.adapters.fetch import fetch_events

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
}


class Up:
    """`noncestr up` as a process of its own."""

    def __init__(self, data: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NONCESTR_")}
        self.env = {**kept, **FAST, "HOME": str(data.parent), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.log_path = data.parent / "up.log"
        self.log = self.log_path.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "noncestr", "up", "--data", str(data)],
            cwd=data.parent, env=self.env, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip
        self.values: dict[str, str] = {}
        assert self.process.stdout is not None
        for line in self.process.stdout:
            name, _, value = line.strip().partition(":")
            self.values.setdefault(name, value.split("(")[0].strip())
            if line.startswith("Ctrl-C"):
                break
        assert "mint" in self.values, self.log_path.read_text()

    def events(self) -> list[VerifiedEvent]:
        async def fetch() -> list[VerifiedEvent]:
            wanted = make_filter(tags={"a": [f"34210:{parse_pubkey(self.values['pool npub'])}:regtest"]})
            return list((await fetch_events([self.values["relay"]], [wanted], timeout_s=20)).events)

        return anyio.run(fetch)

    def payouts(self) -> dict[str, list[Payout]]:
        found: dict[str, list[Payout]] = {}
        for event in self.events():
            if event.kind == kinds.PAYOUT:
                payout = parse_payout(event)
                found.setdefault(payout.method, []).append(payout)
        return found

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert self.process.poll() is None, "the pool ended by itself"
            assert time.monotonic() < deadline, self.log_path.read_text()[-4000:]
            time.sleep(0.5)

    def is_mint_up(self) -> bool:
        try:
            return httpx.get(self.values["mint"] + "/v1/info", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()


@pytest.fixture
def pools() -> Iterator[Callable[[Path], Up]]:
    started: list[Up] = []

    def start(data: Path) -> Up:
        started.append(Up(data))
        return started[-1]

    yield start
    for pool in started:
        if pool.process.poll() is None:
            pool.end(signal.SIGKILL)


@pytest.mark.timeout(420)
def test_miners_are_paid_in_ecash_and_the_record_shows_it(tmp_path: Path, pools: Callable[[Path], Up]) -> None:
    data = tmp_path / "data"
    pool = pools(data)
    pool.until(lambda: {"nutzap", "cashu", "zap"} <= set(pool.payouts()))
    said = pool.log_path.read_text
    pool.until(lambda: "redeemed a nutzap" in said() and "redeemed a token" in said())
    mint = pool.values["mint"]
    pool.end(signal.SIGKILL)
    # However the pool ends, its mint ends with it.
    deadline = time.monotonic() + PATIENCE
    while pool.is_mint_up():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    again = pools(data)
    assert again.values["mint"] == mint
    count = len(again.payouts()["nutzap"])
    again.until(lambda: len(again.payouts()["nutzap"]) > count)
    done = subprocess.run(
        [sys.executable, "-m", "noncestr", "verify", "--relay", again.values["relay"],
         "--pool", again.values["pool npub"], "--json"],
        env=again.env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert (done.returncode, [f for f in report["findings"] if f["grade"] != "not checked"]) == (0, [])
    # No sat was paid twice: each proof of ecash stands in one record.
    secrets = [
        proof["secret"] for method in ("nutzap", "cashu") for payout in again.payouts()[method]
        for proof in payout.proof["proofs"]
    ]  # fmt: skip
    assert len(secrets) == len(set(secrets))
    again.end(signal.SIGINT)
