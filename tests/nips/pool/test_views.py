"""The addressable events."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, address
from nips.pool.address import address_of
from nips.pool.chain import Head
from nips.pool.views import Balance, build_balance, parse_balance
from tests.vectors.example_log import ACCOUNTING, MINERS, POOL, RELAY

number = st.integers(0, 2**53 - 1)
id64 = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(st.builds(Balance, id64, number, number, number, st.none() | st.builds(Head, number, id64)))
def test_balances_there_and_back(balance):
    event = ACCOUNTING.sign(build_balance(POOL, balance, 9))
    assert parse_balance(event) == (POOL, balance)
    assert address(event) == f"34214:{ACCOUNTING.pubkey}:{balance.miner}"
    assert json.loads(event.content)["owed_msat"] == balance.owed_msat == balance.earned_msat - balance.paid_msat


@pytest.mark.parametrize("as_of", ["[0]", '["0","%s"]', '[0,"%s","%s"]', "{}", "null", '[-1,"%s"]', '[0,"ab"]'])
def test_balances_refused(log, as_of):
    event = log.events["balance"]
    text = event.content[: event.content.index('"as_of":')] + '"as_of":' + as_of.replace("%s", "00" * 32) + "}"
    with pytest.raises(InvalidPoolEvent):
        parse_balance(ACCOUNTING.sign(UnsignedEvent(event.kind, event.created_at, event.tags, text)))


def test_the_announcement(log):
    event = log.events["announcement"]
    # The a tag of every event of the pool is the announcement's own address.
    assert address(event) == str(POOL) == event.tag_value("a")
    assert event.tag("e") == ("e", log.events["terms"].id, "", "terms")
    assert event.tag_values("relay") == (RELAY,)
    assert json.loads(event.content) == {
        "v": 1,
        "name": "Example",
        "network": "regtest",
        "terms": log.events["terms"].id,
        "stratum": ["stratum+tcp://pool.example.com:3333"],
        "relays": [RELAY],
        "web": "https://pool.example.com",
    }


def test_statistics(log):
    pool, miner = log.events["pool_statistics"], log.events["miner_statistics"]
    assert (pool.tag_value("d"), miner.tag_value("d")) == ("pool", MINERS[0])
    assert address_of(pool) == address_of(miner) == POOL
    assert json.loads(pool.content) == {
        "v": 1,
        "ms": 1_767_225_640_000,
        "hashrate": {"5m": "62", "1h": "5"},
        "miners": 2,
        "workers": 2,
        "shares": 6,
        "rejects": 2,
        "blocks": 1,
        "height": 201,
    }
    assert json.loads(miner.content) == {
        "v": 1,
        "miner": MINERS[0],
        "ms": 1_767_225_640_000,
        "hashrate": {"5m": "20", "1h": "1"},
        "workers": {"rig-1": "20"},
        "shares": 3,
        "rejects": 2,
        "work": str(2 * 1024 + 4096),
        "last_share_ms": 1_767_225_632_500,
    }


@given(st.data())
def test_nothing_else_is_raised(fuzz, log, data):
    fuzz(data, parse_balance, log.events["balance"])
