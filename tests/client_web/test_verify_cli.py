"""The second verifier from the command line: over a file, over a relay, over a live pool; its exit statuses."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLI = ROOT / "client_web" / "verify" / "cli.ts"
EXAMPLES = re.compile(r"<!-- example: \w+ -->\n```json\n(.*?)\n```", re.DOTALL)
LATER_MS = "1767300000000"
# Generous: CI's machine has two cores and other work. Waiting ends as soon as what is awaited is there.
PATIENCE_S = 100
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
    # A mint of its own would take another process: test_verify_ecash.py compares both by ecash.
    "NONCESTR_MINT_ENABLED": "false",
}


def run(node: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([node, str(CLI), *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def example(tmp_path: Path) -> tuple[Path, str]:
    """The log of SPEC.md as a file of lines, and its pool."""
    values = [json.loads(body) for body in EXAMPLES.findall((ROOT / "nips" / "pool" / "SPEC.md").read_text())]
    events = [value for value in values if value.get("kind") in range(4210, 4222)]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path, next(event["pubkey"] for event in events if event["kind"] == 4210)


def test_a_log_that_holds(node: str, example: tuple[Path, str]) -> None:
    path, pool = example
    done = run(node, "--file", str(path), "--pool", pool, "--now", LATER_MS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all that was checked holds" in done.stdout
    assert "shares' work and binding: 6 of 6 hold" in done.stdout


def test_a_log_that_does_not_hold(node: str, example: tuple[Path, str]) -> None:
    path, pool = example
    kept = [line for line in path.read_text().splitlines() if '"kind": 4211' not in line]
    path.write_text("\n".join(kept))
    done = run(node, "--file", str(path), "--pool", pool, "--now", LATER_MS, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert {found["code"] for found in report["findings"]} >= {"missing-job", "statement-not-recomputed"}


def test_what_can_not_be_looked_at(node: str, example: tuple[Path, str], tmp_path: Path) -> None:
    path, pool = example
    for arguments in (
        ("--relay", "ws://127.0.0.1:9", "--pool", pool),
        ("--file", str(tmp_path / "none.jsonl"), "--pool", pool),
        ("--file", str(path), "--pool", "npub1nobody"),
        ("--file", str(path), "--pool", pool, "--network", "testnet3"),
        ("--file", str(path)),
    ):
        done = run(node, *arguments)
        assert done.returncode == 2, (arguments, done.stdout)
        assert done.stderr.strip()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A whole pool as `noncestr up` runs it, only faster: its relay and its npub."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NONCESTR_")}
    environment = {**kept, **FAST, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with (tmp_path / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "noncestr", "up", "--data", str(tmp_path / "data")],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        text = "".join(lines)
        relay, npub = re.search(r"ws://127\.0\.0\.1:\d+", text), re.search(r"npub1[a-z0-9]+", text)
        assert relay is not None, text + (tmp_path / "up.log").read_text()
        assert npub is not None
        yield relay.group(), npub.group()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.timeout(2 * PATIENCE_S)
def test_both_verifiers_over_a_live_pools_relay(node: str, pool: tuple[str, str]) -> None:
    relay, npub = pool
    end = time.monotonic() + PATIENCE_S
    report: dict[str, Any] = {}
    while not report.get("payouts") and time.monotonic() < end:
        done = run(node, "--relay", relay, "--pool", npub, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads(done.stdout)
    assert report["payouts"], "nothing was paid in time"
    theirs = subprocess.run(
        [sys.executable, "-m", "noncestr", "verify", "--relay", relay, "--pool", npub, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert theirs.returncode == 0, theirs.stdout + theirs.stderr
    other = json.loads(theirs.stdout)
    # The pool went on between the two looks: the later one counts at least as much.
    assert [row["name"] for row in report["claims"]] == [row["name"] for row in other["claims"]]
    for ours, after in zip(report["claims"], other["claims"], strict=True):
        # The first hour's summary may be yet to come.
        assert ours["held"] == ours["checked"] >= (ours["name"] != "summaries")
        assert after["held"] == after["checked"] >= ours["checked"]
    assert {found["code"] for found in report["findings"]} == {found["code"] for found in other["findings"]}
    assert all(row["msat"] == row["told"] for statement in report["statements"] for row in statement["rows"])
