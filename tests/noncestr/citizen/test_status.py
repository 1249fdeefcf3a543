"""The line beside the pool's name."""

from nips.nip38 import MAX_TEXT
from noncestr.citizen.facts import PoolNow
from noncestr.citizen.status import pool_status, status_text


def test_the_status_tells_hashrate_miners_and_blocks() -> None:
    assert status_text(PoolNow(1_230_000_000_000_000, 0, 14, 3)) == "⛏️ 1.23 PH/s · 14 miners · 3 blocks in 24 h"
    assert status_text(PoolNow(75_000, 0, 1, 0)) == "⛏️ 75.00 kH/s · 1 miner"
    assert status_text(PoolNow(0, 5, 0, 1)) == "no miner is working here now"
    assert len(status_text(PoolNow(10**30, 0, 10**9, 10**9))) <= MAX_TEXT


def test_the_status_expires_by_itself() -> None:
    event = pool_status(PoolNow(1, 1, 1, 0), now_ms=1_000_500, every_s=600, url="https://pool.example.com")
    assert (event.kind, event.created_at) == (30315, 1000)
    assert event.tags == (("d", "general"), ("r", "https://pool.example.com"), ("expiration", "2800"))
