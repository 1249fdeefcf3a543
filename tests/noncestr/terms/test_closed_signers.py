"""Accounting and zapper keys that terms leave out: each chain of theirs ends at its newest event, no other begins."""

import hashlib

import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool import kinds
from nips.pool.address import PoolAddress
from nips.pool.chain import Head
from nips.pool.terms import NEVER
from noncestr.terms.closed_signers import close_signers

OLD, OTHER = (SecretKey(hashlib.sha256(f"noncestr test key signers {n}".encode()).digest()) for n in range(2))
POOL = PoolAddress(OTHER.pubkey, "regtest")


def told(kind: int, seq: int, key: SecretKey = OLD) -> VerifiedEvent:
    chained = (("prev", f"{seq:064x}"),) if seq else ()
    return key.sign(UnsignedEvent(kind, 1_700_000_000 + seq, (("a", str(POOL)), ("seq", str(seq)), *chained), "{}"))


class FakeFeed:
    def __init__(self, *events: VerifiedEvent) -> None:
        self.events = events

    async def fetch(self, filters, *, timeout_s: float = 10) -> list[VerifiedEvent]:
        (asked,) = filters
        return [event for event in self.events if asked.matches(event)]


@pytest.mark.anyio
async def test_chains_end_at_their_newest_event() -> None:
    statements = [told(kinds.STATEMENT, 0), told(kinds.SUMMARY, 2), told(kinds.STATUS, 1)]
    paid = told(kinds.PAYOUT, 0)
    bare = OLD.sign(UnsignedEvent(kinds.STATUS, 5, (("a", str(POOL)),), ""))
    feed = FakeFeed(*statements, paid, bare, told(kinds.JOB, 0), told(kinds.STATEMENT, 9, OTHER))
    assert await close_signers(feed, POOL, [OLD.pubkey]) == {
        f"{OLD.pubkey}/accounting": Head(2, statements[1].id),
        f"{OLD.pubkey}/payouts": Head(0, paid.id),
        f"{OLD.pubkey}/*": NEVER,
    }
    assert await close_signers(FakeFeed(), POOL, [OLD.pubkey]) == {f"{OLD.pubkey}/*": NEVER}
    assert await close_signers(feed, POOL, []) == {}
