"""The client's dialogue: only what was asked for gets through."""

from collections import Counter

import pytest

from nips.nip01 import make_filter
from relay_bridge.client import TABLE, RelayDialogue, RequestState, Step
from relay_bridge.messages import (
    RelayClosed,
    RelayEose,
    RelayEvent,
    RelayNotice,
    RelayOk,
    encode_relay_message,
    event_json,
)


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@pytest.fixture
def dialogue(counts: Counter[str]) -> RelayDialogue:
    return RelayDialogue(counts)


def test_the_table_knows_no_way_back() -> None:
    order = list(RequestState)
    assert all(order.index(after) >= order.index(before) for (before, _), after in TABLE.items())
    assert not any(before is RequestState.ENDED for before, _ in TABLE)
    assert {step for _, step in TABLE} == set(Step)


def test_a_request_from_start_to_end(dialogue, counts, sign) -> None:
    assert dialogue.ask("s", [make_filter(kinds=[1])]) == '["REQ","s",{"kinds":[1]}]'
    frame = encode_relay_message(RelayEvent("s", sign(1)))
    for state in (RequestState.ASKED, RequestState.LIVE):
        assert dialogue.state("s") is state
        assert dialogue.receive(frame).event.id == sign(1).id
        if state is RequestState.ASKED:
            assert dialogue.receive('["EOSE","s"]') == RelayEose("s")
    assert dialogue.close("s") == '["CLOSE","s"]'
    assert dialogue.close("s") is None
    # What was under way when we closed is no fault of the relay's.
    assert dialogue.receive(frame) is None
    assert dialogue.receive('["CLOSED","s",""]') is None
    assert counts == {}


def test_closed_by_the_relay(dialogue, counts) -> None:
    dialogue.ask("s", [make_filter()])
    assert dialogue.receive('["CLOSED","s","error: no"]') == RelayClosed("s", "error: no")
    assert dialogue.state("s") is RequestState.ENDED
    assert dialogue.close("s") is None


def test_what_was_not_asked_for_is_dropped_and_counted(sign) -> None:
    counts: Counter[str] = Counter()
    reasons: list[str] = []
    dialogue = RelayDialogue(counts, reasons.append)
    dialogue.ask("s", [make_filter(kinds=[1])])
    dialogue.receive('["EOSE","s"]')
    dropped = {
        encode_relay_message(RelayEvent("other", sign(1))): "unknown_subscription",
        encode_relay_message(RelayEvent("s", sign(2))): "unasked_event",
        '["EOSE","s"]': "out_of_turn",
        '["EOSE","x"]': "unknown_subscription",
        encode_relay_message(RelayOk("a" * 64, True, "")): "unasked_ok",
        "junk": "garbage",
        b"\x00\xff": "garbage",
        '["EVENT","s",{"id":1}]': "garbage",
    }
    for frame, reason in dropped.items():
        before = counts[reason]
        assert dialogue.receive(frame) is None
        assert counts[reason] == before + 1
    assert len(reasons) == len(dropped)


def test_an_ok_is_heard_once(dialogue, counts, sign) -> None:
    event = sign()
    assert dialogue.publish(event.id, event_json(event)) == f'["EVENT",{event_json(event)}]'
    ok = encode_relay_message(RelayOk(event.id, True, ""))
    assert dialogue.receive(ok) == RelayOk(event.id, True, "")
    assert dialogue.receive(ok) is None
    assert counts == {"unasked_ok": 1}
    assert dialogue.receive('["NOTICE","hi"]') == RelayNotice("hi")
