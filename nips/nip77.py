"""NIP-77: the messages that carry negentropy (nips.negentropy) between a client and a relay, in hex."""

import re

import msgspec

from nips.errors import InvalidFilter, InvalidMessage
from nips.negentropy import MAX_MESSAGE
from nips.nip01 import Filter, parse_filter

# As NIP-01 has it for REQ: "an arbitrary, non-empty string of max length 64 chars".
MAX_SUB_ID = 64
# A reason is a line for a log; strfry's longest has some 60 characters.
MAX_REASON = 500
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")


class NegOpen(msgspec.Struct, frozen=True):
    """["NEG-OPEN", id, filter, message], client to relay: reconcile what matches."""

    sub_id: str
    filter: Filter
    message: bytes


class NegMessage(msgspec.Struct, frozen=True):
    """["NEG-MSG", id, message], both ways: the next message of that reconciliation."""

    sub_id: str
    message: bytes


class NegClose(msgspec.Struct, frozen=True):
    """["NEG-CLOSE", id], client to relay: forget that reconciliation."""

    sub_id: str


class NegError(msgspec.Struct, frozen=True):
    """["NEG-ERR", id, reason], relay to client: no, or no longer. `max_records` is how many it would take."""

    sub_id: str
    reason: str
    max_records: int | None = None


ClientNegMessage = NegOpen | NegMessage | NegClose
RelayNegMessage = NegMessage | NegError


def _sub_id(name: str, items: list[object], *counts: int) -> str:
    if len(items) not in counts:
        raise InvalidMessage(f"{name} takes {' or '.join(map(str, counts))} items after its name")
    sub_id = items[0]
    if not isinstance(sub_id, str) or not 0 < len(sub_id) <= MAX_SUB_ID:
        raise InvalidMessage(f"the subscription id of {name} must be a string of 1 to {MAX_SUB_ID} characters")
    return sub_id


def _message(name: str, value: object) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * MAX_MESSAGE or not _HEX.fullmatch(value):
        raise InvalidMessage(f"the message of {name} must be hex of 1 to {MAX_MESSAGE} bytes")
    return bytes.fromhex(value)


def parse_client_neg(name: str, items: list[object]) -> ClientNegMessage:
    """What a client said, out of a decoded array: its name and the items after it. Raises InvalidMessage."""
    if name == "NEG-OPEN":
        sub_id = _sub_id(name, items, 3)
        try:
            asked = parse_filter(items[1])
        except InvalidFilter as error:
            raise InvalidMessage(f"the filter of NEG-OPEN: {error}") from None
        return NegOpen(sub_id, asked, _message(name, items[2]))
    if name == "NEG-MSG":
        return NegMessage(_sub_id(name, items, 2), _message(name, items[1]))
    if name == "NEG-CLOSE":
        return NegClose(_sub_id(name, items, 1))
    raise InvalidMessage(f"unknown message {name[:20]!r}")


def parse_relay_neg(name: str, items: list[object]) -> RelayNegMessage:
    """What a relay said, out of a decoded array: its name and the items after it. Raises InvalidMessage."""
    if name == "NEG-MSG":
        return NegMessage(_sub_id(name, items, 2), _message(name, items[1]))
    if name == "NEG-ERR":
        sub_id = _sub_id(name, items, 2, 3)
        reason = items[1]
        if not isinstance(reason, str):
            raise InvalidMessage("the reason of NEG-ERR must be a string")
        # "The maximum number of records that can be processed can optionally be returned as the 4th element".
        most = items[2] if len(items) == 3 else None
        known = isinstance(most, int) and not isinstance(most, bool) and most >= 0
        return NegError(sub_id, reason[:MAX_REASON], most if known and isinstance(most, int) else None)
    raise InvalidMessage(f"unknown message {name[:20]!r}")


def encode_neg(message: ClientNegMessage | RelayNegMessage) -> str:
    """The message's JSON text."""
    items: list[object]
    match message:
        case NegOpen(sub_id, asked, data):
            items = ["NEG-OPEN", sub_id, asked.to_json(), data.hex()]
        case NegMessage(sub_id, data):
            items = ["NEG-MSG", sub_id, data.hex()]
        case NegClose(sub_id):
            items = ["NEG-CLOSE", sub_id]
        case NegError(sub_id, reason, most):
            items = ["NEG-ERR", sub_id, reason, *([] if most is None else [most])]
    return msgspec.json.encode(items).decode()
