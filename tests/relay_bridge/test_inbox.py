"""The inbox: only verified events, each once, bad ones on their sender's account."""

import msgspec

from nips.nip01 import Event
from relay_bridge.inbox import Inbox, check_all


def test_each_event_once_whatever_the_relay(sign) -> None:
    inbox = Inbox()
    events = [sign(at=at) for at in range(3)]
    assert inbox.admit("a", check_all(events[:2])) == events[:2]
    assert inbox.unseen("ws://c", events) == events[2:]
    assert inbox.admit("b", check_all(events)) == events[2:]
    assert inbox.received == {"a": 2, "b": 3, "ws://c": 2}
    assert inbox.bad == {}


def test_a_forgery_is_counted_and_cannot_keep_the_event_out(sign) -> None:
    inbox = Inbox()
    good = sign(content="paid")
    wire = msgspec.structs.asdict(good)
    changes = ({"sig": "0" * 128}, {"content": "not paid"}, {"pubkey": "f" * 64})
    forged = [Event(**{**wire, **change}) for change in changes]
    checked = check_all(forged)
    assert [verified for _, verified, _ in checked] == [None] * 3
    assert all(reason for _, _, reason in checked)
    assert inbox.admit("liar", checked) == []
    assert inbox.bad == {"liar": 3}
    assert inbox.admit("honest", check_all([good])) == [good]


def test_memory_is_bounded_and_keeps_the_latest(sign) -> None:
    inbox = Inbox(capacity=2)
    first, second, third = (sign(at=at) for at in range(3))
    inbox.admit("a", check_all([first, second]))
    inbox.admit("a", check_all([first, third]))
    assert inbox.unseen("ws://a", [first, second, third]) == [second]
