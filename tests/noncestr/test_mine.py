"""What the CPU miner says on a terminal."""

from typing import Any

import pytest

from noncestr.mine import sentence
from stratum_edge.adapters.cpu_miner import (
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
