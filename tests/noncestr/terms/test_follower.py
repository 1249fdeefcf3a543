"""Terms from the relays: the newest of the pool's own, kept through restarts; forks and strangers change nothing."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Link
from nips.pool.terms import Offer, TermsBody, build_terms
from noncestr.feed import Delivery
from noncestr.terms.follower import TermsFollower

KEY = SecretKey(hashlib.sha256(b"noncestr test key follower").digest())
STRANGER = SecretKey(hashlib.sha256(b"noncestr test key stranger").digest())
POOL = PoolAddress(KEY.pubkey, "regtest")
BODY = TermsBody(offers={"main": Offer()}, keys=((KEY.pubkey, "edge"),))

pytestmark = pytest.mark.anyio


def terms(seq: int, fee: int = 0, key: SecretKey = KEY, pool: PoolAddress = POOL) -> VerifiedEvent:
    link = FIRST if seq == 0 else Link(seq, "0" * 64)
    return key.sign(build_terms(pool, link, 1000 + seq, replace(BODY, offers={"main": Offer(fee_ppm=fee)})))


class FakeFeed:
    def __init__(self, *stored: VerifiedEvent) -> None:
        self.send, self.receive = anyio.create_memory_object_stream[object](100)
        for event in stored:
            self.send.send_nowait(Delivery(event))
        self.send.send_nowait(object())

    @asynccontextmanager
    async def subscribe(self, filters, *, name: str) -> AsyncIterator[object]:
        (wanted,) = filters
        assert wanted.matches(terms(0))
        assert not wanted.matches(terms(0, key=STRANGER))
        with self.send, self.receive:
            yield self.receive


@asynccontextmanager
async def following(path: Path, feed: FakeFeed) -> AsyncIterator[TermsFollower]:
    follower = TermsFollower(path, POOL, feed)
    async with anyio.create_task_group() as tasks:
        await tasks.start(follower.run)
        yield follower
        tasks.cancel_scope.cancel()


async def test_the_newest_terms_are_in_force_and_kept(tmp_path: Path) -> None:
    old, new = terms(1), terms(2)
    feed = FakeFeed(new, old)
    async with following(tmp_path / "terms.json", feed) as follower:
        with pytest.raises(LookupError):
            follower.current()
        assert (await follower.changed("")).id == new.id
        newest = terms(3)
        feed.send.send_nowait(Delivery(newest))
        assert (await follower.changed(new.id)).id == newest.id
        assert follower.current_event() == newest
    async with following(tmp_path / "terms.json", FakeFeed()) as again:
        assert again.current().id == newest.id


async def test_forks_and_strangers_change_nothing(tmp_path: Path, caplog) -> None:
    first, fork = terms(1, fee=1), terms(1, fee=2)
    follower = TermsFollower(tmp_path / "terms.json", POOL, None)
    follower.take(first)
    follower.take(fork)
    assert "two terms numbered 1" in caplog.text
    follower.take(terms(9, key=STRANGER))
    follower.take(terms(9, pool=PoolAddress(KEY.pubkey, "signet")))
    follower.take(KEY.sign(replace_content(terms(9))))
    assert follower.current().id == first.id


def replace_content(event: VerifiedEvent):
    return UnsignedEvent(event.kind, event.created_at, event.tags, '{"v":1}')


async def test_a_file_that_does_not_read_is_said_and_passed_over(tmp_path: Path, caplog) -> None:
    path = tmp_path / "terms.json"
    path.write_text('{"id":"torn')
    event = terms(0)
    async with following(path, FakeFeed(event)) as follower:
        assert (await follower.changed("")).id == event.id
    assert "can't be read" in caplog.text
