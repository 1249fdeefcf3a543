"""Bans: strikes within a window, longer for who comes back, lifted by the operator, bounded in memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_edge import bans
from stratum_edge.bans import MAX_BAN_MS, MEMORY_MS, Ban, BanBook, BanRule, Clears, ban_length, in_force
from stratum_edge.households import parse_networks

NOW = 1_700_000_000_000
RULE = BanRule(strikes=3, window_ms=600_000, ban_ms=600_000)
PEER = "203.0.113.7"


def banned(book: BanBook, now: int, address: str = PEER) -> Ban:
    for _ in range(RULE.strikes - 1):
        assert book.strike(address, now, RULE, "too many errors") is None
    ban = book.strike(address, now, RULE, "too many errors")
    assert ban is not None
    return ban


def test_three_strikes_ban_for_the_time_and_no_longer() -> None:
    book = BanBook()
    assert book.until(PEER, NOW) == 0
    ban = banned(book, NOW)
    assert (ban.address, ban.since, ban.until, ban.strikes, ban.times) == (PEER, NOW, NOW + 600_000, 3, 1)
    assert book.until(PEER, NOW) == book.until(PEER, NOW + 599_999) == ban.until
    assert book.until(PEER, NOW + 600_000) == 0
    assert book.until("203.0.113.8", NOW) == 0


def test_strikes_older_than_the_window_are_forgotten() -> None:
    book = BanBook()
    for n in range(20):
        assert book.strike(PEER, NOW + n * 300_000, RULE, "errors") is None


def test_who_comes_back_stays_out_longer_up_to_a_day_and_is_forgiven_after_one() -> None:
    book, now, lengths = BanBook(), NOW, []
    for _ in range(12):
        ban = banned(book, now)
        lengths.append((ban.until - ban.since) // 600_000)
        now = ban.until
    assert lengths[:8] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert lengths[8:] == [MAX_BAN_MS // 600_000] * 4
    assert banned(book, now + MEMORY_MS).times == 1
    assert ban_length(RULE, 10**6) == MAX_BAN_MS


def test_a_household_is_banned_whole_and_its_neighbour_is_not() -> None:
    book = BanBook()
    for host in ("::1", "::2"):
        assert book.strike(f"2001:db8:0:5{host}", NOW, RULE, "errors") is None
    assert book.strike("2001:db8:0:5:9::", NOW, RULE, "errors") is not None
    assert book.until("2001:db8:0:5:a:b:c:d", NOW)
    assert not book.until("2001:db8:0:6::1", NOW)
    banned(book, NOW, "::ffff:198.51.100.1")
    assert book.until("198.51.100.1", NOW)


def test_this_machine_and_trusted_networks_are_never_banned() -> None:
    book = BanBook(trusted=parse_networks(["10.0.0.0/8"]))
    for address in ("127.0.0.1", "::1", "10.1.1.1", "::ffff:10.1.1.1", ""):
        assert all(book.strike(address, NOW, RULE, "errors") is None for _ in range(10))
    old = Ban("10.1.1.1", NOW, NOW + 1000, "banned before it was trusted")
    assert BanBook([old]).until("10.1.1.1", NOW)
    assert not BanBook([old], parse_networks(["10.0.0.0/8"])).until("10.1.1.1", NOW)


def test_what_the_operator_clears_is_void_and_forgiven_and_later_bans_hold() -> None:
    book = BanBook()
    banned(book, NOW)
    banned(book, NOW, "198.51.100.1")
    clears = Clears().add(PEER, NOW + 5)
    assert book.learn([Ban(PEER, NOW + 5, NOW + 10_000, "another lane's")], clears)
    assert not book.until(PEER, NOW + 6)
    assert book.until("198.51.100.1", NOW + 6)
    assert not book.learn([], clears), "nothing new was lifted"
    assert banned(book, NOW + 6).times == 1
    assert book.until(PEER, NOW + 7)
    assert book.learn([], clears.add(None, NOW + 8))
    assert not book.own(NOW + 8)


def test_the_bans_of_other_lanes_hold_and_lengthen() -> None:
    book = BanBook()
    others = [Ban(PEER, NOW, NOW + 1000, "short"), Ban(PEER, NOW, NOW + 9000, "long", times=4)]
    assert not book.learn(others, Clears())
    assert book.until(PEER, NOW) == NOW + 9000
    assert banned(book, NOW + 9000).times == 5
    assert book.own(NOW + 9000)[0].times == 5
    assert not BanBook().own(NOW)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bans, "MAX_BANS", 10)
    monkeypatch.setattr(bans, "MAX_STRUCK", 10)
    book = BanBook()
    for n in range(100):
        banned(book, NOW + n, f"198.51.100.{n}")
        book.strike(f"203.0.113.{n}", NOW + n, RULE, "errors")
    assert [ban.address for ban in book.own(NOW)] == [f"198.51.100.{n}" for n in range(90, 100)]
    assert len(book._struck) == 10
    assert len(banned(book, NOW, "192.0.2.1").reason) < bans.MAX_REASON
    assert not book.own(NOW + 2 * MAX_BAN_MS + MEMORY_MS)


def test_a_ban_of_a_clock_that_was_wrong_does_not_hold() -> None:
    book = BanBook([Ban(PEER, NOW + MAX_BAN_MS, NOW + 2 * MAX_BAN_MS, "from the future")])
    assert not book.until(PEER, NOW)
    assert not book.own(NOW)


def test_old_clears_are_dropped() -> None:
    clears = Clears().add("192.0.2.1", NOW).add("192.0.2.2", NOW + MAX_BAN_MS + MEMORY_MS)
    assert clears.addresses == {"192.0.2.2": NOW + MAX_BAN_MS + MEMORY_MS}
    assert clears.add(None, NOW) == Clears(NOW, {})


def test_what_is_in_force_is_one_a_household_the_first_to_end_first() -> None:
    many = [
        Ban("192.0.2.1", NOW, NOW + 5000, "a"),
        Ban("192.0.2.1", NOW, NOW + 9000, "b"),
        Ban("192.0.2.2", NOW, NOW + 6000, "c"),
        Ban("192.0.2.3", NOW, NOW, "over"),
        Ban("192.0.2.4", NOW, NOW + 6000, "cleared"),
    ]
    assert [ban.reason for ban in in_force(many, Clears(0, {"192.0.2.4": NOW}), NOW)] == ["c", "b"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400_000)), max_size=80))
def test_a_ban_comes_exactly_with_the_last_strike_of_a_window(steps: list[tuple[int, int]]) -> None:
    book, now = BanBook(), NOW
    strikes: dict[str, list[int]] = {}
    for host, passed in steps:
        now += passed
        address = f"192.0.2.{host}"
        recent = [at for at in strikes.get(address, []) if at > now - RULE.window_ms] + [now]
        ban = book.strike(address, now, RULE, "errors")
        assert (ban is not None) == (len(recent) >= RULE.strikes)
        strikes[address] = [] if ban else recent
