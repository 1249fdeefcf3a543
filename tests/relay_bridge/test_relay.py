"""The relay's core, without sockets or disks: what each message is answered."""

import json
from collections import Counter

import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, make_filter
from nips.nip42 import client_auth
from relay_bridge.messages import ClientAuth, ClientEvent, encode_client_message
from relay_bridge.policy import OpenPolicy
from relay_bridge.ports import Outcome
from relay_bridge.relay import Count, Hangup, Query, RelayLimits, RelaySession, Send, Store, Unsubscribe, expiration

NOW = 1_700_000_100_000
KEY = SecretKey(b"\x05" * 32)


def session(**limits: int) -> RelaySession:
    return RelaySession(
        policy=OpenPolicy(), challenge="ch", hosts=frozenset({"relay.test"}), source="::1",
        stats=Counter(), limits=RelayLimits(**limits),
    )  # fmt: skip


def said(actions: list[object]) -> list[object]:
    return [json.loads(action.frame) for action in actions if isinstance(action, Send)]


def publish(core: RelaySession, event: VerifiedEvent) -> list[object]:
    return core.receive(encode_client_message(ClientEvent(event)), NOW)


def test_a_good_event_is_to_be_stored(sign) -> None:
    event = sign()
    [action] = publish(session(), event)
    assert isinstance(action, Store)
    assert action.event == event
    assert isinstance(action.event, VerifiedEvent)


def test_forgeries_are_refused(sign) -> None:
    wire = json.loads(encode_client_message(ClientEvent(sign())))
    for field, value, reason in (
        ("content", "changed", "not the event's hash"),
        ("sig", "0" * 128, "not signed"),
        ("kind", "1", "integer"),
    ):
        [[ok, event_id, accepted, message]] = said(
            session().receive(json.dumps(["EVENT", {**wire[1], field: value}]), NOW)
        )
        assert (ok, event_id, accepted) == ("OK", wire[1]["id"], False)
        assert message.startswith("invalid: ")
        assert reason in message


@pytest.mark.parametrize(
    ("outcome", "accepted", "prefix", "fan_out"),
    [
        (Outcome.STORED, True, "", True),
        (Outcome.DUPLICATE, True, "duplicate:", False),
        (Outcome.SUPERSEDED, True, "duplicate:", False),
        (Outcome.DELETED, False, "blocked:", False),
        (Outcome.FAILED, False, "error:", False),
    ],
)
def test_answers_after_the_store(sign, outcome: Outcome, accepted: bool, prefix: str, fan_out: bool) -> None:
    answer, passed = session().stored(sign(), outcome)
    ok = json.loads(answer.frame)
    assert (ok[2], ok[3].startswith(prefix), passed) == (accepted, True, fan_out)


def test_expired_events_are_refused_and_odd_expirations_ignored(sign) -> None:
    dated = sign(tags=(("expiration", str(NOW // 1000)),))
    assert said(publish(session(), dated))[0][3] == "invalid: the event has expired"
    assert isinstance(publish(session(), sign(tags=(("expiration", str(NOW // 1000 + 1)),)))[0], Store)
    for odd in ("", "soon", "-5", "9" * 17, "１２"):
        assert expiration(sign(tags=(("expiration", odd),))) is None


def test_protected_events_need_their_author(sign) -> None:
    core = session()
    mine = KEY.sign(UnsignedEvent(1, NOW // 1000, (("-",),), ""))
    assert said(publish(core, mine))[0][3].startswith("auth-required: ")
    bad = KEY.sign(client_auth("ws://relay.test", "other", NOW // 1000))
    assert said(core.receive(encode_client_message(ClientAuth(bad)), NOW))[0][2] is False
    good = KEY.sign(client_auth("ws://relay.test", "ch", NOW // 1000))
    assert said(core.receive(encode_client_message(ClientAuth(good)), NOW)) == [["OK", good.id, True, ""]]
    assert isinstance(publish(core, mine)[0], Store)
    assert said(publish(core, sign(tags=(("-",),))))[0][3].startswith("restricted: ")
    assert said(publish(core, good))[0][3].startswith("invalid: kind 22242")


def test_subscriptions_and_their_limits() -> None:
    core = session(subscriptions=2, filters=2, filter_values=3)
    assert core.receive('["REQ","a",{"kinds":[1]}]', NOW) == [Query("a", (make_filter(kinds=[1]),))]
    assert isinstance(core.receive('["REQ","b",{}]', NOW)[0], Query)
    assert said(core.receive('["REQ","c",{}]', NOW))[0][:2] == ["CLOSED", "c"]
    assert isinstance(core.receive('["REQ","b",{"kinds":[2]}]', NOW)[0], Query)
    assert core.receive('["CLOSE","a"]', NOW) == [Unsubscribe("a")]
    assert isinstance(core.receive('["REQ","c",{}]', NOW)[0], Query)
    assert said(core.receive('["REQ","c",{},{},{}]', NOW))[0][2].startswith("invalid: a request may hold 2 filters")
    assert core.subscriptions == {"b"}
    assert said(core.receive('["REQ","d",{"kinds":[1,2],"#t":["x","y"]}]', NOW))[0][2].startswith("invalid: a filter")
    assert isinstance(core.receive('["COUNT","n",{}]', NOW)[0], Count)
    assert said([core.counted("n", 7)]) == [["COUNT", "n", {"count": 7}]]


def test_garbage_is_answered_counted_and_in_the_end_too_much() -> None:
    core = session(bad_messages=3)
    assert said(core.receive("junk", NOW))[0][0] == "NOTICE"
    assert said(core.receive('["REQ","s",{"nope":1}]', NOW))[0] == [
        "CLOSED",
        "s",
        'invalid: unknown filter field "nope"',
    ]
    actions = core.binary()
    assert isinstance(actions[-1], Hangup)
