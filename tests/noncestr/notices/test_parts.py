"""Who tells, and what strangers are told of us."""

from noncestr.notices.parts import public_relay


def test_strangers_are_told_of_a_relay_that_they_can_reach() -> None:
    assert public_relay(("ws://127.0.0.1:7777", "wss://pool.example")) == "wss://pool.example"
    assert public_relay(("ws://127.0.0.1:7777", "ws://10.0.0.1")) == "ws://127.0.0.1:7777"
