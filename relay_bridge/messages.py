"""The messages of NIP-01, 42, 45 and 77, both ways: JSON arrays whose first item names the message.

Parsing is strict: wrong types, missing and surplus items are refused. Events are parsed, not verified.
"""

import re

import msgspec

from nips.errors import InvalidEvent, InvalidFilter, InvalidMessage
from nips.nip01 import Event, Filter, encode_event, parse_event, parse_filter
from nips.nip77 import (
    ClientNegMessage,
    NegClose,
    NegError,
    NegMessage,
    NegOpen,
    RelayNegMessage,
    encode_neg,
    parse_client_neg,
    parse_relay_neg,
)
from relay_bridge.errors import InvalidEventMessage, InvalidRequest

# NIP-01: "an arbitrary, non-empty string of max length 64 chars".
MAX_SUB_ID = 64
# A challenge is random text; NIP-42 gives no length. Longer ones would only be echoed back at our cost.
MAX_CHALLENGE = 1024
_HEX64 = re.compile(r"[0-9a-f]{64}")


class ClientEvent(msgspec.Struct, frozen=True):
    """["EVENT", event]: please store and pass on."""

    event: Event


class ClientReq(msgspec.Struct, frozen=True):
    """["REQ", id, filter...]: send what is stored, then what comes."""

    sub_id: str
    filters: tuple[Filter, ...]


class ClientClose(msgspec.Struct, frozen=True):
    """["CLOSE", id]: end that subscription."""

    sub_id: str


class ClientCount(msgspec.Struct, frozen=True):
    """["COUNT", id, filter...] (NIP-45): how many match?"""

    sub_id: str
    filters: tuple[Filter, ...]


class ClientAuth(msgspec.Struct, frozen=True):
    """["AUTH", event] (NIP-42): the signed answer to a challenge."""

    event: Event


ClientMessage = ClientEvent | ClientReq | ClientClose | ClientCount | ClientAuth | ClientNegMessage


class RelayEvent(msgspec.Struct, frozen=True):
    """["EVENT", id, event]: an event that was asked for."""

    sub_id: str
    event: Event


class RelayOk(msgspec.Struct, frozen=True):
    """["OK", event id, accepted, message]: the verdict on an EVENT or AUTH."""

    event_id: str
    accepted: bool
    message: str


class RelayEose(msgspec.Struct, frozen=True):
    """["EOSE", id]: the end of what was stored."""

    sub_id: str


class RelayClosed(msgspec.Struct, frozen=True):
    """["CLOSED", id, message]: the relay ended or refused the subscription."""

    sub_id: str
    message: str


class RelayNotice(msgspec.Struct, frozen=True):
    """["NOTICE", message]: text for people."""

    message: str


class RelayCount(msgspec.Struct, frozen=True):
    """["COUNT", id, {"count": n, "approximate": bool}] (NIP-45)."""

    sub_id: str
    count: int
    approximate: bool = False


class RelayAuth(msgspec.Struct, frozen=True):
    """["AUTH", challenge] (NIP-42)."""

    challenge: str


RelayMessage = RelayEvent | RelayOk | RelayEose | RelayClosed | RelayNotice | RelayCount | RelayAuth | RelayNegMessage


def _decode_array(data: str | bytes) -> tuple[str, list[object]]:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidMessage(f"not JSON: {error}") from None
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        raise InvalidMessage("a message is a JSON array that starts with its name")
    return value[0], value[1:]


def _expect(name: str, items: list[object], *counts: int) -> None:
    if len(items) not in counts:
        raise InvalidMessage(f"{name} takes {' or '.join(str(n) for n in counts)} items after its name")


