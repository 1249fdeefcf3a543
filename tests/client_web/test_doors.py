"""Who may hold how many connections: counts that are given back whole, whoever comes and goes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_web.api.limits import parse_proxies
from client_web.doors import COUNTED, FULL, NAMES, TOO_MANY, Doors

PROXIES = parse_proxies(["10.0.0.0/8"])


def test_one_address_is_bounded_and_so_are_all() -> None:
    doors = Doors(most=5, most_of_one=2)
    assert [doors.enter("198.51.100.1") for _ in range(3)] == [None, None, TOO_MANY]
    assert [doors.enter(f"198.51.100.{number}") for number in (2, 3, 4, 5)] == [None, None, None, FULL]
    assert (doors.tally.open, dict(doors.tally.refused)) == (5, {"address": 1, "full": 1})
    doors.leave("198.51.100.1")
    assert doors.enter("198.51.100.1") is None


def test_an_ipv6_customer_is_one_address_and_a_mapped_one_is_its_ipv4() -> None:
    doors = Doors(most_of_one=2)
    assert [doors.enter(f"2001:db8:1:2::{number}") for number in (1, 2, 3)] == [None, None, TOO_MANY]
    assert doors.enter("2001:db8:1:3::1") is None
    assert [doors.enter(peer) for peer in ("198.51.100.1", "::ffff:198.51.100.1", "198.51.100.1")][2] is TOO_MANY


def test_a_proxys_connections_are_bounded_with_all_the_others_alone() -> None:
    doors = Doors(proxies=PROXIES, most=4, most_of_one=2)
    assert [doors.enter("10.1.2.3") for _ in range(5)] == [None, None, None, None, FULL]
    assert doors.held("10.1.2.3") == 0
    for _ in range(4):
        doors.leave("10.1.2.3")
    assert doors.tally.open == 0


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["10.0.0.1", "a", "198.51.100.1", "2001:db8::1"])), max_size=99)
)
def test_whatever_comes_and_goes_nothing_is_left(steps: list[tuple[bool, str]]) -> None:
    doors, inside = Doors(proxies=PROXIES, most=7, most_of_one=3), list[str]()
    for enters, peer in steps:
        if enters and doors.enter(peer) is None:
            inside.append(peer)
        elif not enters and peer in inside:
            inside.remove(peer)
            doors.leave(peer)
        assert doors.tally.open == len(inside) <= 7
        assert all(doors.held(name) <= 3 for name in ("a", "198.51.100.1", "2001:db8::/64"))
    for peer in inside:
        doors.leave(peer)
    assert doors.tally.open == 0
    assert not any(doors.held(name) for name in ("a", "198.51.100.1", "2001:db8::/64"))


@pytest.mark.parametrize("refusal", NAMES)
def test_a_refusal_is_a_whole_answer_with_its_reason(refusal) -> None:
    head, _, body = refusal.response().partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    assert status.startswith(f"HTTP/1.1 {refusal.status} ")
    headers = dict(line.split(": ") for line in lines)
    assert headers["content-length"] == str(len(body))
    assert headers["connection"] == "close"
    assert ("retry-after" in headers) == (refusal.status in (429, 503))
    assert json.loads(body) == {"error": refusal.error}
    assert NAMES[refusal] in COUNTED
