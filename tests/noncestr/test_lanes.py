"""A lost journal means a new lane, and the old one closed at its last batch."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head, Link
from nips.pool.receipt import ReceiptBody, build_receipt
from noncestr.lanes import LanePlan, plan_lane

EDGE = SecretKey(hashlib.sha256(b"noncestr test key lanes").digest())
POOL = PoolAddress(EDGE.pubkey, "regtest")
EMPTY = ReceiptBody(
    lane=0, link=FIRST, from_ms=0, to_ms=1000, jobs=(), miners=(), sessions=(), shares=b"", rejects=(), work=0
)

pytestmark = pytest.mark.anyio


def batch(lane: int, seq: int, prev: str | None = None, *, fin: bool = False) -> VerifiedEvent:
    link = Link(seq, prev or (None if seq == 0 else "0" * 64))
    return EDGE.sign(build_receipt(POOL, replace(EMPTY, lane=lane, link=link, fin=fin), 1))


class FakeFeed:
    def __init__(self, *events: VerifiedEvent) -> None:
        self.events = list(events)

    async def fetch(self, filters, *, timeout_s: float = 10) -> list[VerifiedEvent]:
        return [event for event in self.events if any(wanted.matches(event) for wanted in filters)]


async def test_a_first_start_takes_lane_0(tmp_path: Path) -> None:
    assert await plan_lane(FakeFeed(), EDGE.pubkey, POOL, tmp_path / "journal") == LanePlan(0, {})


async def test_a_journal_knows_its_own_lane(tmp_path: Path) -> None:
    (tmp_path / "00000001.journal").touch()
    assert await plan_lane(FakeFeed(batch(0, 0)), EDGE.pubkey, POOL, tmp_path) == LanePlan(0, {})


async def test_lanes_without_a_journal_are_closed_at_their_last_batch(tmp_path: Path) -> None:
    newest, other = batch(2, 5), batch(0, 1)
    feed = FakeFeed(batch(2, 4), newest, batch(0, 0), other, batch(1, 0), batch(1, 1, fin=True))
    assert await plan_lane(feed, EDGE.pubkey, POOL, tmp_path) == LanePlan(
        3, {f"{EDGE.pubkey}/2": Head(5, newest.id), f"{EDGE.pubkey}/0": Head(1, other.id)}
    )
