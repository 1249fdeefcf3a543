"""Balances and statistics: on change, at most once an interval, and not more events the larger the pool."""

from types import SimpleNamespace

import pytest

from accounting.ledger import Ledger
from accounting.settings_book import SettingsBook
from accounting.views import MAX_AT_ONCE, SLOWEST_MS, Views, interval_ms
from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from nips.pool.kinds import BALANCE, STATISTICS
from nips.pool.settings import SettingsBody, WorkerSettings, build_settings
from nips.pool.views import Balance, MinerStatistics, PoolStatistics

POOL = PoolAddress("ab" * 32, "regtest")
NOW = 1_800_000_000_000


class Moving:
    """Statistics that say something new each time."""

    def pool_statistics(self, now_ms, *, blocks, height):
        return PoolStatistics(now_ms, {"5m": now_ms}, 1, 1, 1, 0, blocks, height)

    def miner_statistics(self, miner, now_ms):
        return MinerStatistics(miner, now_ms, {"5m": now_ms}, {"rig": 7}, 1, 0, 1, now_ms)


class Earning:
    """Balances that are new each time."""

    def __init__(self):
        self.msat = 0

    def balance(self, miner, head):
        self.msat += 1
        return Balance(miner, self.msat, 0, 0, head)


def fold():
    return SimpleNamespace(ledger=Ledger(), statistics=Moving(), blocks={})


def rate(count, *, seconds=600, tick_ms=500):
    """Events a second of so many busy miners, each of whose balance and hashrate changes all the time."""
    views, miners = Views(POOL, 15_000, 15_000), [f"{n:064x}" for n in range(count)]
    books = SimpleNamespace(ledger=Earning(), statistics=Moving(), blocks={})
    published = 0
    for now in range(NOW, NOW + seconds * 1000, tick_ms):
        views.touched(miners, miners)
        published += len(views.due(books, now, head=None, height=1))
    return published / seconds


@pytest.mark.parametrize(
    ("miners", "ms"), [(1, 15_000), (500, 15_000), (5_000, 150_000), (10_000, SLOWEST_MS), (10**6, SLOWEST_MS)]
)
def test_the_interval_grows_with_the_pool_to_five_minutes(miners, ms):
    assert interval_ms(15_000, miners) == ms


def test_the_rate_is_two_events_a_miner_and_interval():
    """2 * 10,000 / 300 s are 67 a second, as are 2 * 500 / 15 s; tried with ten miners, the pool's own beside them."""
    assert rate(10, seconds=300) == pytest.approx(2 * 10 / 15 + 1 / 15, rel=0.1)
    assert 2 * 10_000 * 1000 / interval_ms(15_000, 10_000) == pytest.approx(66.7, abs=0.1)
    assert 2 * 500 * 1000 / interval_ms(15_000, 500) == pytest.approx(66.7, abs=0.1)


def test_a_moment_publishes_so_many_at_most():
    views, miners = Views(POOL, 15_000, 15_000), [f"{n:064x}" for n in range(3 * MAX_AT_ONCE)]
    views.touched(miners, miners)
    assert len(views.due(fold(), NOW, head=None, height=1)) <= MAX_AT_ONCE + 1


def test_what_did_not_change_is_not_said_again():
    views, miner = Views(POOL, 1000, 1000), "aa" * 32
    views.touched([miner], [])
    first = views.due(fold(), NOW, head=None, height=1)
    assert f"{BALANCE}:{miner}" in [view.address for view in first]
    views.touched([miner], [])
    again = views.due(fold(), NOW + 60_000, head=None, height=1)
    assert f"{BALANCE}:{miner}" not in [view.address for view in again]


def test_settings_rename_workers_and_date_the_destination():
    key, book = SecretKey(bytes([1] * 32)), SettingsBook(POOL.pubkey)
    body = SettingsBody(workers={"rig": WorkerSettings("Cellar", hidden=True)}, lightning="a@b.c")
    book.take(key.sign(build_settings(POOL.pubkey, body, NOW // 1000)), NOW)
    views = Views(POOL, 1000, 1000, book)
    views.touched([key.pubkey], [key.pubkey])
    said = {view.address: view.unsigned.content for view in views.due(fold(), NOW, head=None, height=1)}
    assert f'"destination_ms":{NOW}' in said[f"{BALANCE}:{key.pubkey}"]
    statistics = said[f"{STATISTICS}:{key.pubkey}"]
    assert "rig" not in statistics
    assert "Cellar" in statistics
