"""What the CPU miner says on a terminal, and when it ends."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from noncestr.commands.mine import run_mine, sentence
from stratum_edge.miner_events import (
    Accepted,
    Connected,
    Disconnected,
    Hashrate,
    LoggedIn,
    NewJob,
    PoolSaid,
    Rejected,
)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (Connected("h", 1), "connected to h:1"),
        (LoggedIn("npub1x.w"), "logged in as npub1x.w"),
        (NewJob("7", 0.5, True), "job 7 at difficulty 0.5, a new block"),
        (Accepted("7", 0.5, bytes(31) + b"\x01"), "share accepted: job 7, difficulty 0.5, 01" + "00" * 31),
        (Rejected("7", 23, "low difficulty"), "share refused: job 7, low difficulty (23)"),
        (Hashrate(1500, 2, 1), "1.5 kH/s, 2 accepted, 1 refused"),
        (PoolSaid("hello"), "the pool says: hello"),
        (Disconnected("gone", 2000), "disconnected (gone), next try in 2 s"),
    ],
)
def test_the_miner_speaks_plainly(event: Any, says: str) -> None:
    assert sentence(event) == says


@pytest.mark.anyio
async def test_an_nsec_is_neither_sent_nor_shown(capsys: pytest.CaptureFixture[str]) -> None:
    nsec = "nsec1" + "q" * 58
    assert await run_mine("stratum+tcp://127.0.0.1:1", nsec, password="x", max_hps=None, record=None) == 2
    said = capsys.readouterr()
    assert "nothing was sent" in said.err
    assert nsec not in said.out + said.err


def test_it_ends_with_its_input() -> None:
    """As the demo's miners do when their pool is killed."""
    words = ["miner", "--url", "stratum+tcp://127.0.0.1:1", "--user", "npub1x", "--until-eof"]
    with subprocess.Popen(
        [sys.executable, "-m", "noncestr", *words],
        cwd=Path(__file__).parents[3], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert b"disconnected" in process.stdout.readline()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0
