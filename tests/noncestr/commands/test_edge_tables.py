"""What operators read: units, reasons, whole npubs where they are asked for."""

import io
from dataclasses import asdict, replace
from typing import Any

import pytest
from rich.console import Console

from nips.nip19 import encode_npub
from noncestr.commands.edge_tables import (
    duration,
    hashrate,
    rejects,
    session_row,
    short,
    show_lost,
    show_sessions,
    show_status,
)
from noncestr.edge.edges import NOTHING
from stratum_edge.status import SessionRow

MINER = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0 H/s"), (999, "999 H/s"), (45_800, "45.8 kH/s"), (1_200_000_000_000, "1.2 TH/s"), (10**24, "1000 ZH/s")],
)
def test_hashrates(value: int, said: str) -> None:
    assert hashrate(value) == said


@pytest.mark.parametrize(("ms", "said"), [(999, "0s"), (61_000, "1m 1s"), (7_260_000, "2h 1m"), (90_000_000, "1d 1h")])
def test_durations(ms: int, said: str) -> None:
    assert duration(ms) == said


def test_refusals_go_by_name_most_first() -> None:
    assert rejects({21: 1, "23": 5, 99: 2}) == "low difficulty 5, 99 2, stale 1"
    assert rejects({}) == "none"


def mark(number: int, *, own: bool = False, silent: bool = False, held: int = 0) -> dict[str, Any]:
    holds_up = [{"height": 100 + n, "block": "ab" * 32} for n in range(held)]
    return {
        "lane": f"npub/{number}", "own": own, "batch": 5, "age_ms": 62_000, "quiet_ms": 61_000, "silent": silent,
        "clock_ms": 2500, "holds_up": holds_up,
    }  # fmt: skip


def test_what_is_lost_is_shown_by_lane_and_miner() -> None:
    out = io.StringIO()
    console = Console(file=out, width=300)
    show_lost([], console)
    assert "nothing is lost" in out.getvalue()
    report = {
        "lane": "npub/0", "batch": 17, "shares": 3, "work": "99", "batches": 2, "complete": False,
        "miners": [{"miner": "npub1x", "shares": 3, "work": "99"}], "blocks": [{"height": 9, "block": "cd" * 32}],
    }  # fmt: skip
    show_lost([report], console)
    for part in ("closed at batch 17: 3 shares, work 99, in 2 batches", "this grows", "npub1x", f"9 {'cd' * 32}: no"):
        assert part in out.getvalue()


def test_the_tables_show_what_is_there() -> None:
    out = io.StringIO()
    console = Console(file=out, width=300)
    edge = replace(NOTHING, sessions=1, hashrate_hs=45_800, rejected={21: 2}, height=133, job="50" * 32, stalled=True)
    show_status(
        {
            "version": "1", "pool": encode_npub(MINER), "network": "regtest", "edge": encode_npub(MINER),
            "draining": True, "ports": {"main": 3333}, "total": asdict(replace(edge, node_lost_s=12.0)),
            "lanes": [{"process": 0, "pid": 42, "lane": 7, "ports": {}, "edge": asdict(edge)}],
            "relays": [{"url": "ws://r", "connected": False, "backlog": 3, "error": "refused"}],
            "watermarks": [mark(0, own=True), mark(1, silent=True, held=3)],
            "clock": {"pool_ms": None, "node_ms": -1500, "bound_ms": 120_000},
        },
        console,
    )  # fmt: skip
    text = out.getvalue()
    for part in (
        encode_npub(MINER), "main 3333, being drained", "silent for 12 s", "height 133", "50" * 32, "45.8 kH/s",
        "stale 2", "STALLED", "ws://r: away (refused), 3 events behind",
        "npub/0 (own)", "1m 1s ago, SILENT", f"100 {'ab' * 6}…, 101 {'ab' * 6}… and 1 more", "lane's clock: +2.5 s",
        "? against the pool's, -1.5 s against the node's; no mining beyond 120 s",
    ):  # fmt: skip
        assert part in text
    row = asdict(SessionRow("10.0.0.1", "main", MINER, ("rig",), "bosminer", "512", 9, 4, 1, 61_000, 0))
    show_sessions([session_row({"lane": 7, **row})], console)
    show_sessions([], console)
    assert short(encode_npub(MINER)) in out.getvalue()
    assert "nobody is connected" in out.getvalue()
    assert session_row({"lane": 7, **row})["miner"] == encode_npub(MINER)
    assert session_row({"lane": 7, **row, "miner": ""})["miner"] == ""


def test_what_a_miner_or_a_relay_says_is_shown_as_it_is(capsys) -> None:
    row = asdict(SessionRow("10.0.0.1", "main", "", ("rig",), "[red]x[/y] :smile:", "512", 9, 4, 1, 61_000, 0))
    show_sessions([{"lane": 7, **row}])
    assert "[red]x[/y] :smile:" in capsys.readouterr().out
