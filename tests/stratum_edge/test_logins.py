"""Logins of one connection: one npub, its workers, names that are looked up."""

import pytest

from nips.errors import InvalidKey
from stratum_edge.logins import MAX_ASKING, MAX_NAMES, MAX_WORKERS, Login, Logins
from stratum_edge.names import Name


def login(user):
    return Login(b"1", user, "x")


def test_one_npub_with_its_workers_and_no_other(edge):
    logins = Logins()
    name = logins.parse(login(edge.NPUB + ".a"))
    assert name == Name(edge.MINER.pubkey, "a")
    assert logins.admit(login(edge.NPUB + ".a"), name) == ""
    assert logins.admit(login(edge.NPUB + ".b"), name._replace(worker="b")) == ""
    assert "another connection" in logins.admit(login(edge.OTHER_NPUB), Name(edge.OTHER.pubkey, ""))
    assert [name.worker for name in logins.users.values()] == ["a", "b"]
    assert logins.take_news() == ([], edge.MINER.pubkey)
    assert logins.take_news() == ([], "")


def test_workers_are_bounded(edge):
    logins = Logins()
    for number in range(MAX_WORKERS):
        assert logins.admit(login(f"u{number}"), Name(edge.MINER.pubkey, "w")) == ""
    assert "at most" in logins.admit(login("one more"), Name(edge.MINER.pubkey, "w"))
    assert logins.admit(login("u1"), Name(edge.MINER.pubkey, "w")) == "", "who is in may log in again"


def test_long_names_are_bounded_together_and_any_worker_of_an_npub_fits(edge):
    logins, name = Logins(), Name(edge.MINER.pubkey, "w")
    for number in range(MAX_WORKERS):
        assert logins.admit(login(f"{edge.NPUB}.{number:032}"), name) == ""
    logins = Logins()
    refused = [logins.admit(login(f"{edge.NPUB}.{number:0900}"), name) for number in range(MAX_WORKERS)]
    assert sum(map(len, logins.users)) <= MAX_NAMES
    assert refused[0] == ""
    assert "characters together" in refused[-1]
    assert logins.admit(login(f"{edge.NPUB}.{0:0900}"), name) == "", "who is in may log in again"


def test_a_name_is_asked_for_once_and_all_that_wait_are_found():
    logins = Logins()
    for worker in ("a", "b"):
        assert logins.parse(login(f"alice@example.com/{worker}")) is None
    assert logins.take_news() == (["alice@example.com"], "")
    waiting = logins.take_waiting("alice@example.com")
    assert [(one.user, worker) for one, worker in waiting] == [
        ("alice@example.com/a", "a"),
        ("alice@example.com/b", "b"),
    ]
    assert logins.take_waiting("alice@example.com") == []


def test_questions_are_bounded():
    logins = Logins()
    for number in range(MAX_ASKING):
        logins.parse(login(f"u{number}@example.com"))
    with pytest.raises(InvalidKey, match="too many"):
        logins.parse(login("more@example.com"))
    assert logins.parse(login("u0@example.com/other")) is None
    for number in range(MAX_WORKERS - 2):
        logins.parse(login(f"u0@example.com/{number}"))
    with pytest.raises(InvalidKey, match="at most"):
        logins.parse(login("u0@example.com/last"))
