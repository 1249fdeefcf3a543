"""Reports of funds: there and back, and what is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, address
from nips.pool.funds import MAX_PLACES, Place, build_funds, parse_funds
from nips.pool.kinds import STATISTICS
from tests.vectors.example_log import POOL, ZAPPER

NOW_S = 1_800_000_000
names = st.from_regex(r"\A[a-z0-9-]{1,32}\Z")
told = st.builds(Place, names, st.integers(0, 2**53 - 1), st.integers(0, NOW_S * 1000 + 999))
places = st.lists(told | st.builds(Place, names), max_size=MAX_PLACES, unique_by=lambda place: place.name).map(tuple)


@given(places)
def test_reports_there_and_back(held):
    event = ZAPPER.sign(build_funds(POOL, held, NOW_S))
    report = parse_funds(event)
    assert (report.signer, report.pool, report.created_at, report.places) == (ZAPPER.pubkey, POOL, NOW_S, held)
    assert report.id == event.id
    assert address(event) == f"34215:{ZAPPER.pubkey}:treasury"
    assert event.tag_value("alt")


def test_the_form():
    event = ZAPPER.sign(build_funds(POOL, (Place("lnd", 5, NOW_S), Place("node")), NOW_S))
    assert event.content == f'{{"v":1,"held":{{"lnd":[5,{NOW_S}],"node":[]}}}}'


@pytest.mark.parametrize(
    "held",
    [
        None,
        [],
        {"lnd": None},
        {"lnd": 5},
        {"lnd": [5]},
        {"lnd": [5, 1, 2]},
        {"lnd": [-1, 1]},
        {"lnd": [2**53, 1]},
        {"lnd": ["5", 1]},
        {"lnd": [True, 1]},
        {"lnd": [5, -1]},
        {"lnd": [5, NOW_S * 1000 + 1000]},
        {"": [5, 1]},
        {"LND": [5, 1]},
        {"l" * 33: [5, 1]},
        {"a b": [5, 1]},
        {f"place-{n}": [5, 1] for n in range(MAX_PLACES + 1)},
    ],
)
def test_what_is_no_report(held):
    good = build_funds(POOL, (Place("lnd", 5, 1),), NOW_S)
    with pytest.raises(InvalidPoolEvent):
        parse_funds(ZAPPER.sign(UnsignedEvent(STATISTICS, NOW_S, good.tags, json.dumps({"v": 1, "held": held}))))


def test_other_events_are_none(log):
    good = build_funds(POOL, (), NOW_S)
    for event in (log.events["pool_statistics"], log.events["balance"]):
        with pytest.raises(InvalidPoolEvent):
            parse_funds(event)
    with pytest.raises(InvalidPoolEvent):
        parse_funds(ZAPPER.sign(UnsignedEvent(STATISTICS, NOW_S, good.tags, '{"v":2,"held":{}}')))
    with pytest.raises(InvalidPoolEvent):
        parse_funds(ZAPPER.sign(UnsignedEvent(STATISTICS, NOW_S, (("d", "treasury"),), good.content)))
