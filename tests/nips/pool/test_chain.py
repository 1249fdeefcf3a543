"""Links of chains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.keys import SecretKey
from nips.nip01 import MAX_SAFE_INTEGER, UnsignedEvent
from nips.pool.chain import FIRST, MAX_LANE, Head, Link, chain_name, lane_of, link_of, next_link, parse_lane

KEY = SecretKey(b"\1" * 32)
ID = "ab" * 32


def event(*tags, kind=4212):
    return KEY.sign(UnsignedEvent(kind, 1, tuple(tags), ""))


@given(st.integers(0, MAX_SAFE_INTEGER))
def test_there_and_back(seq):
    link = Link(seq, ID) if seq else FIRST
    assert link_of(event(*link.tags())) == link


def test_the_next_link():
    assert next_link(None) == Link(0, None) == FIRST
    assert next_link(Head(0, ID)) == Head(0, ID).next() == Link(1, ID)


@pytest.mark.parametrize(
    "tags",
    [
        [],
        [("seq",)],
        [("seq", "")],
        [("seq", "-1")],
        [("seq", "00")],
        [("seq", "0"), ("prev", ID)],
        [("seq", "0"), ("seq", "0")],
        [("seq", "1")],
        [("seq", "1"), ("prev", ID), ("prev", ID)],
        [("seq", "1"), ("prev", ID[:-1])],
        [("seq", "1"), ("prev", ID.upper())],
        [("seq", "9007199254740992"), ("prev", ID)],
        [("seq", "9" * 5000), ("prev", ID)],
        [("seq", "٣"), ("prev", ID)],
    ],
)
def test_broken_links(tags):
    with pytest.raises(InvalidPoolEvent):
        link_of(event(*tags))


@given(st.integers(0, MAX_LANE))
def test_lanes(lane):
    assert lane_of(event(("lane", str(lane)))) == parse_lane(str(lane)) == lane


@pytest.mark.parametrize("text", ["", "-1", "65536", "00", "1.0", "9" * 5000, "٣", "0\n"])
def test_no_lanes(text):
    with pytest.raises(InvalidPoolEvent):
        lane_of(event(("lane", text)))


def test_chain_names():
    named = {kind: chain_name(event(("lane", "7"), kind=kind)) for kind in range(4210, 4223)}
    assert named == {
        4210: "terms",
        4211: None,
        4212: "7",
        4213: None,
        4214: "accounting",
        4215: "payouts",
        4216: "accounting",
        4217: None,
        4218: "accounting",
        4219: None,
        4220: "accounting",
        4221: "accounting",
        4222: None,
    }
    with pytest.raises(InvalidPoolEvent):
        chain_name(event(kind=4212))
