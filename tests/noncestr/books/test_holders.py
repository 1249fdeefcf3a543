"""Holders' reports off the relays: heard while their keys are named, kept on disk, never older after a restart."""

from contextlib import asynccontextmanager

import anyio
import pytest

from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from nips.pool.funds import Place, build_funds
from noncestr.books import holders
from noncestr.books.holders import FILE, Holders
from noncestr.feed import Delivery

pytestmark = pytest.mark.anyio
NOW_S = 1_800_000_000
NOW = NOW_S * 1000
ZAPPER, EDGE = (SecretKey(bytes([n]) * 32) for n in (1, 2))
POOL = PoolAddress(SecretKey(bytes([9]) * 32).pubkey, "regtest")


class FakeFeed:
    """Relays that have some reports, and tell more."""

    def __init__(self, *stored, fails=0) -> None:
        self.stored = list(stored)
        self.asked = []
        self.fails = fails

    @asynccontextmanager
    async def subscribe(self, filters, *, name):
        assert name == "funds"
        self.asked.append(filters[0])
        if len(self.asked) <= self.fails:
            raise OSError("no relay")

        async def items():
            told = 0
            while True:
                for event in self.stored[told:]:
                    if filters[0].matches(event):
                        yield Delivery(event)
                told = len(self.stored)
                yield "end of stored"
                await anyio.sleep(0.005)

        yield items()


def report(msat, second=NOW_S, signer=ZAPPER):
    return signer.sign(build_funds(POOL, (Place("lnd", msat, second * 1000),), second))


def follower(folder, feed, keys=None):
    named = {ZAPPER.pubkey: "zapper"} if keys is None else keys
    return Holders(folder, POOL, feed, lambda: named, lambda: NOW)


@asynccontextmanager
async def following(found):
    async with anyio.create_task_group() as tasks:
        await tasks.start(found.run)
        yield found
        tasks.cancel_scope.cancel()


async def until(found, msat):
    with anyio.fail_after(20):
        while [each.msat for each in found.holdings()] != msat:  # noqa: ASYNC110 - what another task reads is polled
            await anyio.sleep(0.005)


async def test_reports_are_heard_and_the_newest_outlives_a_restart(tmp_path):
    feed = FakeFeed(report(5, NOW_S - 60), report(9, signer=EDGE))
    async with following(follower(tmp_path, feed)) as found:
        await until(found, [5])
        feed.stored.append(report(3))
        await until(found, [3])
    assert feed.asked[0].authors == {ZAPPER.pubkey}
    # The relay forgot the newest, or hides it.
    old = FakeFeed(report(5, NOW_S - 60))
    async with following(follower(tmp_path, old)) as again:
        assert [each.msat for each in again.holdings()] == [3]
        old.stored.append(report(4, NOW_S - 30))
        old.stored.append(report(2, NOW_S + 1))
        await until(again, [2])


async def test_keys_named_later_are_heard_from_then_on(tmp_path, monkeypatch):
    monkeypatch.setattr(holders, "LOOK_S", 0.01)
    keys: dict[str, str] = {}
    feed = FakeFeed(report(5), report(9, signer=EDGE))
    async with following(follower(tmp_path, feed, keys)) as found:
        assert found.holdings() == []
        assert feed.asked == []
        keys[ZAPPER.pubkey] = "zapper"
        await until(found, [5])
        keys[EDGE.pubkey] = "edge"
        await until(found, [each.msat for each in sorted(found.holdings(), key=lambda each: each.source)])
        await until(found, [5, 9] if ZAPPER.pubkey < EDGE.pubkey else [9, 5])
        del keys[ZAPPER.pubkey]
        assert [each.msat for each in found.holdings()] == [9]


async def test_relays_that_fail_are_asked_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(holders, "RETRY_S", 0.01)
    feed = FakeFeed(report(5), fails=2)
    async with following(follower(tmp_path, feed)) as found:
        await until(found, [5])
    assert "no relay" in caplog.text


async def test_a_broken_file_is_no_hindrance(tmp_path, caplog):
    good = report(5)
    found = follower(tmp_path, FakeFeed())
    assert found.take(good)
    kept = (tmp_path / FILE).read_bytes()
    forged = kept.replace(b"[5,", b"[6,")
    (tmp_path / FILE).write_bytes(kept[:-40] + b"\n" + forged + kept)
    async with following(follower(tmp_path, FakeFeed())) as again:
        assert [each.msat for each in again.holdings()] == [5]
    assert caplog.text.count("can't be read") == 2


async def test_a_disk_that_refuses_is_said(tmp_path, caplog):
    (tmp_path / FILE).mkdir()
    found = follower(tmp_path, FakeFeed())
    async with following(found):
        assert found.take(report(5))
    assert "can't be kept" in caplog.text
    assert "can't be read" in caplog.text
