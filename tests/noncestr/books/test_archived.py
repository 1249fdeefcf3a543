"""Archived periods: of whom the terms name, joined where they touch; receipts and jobs alone are let go."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.pool import kinds
from nips.pool.address import PoolAddress
from nips.pool.archive import ArchiveBody, Digest, build_archive
from nips.pool.chain import FIRST
from noncestr.books.archived import Archived, kept
from noncestr.feed import Delivery

OLD, NEW, STRANGER = (SecretKey(hashlib.sha256(f"noncestr test key archived {n}".encode()).digest()) for n in range(3))
POOL = PoolAddress(STRANGER.pubkey, "regtest")


def announced(begin: int, end: int, *, key: SecretKey = OLD, pool: PoolAddress = POOL) -> VerifiedEvent:
    digest = Digest("0" * 64, 1)
    return key.sign(build_archive(pool, FIRST, ArchiveBody(begin, end, 1, digest, digest, {}), 1_700_000_000))


class FakeTerms:
    def __init__(self, *keys: SecretKey) -> None:
        self._changed = anyio.Event()
        self.name(*keys)

    def name(self, *keys: SecretKey) -> None:
        named = frozenset(key.pubkey for key in keys)
        self.now = SimpleNamespace(id=str(sorted(named)), body=SimpleNamespace(keys_of=lambda _role: named))
        self._changed.set()
        self._changed = anyio.Event()

    async def changed(self, known: str) -> SimpleNamespace:
        while self.now.id == known:
            await self._changed.wait()
        return self.now


class FakeFeed:
    def __init__(self, *events: VerifiedEvent) -> None:
        self.events = events

    @asynccontextmanager
    async def subscribe(self, filters, *, name: str) -> AsyncIterator[object]:
        async def items() -> AsyncIterator[object]:
            for event in self.events:
                if filters[0].matches(event):
                    yield Delivery(event)
            yield object()
            await anyio.sleep_forever()

        yield items()


def test_periods_that_touch_are_one() -> None:
    archived = Archived(POOL)
    archived.trust([OLD.pubkey])
    for begin, end in ((30, 40), (0, 10), (10, 20), (35, 50), (12, 14)):
        archived.take(announced(begin, end))
    assert archived.periods() == [(0, 20), (30, 50)]


def test_only_trusted_keys_of_this_pool_count() -> None:
    archived = Archived(POOL)
    archived.take(announced(0, 10))
    assert archived.periods() == []
    archived.trust([OLD.pubkey])
    archived.take(announced(20, 30, key=STRANGER))
    archived.take(announced(40, 50, pool=PoolAddress(OLD.pubkey, "regtest")))
    assert archived.periods() == [(0, 10)]


@pytest.mark.anyio
async def test_it_goes_by_the_terms(eventually) -> None:
    terms = FakeTerms(OLD)
    archived = Archived(POOL)
    feed = FakeFeed(announced(0, 10), announced(10, 20, key=NEW), announced(50, 60, key=STRANGER))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(archived.follow, feed, terms)
        await eventually(lambda: archived.periods() == [(0, 10)])
        terms.name(OLD, NEW)
        await eventually(lambda: archived.periods() == [(0, 20)])
        terms.name(NEW)
        await eventually(lambda: archived.periods() == [(10, 20)])
        tasks.cancel_scope.cancel()


def test_receipts_and_jobs_alone_are_let_go() -> None:
    lasting, large = kept([OLD.pubkey], lambda: [(0, 10)])
    assert large.wanted.kinds == {kinds.JOB, kinds.RECEIPT}
    assert lasting.wanted.kinds | large.wanted.kinds == kinds.LEDGER_KINDS
    assert (lasting.let_go(), large.let_go()) == ((), [(0, 10)])
    assert lasting.wanted.authors == large.wanted.authors == {OLD.pubkey}
