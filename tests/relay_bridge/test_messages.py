"""Messages: what is encoded is read back; what is malformed is refused, with an address if there is one."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidMessage
from nips.nip01 import make_filter, verify
from relay_bridge.errors import InvalidEventMessage, InvalidRequest
from relay_bridge.messages import (
    ClientAuth,
    ClientClose,
    ClientCount,
    ClientEvent,
    ClientReq,
    RelayAuth,
    RelayClosed,
    RelayCount,
    RelayEose,
    RelayEvent,
    RelayNotice,
    RelayOk,
    encode_client_message,
    encode_relay_message,
    event_frame,
    event_json,
    parse_client_message,
    parse_relay_message,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SUB_ID = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
FILTER = st.builds(
    make_filter,
    ids=st.none() | st.lists(HEX, max_size=3),
    kinds=st.none() | st.lists(st.integers(0, 65535), max_size=3),
    tags=st.dictionaries(st.sampled_from("etdX"), st.lists(HEX, max_size=2), max_size=2),
    since=st.none() | st.integers(0, 2**53 - 1),
    limit=st.none() | st.integers(0, 10_000),
)
FILTERS = st.lists(FILTER, min_size=1, max_size=3).map(tuple)


@given(st.builds(ClientReq, SUB_ID, FILTERS) | st.builds(ClientCount, SUB_ID, FILTERS) | st.builds(ClientClose, SUB_ID))
def test_client_messages_survive_the_wire(message: ClientReq | ClientCount | ClientClose) -> None:
    assert parse_client_message(encode_client_message(message)) == message


@given(
    st.builds(RelayOk, HEX, st.booleans(), TEXT)
    | st.builds(RelayEose, SUB_ID)
    | st.builds(RelayClosed, SUB_ID, TEXT)
    | st.builds(RelayNotice, TEXT)
    | st.builds(RelayCount, SUB_ID, st.integers(0, 2**53), st.booleans())
    | st.builds(RelayAuth, TEXT)
)
def test_relay_messages_survive_the_wire(message: RelayOk | RelayEose | RelayClosed | RelayNotice) -> None:
    assert parse_relay_message(encode_relay_message(message)) == message


def test_events_survive_the_wire(sign) -> None:
    event = sign(content='line\n"quoted" \\ é €', tags=(("e", "x"), ("-",)))
    for message in (ClientEvent(event), ClientAuth(event)):
        back = parse_client_message(encode_client_message(message))
        assert type(back) is type(message)
        assert verify(back.event) == event
    back = parse_relay_message(encode_relay_message(RelayEvent('s"1', event)))
    assert back == parse_relay_message(event_frame('s"1', event_json(event)))
    assert back.sub_id == 's"1'
    assert verify(back.event) == event


@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers() | TEXT, st.lists).map(msgspec.json.encode))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for parse in (parse_client_message, parse_relay_message):
        with contextlib.suppress(InvalidMessage):
            assert parse(data) is not None


@pytest.mark.parametrize(
    "bad",
    [
        "", "{}", "[]", "[1]", '["event"]', '["EVENT"]', '["EVENT",{}]', '["EVENT",1,2]', '["CLOSE"]', '["CLOSE",""]',
        '["CLOSE","' + "x" * 65 + '"]', '["CLOSE","a","b"]', '["REQ"]', '["REQ",1,{}]', '["AUTH","challenge"]',
        '["CLOSE","a"] x', '["CLOSE","a"', '["OK"]', "[" * 5000,
    ],
)  # fmt: skip
def test_bad_client_messages(bad: str) -> None:
    with pytest.raises(InvalidMessage):
        parse_client_message(bad)


def test_a_bad_event_names_its_id_and_a_bad_request_its_subscription() -> None:
    with pytest.raises(InvalidEventMessage, match="pubkey") as event:
        parse_client_message(json.dumps(["EVENT", {"id": "a" * 64}]))
    assert event.value.event_id == "a" * 64
    for frame in ('["REQ","s"]', '["REQ","s",{"kind":[1]}]', '["COUNT","s",{"since":-1}]', '["REQ","s",{},[]]'):
        with pytest.raises(InvalidRequest) as request:
            parse_client_message(frame)
        assert request.value.sub_id == "s"


@pytest.mark.parametrize(
    "bad",
    [
        '["OK","x",true,""]', '["OK","' + "a" * 64 + '",1,""]', '["OK","' + "a" * 64 + '",true,5]', '["EOSE"]',
        '["EVENT",{}]', '["COUNT","s",{"count":-1}]', '["COUNT","s",{"count":true}]', '["COUNT","s",3]', '["NOTICE"]',
        '["AUTH","' + "c" * 1025 + '"]', '["REQ","s",{}]', '["EVENT","s",{"id":"x"}]',
    ],
)  # fmt: skip
def test_bad_relay_messages(bad: str) -> None:
    with pytest.raises(InvalidMessage):
        parse_relay_message(bad)


def test_short_forms_of_relays_in_use() -> None:
    assert parse_relay_message('["OK","' + "a" * 64 + '",true]') == RelayOk("a" * 64, True, "")
    assert parse_relay_message('["CLOSED","s"]') == RelayClosed("s", "")
    assert parse_relay_message('["EOSE","s","finish"]') == RelayEose("s")
