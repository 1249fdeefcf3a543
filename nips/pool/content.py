"""The JSON of the pool protocol: one way to read it, so that two readers cannot differ (SPEC.md, "Encoding").

Content is a JSON object with `"v":1`; no name twice, no floats, integers within +-(2^53 - 1), no control characters.
Unknown fields are ignored, unknown versions refused.
"""

import base64
import binascii
import json
import re
from typing import Any

from nips.errors import InvalidPoolEvent
from nips.nip01 import MAX_SAFE_INTEGER, Event

VERSION = 1
# So many arrays and objects may stand inside one another: every reader stops somewhere, all of them at one place.
MAX_DEPTH = 64
_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKETS = re.compile(r"[\[\]{}]")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,99}")


class UnknownVersion(InvalidPoolEvent):
    """The content is of a version of the protocol that this reader does not know."""


def _no_float(text: str) -> float:
    raise InvalidPoolEvent(f"numbers are integers here, not {text}")


def _integer(text: str) -> int:
    # 16 digits hold every integer up to 2^53; longer ones are refused before they cost time.
    if len(text) > 17 or abs(int(text)) > MAX_SAFE_INTEGER:
        raise InvalidPoolEvent(f"the integer {text[:24]} is beyond 2^53 - 1")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidPoolEvent("a name stands twice in one object")
    return found


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_no_float, parse_int=_integer, parse_constant=_no_float, strict=True
)


def _is_too_deep(text: str) -> bool:
    """Whether JSON text is nested deeper than MAX_DEPTH. Of text that is no JSON it may say either."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def decode_strict(text: str) -> Any:
    """JSON as every reader has it alike, whatever it holds. Raises InvalidPoolEvent."""
    if _is_too_deep(text):
        raise InvalidPoolEvent(f"the content is nested more than {MAX_DEPTH} deep")
    try:
        value = _DECODER.decode(text)
        # Half of a surrogate pair can be written as an escape but has no UTF-8 form: readers would differ over it.
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (json.JSONDecodeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidPoolEvent(f"the content is not JSON: {error}") from None
    return value


def decode_content(text: str) -> dict[str, Any]:
    """The fields of a pool event's content. Raises InvalidPoolEvent, UnknownVersion."""
    value = decode_strict(text)
    if not isinstance(value, dict):
        raise InvalidPoolEvent("the content is not a JSON object")
    version = value.get("v")
    if type(version) is not int:
        raise InvalidPoolEvent("the content has no version")
    if version != VERSION:
        raise UnknownVersion(f"version {version} of the pool protocol is not known here")
    return value


def encode_content(fields: dict[str, Any]) -> str:
    """The content's text: `"v":1` first, no white space, names in the given order."""
    return json.dumps({"v": VERSION, **fields}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read_int(fields: dict[str, Any], name: str, lowest: int = 0, highest: int = MAX_SAFE_INTEGER) -> int:
    """An integer field within bounds. Raises InvalidPoolEvent."""
    value = fields.get(name)
    if type(value) is not int or not lowest <= value <= highest:
        raise InvalidPoolEvent(f"{name} must be an integer from {lowest} to {highest}")
    return value


def read_str(fields: dict[str, Any], name: str) -> str:
    """A text field. Raises InvalidPoolEvent."""
    value = fields.get(name)
    if type(value) is not str:
        raise InvalidPoolEvent(f"{name} must be a string")
    return value


def read_list(fields: dict[str, Any], name: str) -> list[Any]:
    """An array field. Raises InvalidPoolEvent."""
    value = fields.get(name)
    if type(value) is not list:
        raise InvalidPoolEvent(f"{name} must be an array")
    return value


def read_dict(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """An object field. Raises InvalidPoolEvent."""
    value = fields.get(name)
    if type(value) is not dict:
        raise InvalidPoolEvent(f"{name} must be an object")
    return value


def parse_hex(value: object, size: int | None, name: str) -> bytes:
    """Bytes out of lowercase hex, of `size` bytes unless None. Raises InvalidPoolEvent."""
    if type(value) is not str or not _HEX.fullmatch(value) or (size is not None and len(value) != 2 * size):
        raise InvalidPoolEvent(f"{name} must be {'' if size is None else f'{size} bytes of '}lowercase hex")
    return bytes.fromhex(value)


def read_hex(fields: dict[str, Any], name: str, size: int | None = None) -> bytes:
    """A hex field as bytes. Raises InvalidPoolEvent."""
    return parse_hex(fields.get(name), size, name)


def parse_bits(value: object, name: str) -> int:
    """Compact bits or a version mask: 8 hex digits written as a number, as u32. Raises InvalidPoolEvent."""
    return int.from_bytes(parse_hex(value, 4, name), "big")


def parse_id(value: object, name: str) -> str:
    """An event id or public key: 64 lowercase hex digits. Raises InvalidPoolEvent."""
    if type(value) is not str or not _HEX64.fullmatch(value):
        raise InvalidPoolEvent(f"{name} must be 64 lowercase hex digits")
    return value


def parse_work(value: object, name: str) -> int:
    """Work: a decimal string. Raises InvalidPoolEvent."""
    if type(value) is not str or not _DECIMAL.fullmatch(value):
        raise InvalidPoolEvent(f"{name} must be a decimal string")
    return int(value)


def parse_decimal(value: object, name: str, highest: int = MAX_SAFE_INTEGER) -> int:
    """A decimal string of a tag, bounded. Raises InvalidPoolEvent."""
    number = parse_work(value, name)
    if number > highest:
        raise InvalidPoolEvent(f"{name} must be at most {highest}")
    return number


def parse_base64(value: object, name: str) -> bytes:
    """Padded base64 in its one canonical form. Raises InvalidPoolEvent."""
    if type(value) is not str:
        raise InvalidPoolEvent(f"{name} must be base64 text")
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidPoolEvent(f"{name} is not padded base64") from None
    if base64.b64encode(raw).decode() != value:
        raise InvalidPoolEvent(f"{name} is not base64 in canonical form")
    return raw


def one_tag(event: Event, name: str) -> tuple[str, ...]:
    """The only tag of that name. Raises InvalidPoolEvent when there is none or more."""
    found = [tag for tag in event.tags if tag[0] == name]
    if len(found) != 1 or len(found[0]) < 2:
        raise InvalidPoolEvent(f"the event must have exactly one {name} tag with a value")
    return found[0]


def values_of(event: Event, name: str) -> list[str]:
    """The values of all tags of that name, in order. Raises InvalidPoolEvent for one without a value."""
    found = [tag for tag in event.tags if tag[0] == name]
    if any(len(tag) < 2 for tag in found):
        raise InvalidPoolEvent(f"a {name} tag has no value")
    return [tag[1] for tag in found]


def marked(event: Event, mark: str) -> list[str]:
    """The ids of the `e` tags with a mark, in order."""
    return [tag[1] for tag in event.tags if tag[0] == "e" and len(tag) > 3 and tag[3] == mark]


def one_marked(event: Event, mark: str) -> str:
    """The id of the only `e` tag with a mark. Raises InvalidPoolEvent when there is none or more."""
    found = marked(event, mark)
    if len(found) != 1:
        raise InvalidPoolEvent(f"the event must have exactly one e tag of a {mark}")
    return parse_id(found[0], f"the {mark}")


def require_kind(event: Event, kind: int) -> None:
    """Raises InvalidPoolEvent unless the event is of that kind."""
    if event.kind != kind:
        raise InvalidPoolEvent(f"kind {event.kind} where {kind} was expected")
