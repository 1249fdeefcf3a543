"""Two offers in one running pool: a port each, one with a bonus, one of another scheme; both verifiers agree."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from nips.nip01 import VerifiedEvent
from nips.nip19 import encode_npub
from nips.pool import kinds
from nips.pool.job import parse_job
from nips.pool.receipt import parse_receipt
from nips.pool.statement import Statement, parse_statement
from nips.pool.terms import PPM
from noncestr.keys.files import load_or_create
from tests.noncestr.test_whole_pool import PATIENCE, ROOT, Up, edge_command, environment, read_log, verify, wait_for

NODE = Path(sys.executable).with_name("node")
FEE_PPM, LOYALTY_PPM, ROUND_FEE_PPM = 20_000, 250_000, 30_000
CONFIG = f"""
[terms]
fee_ppm = {FEE_PPM}
loyalty_ppm = {LOYALTY_PPM}
loyalty_hours = 1

[[offers]]
name = "round"
scheme = "prop"
fee_ppm = {ROUND_FEE_PPM}
loyalty_ppm = 0

[[ports]]
name = "round"
port = 0
offer = "round"
"""


def statements(events: list[VerifiedEvent], offer: str) -> list[Statement]:
    told = (parse_statement(event) for event in events if event.kind == kinds.STATEMENT)
    return [statement for statement in told if statement.offer == offer]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Up]:
    """The pool, two demo miners at its main port."""
    (tmp_path / "pool.toml").write_text(CONFIG)
    up = Up(tmp_path / "data", "--config", str(tmp_path / "pool.toml"))
    yield up
    if up.process.poll() is None:
        up.kill()


@pytest.mark.timeout(600)
def test_each_port_is_paid_by_its_offer(tmp_path: Path, pool: Up) -> None:
    _, status = edge_command(tmp_path / "data", "status")
    host = pool.stratum.rpartition(":")[0]
    miner = load_or_create(tmp_path / "miner", "key")
    # One miner at both ports, a worker each; the demo's miners are at the main one.
    mining = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "noncestr", "miner", "--url", f"{host}:{status['ports'][port]}"),
                *("--max-hps", "40000", "--user", f"{encode_npub(miner.pubkey)}.at-{port}"),
            ],
            env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for port in ("main", "round")
    ]  # fmt: skip

    def has_both(events: list[VerifiedEvent]) -> bool:
        mine = [any(row.miner == miner.pubkey for row in each.rows) for each in statements(events, "main")]
        return any(mine) and len(statements(events, "round")) >= 2

    try:
        wait_for(pool, has_both)
    finally:
        for process in mining:
            process.terminate()
            process.wait(20)
    # Jobs tell the offer of a port; no share of one counts in the other.
    events = read_log(pool)
    offers = {event.id: parse_job(event).offer for event in events if event.kind == kinds.JOB}
    workers: dict[str, set[str]] = {"main": set(), "round": set()}
    for event in events:
        if event.kind == kinds.RECEIPT:
            receipt = parse_receipt(event)
            for share in receipt.records():
                session = receipt.sessions[share.session]
                if receipt.miners[session.miner] == miner.pubkey:
                    workers[offers[receipt.jobs[share.job]]].add(session.worker)
    assert workers == {"main": {"at-main"}, "round": {"at-round"}}
    for each in statements(events, "main"):
        gross, bonuses = each.reward.gross_msat, sum(row.bonus_msat for row in each.rows)
        pot = gross * FEE_PPM // PPM * LOYALTY_PPM // PPM
        # All were there in this hour, which is all that the terms ask for.
        assert bonuses <= pot < bonuses + max(1, len(each.rows)) or not each.rows
        assert sum(row.msat for row in each.rows) + each.fee_msat == gross
    for each in statements(events, "round"):
        # A block whose share came too late to be credited has no rows.
        assert {(row.miner, row.bonus_msat) for row in each.rows} <= {(miner.pubkey, 0)}
        assert not each.rows or each.fee_msat == each.reward.gross_msat * ROUND_FEE_PPM // PPM

    code, report = verify(pool)
    assert (code, [each for each in report["findings"] if each["grade"] != "not checked"]) == (0, [])
    second = [NODE, ROOT / "client_web" / "verify" / "cli.ts", "--relay", pool.relay, "--pool", pool.npub, "--json"]
    done = subprocess.run(second, capture_output=True, text=True, timeout=PATIENCE)
    theirs = json.loads(done.stdout)
    assert (done.returncode, [each for each in theirs["findings"] if each["grade"] != "not checked"]) == (0, [])
    rows = {each["id"]: [row["bonus"] for row in each["rows"]] for each in theirs["statements"]}
    for each in (*statements(events, "main"), *statements(events, "round")):
        assert rows[each.id] == [row.bonus_msat for row in each.rows]

    with urllib.request.urlopen(f"{pool.web}/api/v1/miners/{encode_npub(miner.pubkey)}") as answer:
        told = json.load(answer)
    (standing,) = told["loyalty"]
    assert (standing["offer"], standing["full_hours"], standing["because"]) == ("main", 1, "")
    assert 1 <= standing["hours"] <= 2
    assert standing["factor_ppm"] == 2_000_000
    assert {worker["name"] for worker in standing["workers"]} >= {"at-main", "at-round"}
    assert sum(reward["miner_bonus_msat"] for reward in told["rewards"]) > 0
    assert pool.stop() == 0
