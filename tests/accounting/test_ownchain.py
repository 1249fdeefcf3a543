"""Laying what the relays have of our chain beside our own file."""

import pytest

from accounting.ownchain import adopt, is_own, refusal
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import Head, next_link
from nips.pool.kinds import SUMMARY
from nips.pool.statement import build_status

KEY, OTHER = SecretKey(b"\x01" * 32), SecretKey(b"\x02" * 32)
POOL = PoolAddress("aa" * 32, "regtest")


@pytest.fixture
def chain():
    events, head = [], None
    for number in range(5):
        link = next_link(head)
        events.append(KEY.sign(build_status(POOL, link, f"{number:064x}", "matured", 1000 + number)))
        head = Head(link.seq, events[-1].id)
    return events


def known(events):
    return {seq: event.id for seq, event in enumerate(events)}


def test_all_is_taken_over_in_order_by_an_empty_file(chain):
    assert adopt({}, reversed(chain)).events == tuple(chain)


def test_only_what_lacks_is_taken(chain):
    assert adopt(known(chain[:3]), chain).events == tuple(chain[3:])
    assert adopt(known(chain), chain[:2]) == ((), None, False)


def test_a_gap_is_said_and_nothing_beyond_it_is_taken(chain):
    adoption = adopt({}, [*chain[:2], *chain[3:]])
    assert (adoption.events, adoption.gap) == (tuple(chain[:2]), True)


def test_another_event_at_a_known_place_is_a_fork(chain):
    other = KEY.sign(build_status(POOL, next_link(Head(0, chain[0].id)), "ee" * 32, "void", 2000))
    assert adopt(known(chain), [other]).fork == (chain[1].id, other.id)
    assert adopt({}, [*chain, other]).fork == (chain[1].id, other.id)


def test_an_event_upon_another_past_is_a_fork(chain):
    branch = KEY.sign(build_status(POOL, next_link(Head(1, "ee" * 32)), "ee" * 32, "void", 2000))
    assert adopt(known(chain[:2]), [branch]).fork == (chain[1].id, "ee" * 32)


def test_is_own(chain):
    assert is_own(chain[0], KEY.pubkey, POOL)
    assert not is_own(chain[0], OTHER.pubkey, POOL)
    assert not is_own(chain[0], KEY.pubkey, PoolAddress("bb" * 32, "regtest"))
    assert is_own(KEY.sign(UnsignedEvent(SUMMARY, 1, (POOL.tag(), ("seq", "0")), "{}")), KEY.pubkey, POOL)
    assert not is_own(KEY.sign(UnsignedEvent(1, 1, (POOL.tag(),), "hi")), KEY.pubkey, POOL)


def test_refusal_without_terms():
    assert refusal(None, KEY.pubkey) is not None
