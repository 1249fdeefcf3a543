"""Of each holder the newest report stands, in whatever order reports come and however often."""

import random

from hypothesis import given
from hypothesis import strategies as st

from accounting.holders import MAX_AHEAD_S, HoldersBook
from accounting.treasury import SILENT_MS, Holding
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.address import PoolAddress
from nips.pool.funds import Place, build_funds
from nips.pool.kinds import STATISTICS

NOW_S = 1_800_000_000
NOW = NOW_S * 1000
ZAPPER, EDGE, STRANGER = (SecretKey(bytes([n]) * 32) for n in (1, 2, 3))
POOL = PoolAddress(SecretKey(bytes([9]) * 32).pubkey, "regtest")
HEARD = {ZAPPER.pubkey: "zapper", EDGE.pubkey: "edge"}


def report(msat=5, second=NOW_S, signer=ZAPPER, pool=POOL, name="lnd"):
    return signer.sign(build_funds(pool, (Place(name, msat, second * 1000),), second))


def sources(book, holders=HEARD, now=NOW):
    return {holding.source: holding.msat for holding in book.holdings(holders, now)}


@given(
    st.lists(st.tuples(st.sampled_from([ZAPPER, EDGE, STRANGER]), st.integers(0, 3), st.integers(0, 9)), max_size=12),
    st.integers(0, 2**32),
)
def test_order_and_repetition_change_nothing(told, seed):
    events = [report(msat, NOW_S - second, signer) for signer, second, msat in told]
    straight, mixed = HoldersBook(POOL), HoldersBook(POOL)
    for event in events:
        straight.take(event, HEARD, NOW)
    again = events * 2
    random.Random(seed).shuffle(again)
    for event in again:
        mixed.take(event, HEARD, NOW)
    assert straight.holdings(HEARD, NOW) == mixed.holdings(HEARD, NOW)
    for signer in (ZAPPER, EDGE):
        ours = [event for event in events if event.pubkey == signer.pubkey]
        if ours:
            newest = min(ours, key=lambda event: (-event.created_at, event.id))
            assert newest in straight.events(HEARD)
    assert STRANGER.pubkey not in sources(straight)


def test_an_old_report_brought_back_changes_nothing():
    book = HoldersBook(POOL)
    old, new = report(900, NOW_S - 60), report(5)
    assert book.take(old, HEARD, NOW)
    assert book.take(new, HEARD, NOW)
    assert not book.take(old, HEARD, NOW)
    assert not book.take(new, HEARD, NOW)
    assert book.holdings({ZAPPER.pubkey: "zapper"}, NOW) == [Holding("lnd", 5, NOW, "", ZAPPER.pubkey, NOW)]
    assert book.events(HEARD) == [new]


def test_only_the_pools_own_reports_of_named_keys_are_heard():
    book = HoldersBook(POOL)
    assert not book.take(report(signer=STRANGER), HEARD, NOW)
    assert not book.take(report(pool=PoolAddress(POOL.pubkey, "main")), HEARD, NOW)
    assert not book.take(ZAPPER.sign(UnsignedEvent(STATISTICS, NOW_S, (("d", "pool"), POOL.tag()), "{}")), HEARD, NOW)
    assert sources(book) == {ZAPPER.pubkey: None, EDGE.pubkey: None}


def test_a_date_far_ahead_hides_nothing():
    book = HoldersBook(POOL)
    assert not book.take(report(900, NOW_S + MAX_AHEAD_S + 1), HEARD, NOW)
    assert book.take(report(5), HEARD, NOW)
    assert book.take(report(6, NOW_S + MAX_AHEAD_S), HEARD, NOW)


def test_who_is_named_no_more_is_not_counted_nor_kept():
    book = HoldersBook(POOL)
    book.take(report(5), HEARD, NOW)
    book.take(report(6, signer=EDGE), HEARD, NOW)
    only = {EDGE.pubkey: "edge"}
    assert sources(book, only) == {EDGE.pubkey: 6}
    assert [event.pubkey for event in book.events(only)] == [EDGE.pubkey]


def test_a_holder_that_never_told_or_fell_silent_is_not_known():
    book = HoldersBook(POOL)
    (never,) = book.holdings({ZAPPER.pubkey: "zapper"}, NOW)
    assert never == Holding("zapper", source=ZAPPER.pubkey)
    assert never.known(NOW) is None
    book.take(ZAPPER.sign(build_funds(POOL, (), NOW_S)), HEARD, NOW)
    one = {ZAPPER.pubkey: "zapper"}
    assert book.holdings(one, NOW + SILENT_MS) == [], "it holds nothing, and says so"
    (silent,) = book.holdings(one, NOW + SILENT_MS + 1)
    assert (silent.name, silent.known(NOW + SILENT_MS + 1)) == ("zapper", None)