def _text(name: str, what: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidMessage(f"the {what} of {name} must be a string")
    return value


def _sub_id(name: str, value: object) -> str:
    text = _text(name, "subscription id", value)
    if not 0 < len(text) <= MAX_SUB_ID:
        raise InvalidMessage(f"the subscription id of {name} must have 1 to {MAX_SUB_ID} characters")
    return text


def _event(value: object) -> Event:
    try:
        return parse_event(value)
    except InvalidEvent as error:
        claimed = value.get("id") if isinstance(value, dict) else None
        if isinstance(claimed, str) and _HEX64.fullmatch(claimed):
            raise InvalidEventMessage(claimed, str(error)) from None
        raise InvalidMessage(str(error)) from None


def _filters(name: str, items: list[object]) -> tuple[str, tuple[Filter, ...]]:
    if not items:
        raise InvalidMessage(f"{name} needs a subscription id")
    sub_id = _sub_id(name, items[0])
    if len(items) < 2:
        raise InvalidRequest(sub_id, f"{name} needs at least one filter")
    try:
        return sub_id, tuple(parse_filter(item) for item in items[1:])
    except InvalidFilter as error:
        raise InvalidRequest(sub_id, str(error)) from None


def parse_client_message(data: str | bytes) -> ClientMessage:
    """What a client said.

    Raises InvalidMessage; its subclasses InvalidEventMessage and InvalidRequest know whom to answer.
    """
    name, items = _decode_array(data)
    if name == "EVENT":
        _expect(name, items, 1)
        return ClientEvent(_event(items[0]))
    if name == "REQ":
        return ClientReq(*_filters(name, items))
    if name == "CLOSE":
        _expect(name, items, 1)
        return ClientClose(_sub_id(name, items[0]))
    if name == "COUNT":
        return ClientCount(*_filters(name, items))
    if name == "AUTH":
        _expect(name, items, 1)
        return ClientAuth(_event(items[0]))
    if name.startswith("NEG-"):
        return parse_client_neg(name, items)
    raise InvalidMessage(f"unknown message {name[:20]!r}")


def parse_relay_message(data: str | bytes) -> RelayMessage:
    """What a relay said. Raises InvalidMessage."""
    name, items = _decode_array(data)
    if name == "EVENT":
        _expect(name, items, 2)
        return RelayEvent(_sub_id(name, items[0]), _event(items[1]))
    if name == "OK":
        return _parse_ok(items)
    if name == "EOSE":
        # NIP-67 adds a second item that says whether more is stored; we page until nothing comes and need no hint.
        _expect(name, items, 1, 2)
        return RelayEose(_sub_id(name, items[0]))
    if name == "CLOSED":
        _expect(name, items, 1, 2)
        return RelayClosed(_sub_id(name, items[0]), _text(name, "message", items[1]) if len(items) > 1 else "")
    if name == "NOTICE":
        _expect(name, items, 1)
        return RelayNotice(_text(name, "message", items[0]))
    if name == "COUNT":
        return _parse_count(items)
    if name == "AUTH":
        _expect(name, items, 1)
        challenge = _text(name, "challenge", items[0])
        if len(challenge) > MAX_CHALLENGE:
            raise InvalidMessage(f"a challenge has at most {MAX_CHALLENGE} characters")
        return RelayAuth(challenge)
    if name.startswith("NEG-"):
        return parse_relay_neg(name, items)
    raise InvalidMessage(f"unknown message {name[:20]!r}")


def _parse_ok(items: list[object]) -> RelayOk:
    # Some relays leave the message out when they accept.
    _expect("OK", items, 2, 3)
    event_id = _text("OK", "event id", items[0])
    if not _HEX64.fullmatch(event_id):
        raise InvalidMessage("the event id of OK must be 64 lowercase hex digits")
    accepted = items[1]
    if not isinstance(accepted, bool):
        raise InvalidMessage("the verdict of OK must be true or false")
    return RelayOk(event_id, accepted, _text("OK", "message", items[2]) if len(items) > 2 else "")


def _parse_count(items: list[object]) -> RelayCount:
    _expect("COUNT", items, 2)
    sub_id = _sub_id("COUNT", items[0])
    answer = items[1]
    count = answer.get("count") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or type(count) is not int or count < 0:
        raise InvalidMessage("COUNT must hold an object with a non-negative integer count")
    return RelayCount(sub_id, count, answer.get("approximate") is True)


def _dump(value: object) -> str:
    return msgspec.json.encode(value).decode()


def event_json(event: Event) -> str:
    """The event's JSON text as relays send it."""
    return encode_event(event).decode()


def event_frame(sub_id: str, text: str) -> str:
    """["EVENT", id, event] around an event that is JSON already: the path that fan-out takes."""
    return f'["EVENT",{_dump(sub_id)},{text}]'


def encode_client_message(message: ClientMessage) -> str:
    """The message's JSON text."""
    match message:
        case ClientEvent(event):
            return f'["EVENT",{event_json(event)}]'
        case ClientReq(sub_id, filters):
            return _dump(["REQ", sub_id, *(f.to_json() for f in filters)])
        case ClientClose(sub_id):
            return _dump(["CLOSE", sub_id])
        case ClientCount(sub_id, filters):
            return _dump(["COUNT", sub_id, *(f.to_json() for f in filters)])
        case ClientAuth(event):
            return f'["AUTH",{event_json(event)}]'
        case NegOpen() | NegMessage() | NegClose():
            return encode_neg(message)


def encode_relay_message(message: RelayMessage) -> str:
    """The message's JSON text."""
    match message:
        case RelayEvent(sub_id, event):
            return event_frame(sub_id, event_json(event))
        case RelayOk(event_id, accepted, text):
            return _dump(["OK", event_id, accepted, text])
        case RelayEose(sub_id):
            return _dump(["EOSE", sub_id])
        case RelayClosed(sub_id, text):
            return _dump(["CLOSED", sub_id, text])
        case RelayNotice(text):
            return _dump(["NOTICE", text])
        case RelayCount(sub_id, count, approximate):
            answer: dict[str, object] = {"count": count}
            if approximate:
                answer["approximate"] = True
            return _dump(["COUNT", sub_id, answer])
        case RelayAuth(challenge):
            return _dump(["AUTH", challenge])
        case NegMessage() | NegError():
            return encode_neg(message)
