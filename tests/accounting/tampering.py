"""Ways to alter an event of a log, field by field: what the pool might sign instead, or a relay might serve."""

import base64
import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.receipt import CREDITED_STATUSES, ShareRecord

_HEX = re.compile(r"[0-9a-f]{8,}")
_DECIMAL = re.compile(r"0|[1-9][0-9]*")
_RECORD = struct.Struct("<HBBIIII8s")
# What stands in a session, by its place.
_SESSION = ("miner", "worker", "extranonce1", "share_bits")
_KEYS = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Mutation:
    """`label`: the event; `name`: kind and field, alike for all events of a kind; `apply`: what is signed instead."""

    label: str
    name: str
    apply: Callable[[UnsignedEvent], UnsignedEvent]


def _text(value: str) -> str:
    """Another text of the same form."""
    if _DECIMAL.fullmatch(value):
        return str(int(value) + 1)
    if _HEX.fullmatch(value):
        return value[:-1] + f"{int(value[-1], 16) ^ 1:x}"
    return value + "x"


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _leaves(inner, (*path, at))
    yield path, value


def _name(path: tuple[Any, ...]) -> str:
    if path[0] == "sessions" and len(path) == 3:
        return f"session {_SESSION[path[2]]}"
    return ".".join("[]" if isinstance(step, int) else _KEYS.sub("<key>", step) for step in path)


def _with(content: str, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> str:
    fields = json.loads(content)
    inner = fields
    for step in path[:-1]:
        inner = inner[step]
    change(inner, path[-1])
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def _set(value: Any) -> Callable[[Any, Any], None]:
    def change(inner: Any, step: Any) -> None:
        inner[step] = value

    return change


def _content(path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Callable[[UnsignedEvent], UnsignedEvent]:
    return lambda event: UnsignedEvent(event.kind, event.created_at, event.tags, _with(event.content, path, change))


def _tags(at: int, tag: tuple[str, ...] | None) -> Callable[[UnsignedEvent], UnsignedEvent]:
    def apply(event: UnsignedEvent) -> UnsignedEvent:
        put = () if tag is None else (tag,)
        return UnsignedEvent(
            event.kind, event.created_at, (*event.tags[:at], *put, *event.tags[at + 1 :]), event.content
        )

    return apply


def _dated(seconds: int) -> Callable[[UnsignedEvent], UnsignedEvent]:
    return lambda event: UnsignedEvent(event.kind, event.created_at + seconds, event.tags, event.content)


def _records(event: VerifiedEvent) -> Iterator[tuple[str, Callable[[UnsignedEvent], UnsignedEvent]]]:
    """Each field of each share record."""
    raw = base64.b64decode(json.loads(event.content)["shares"])
    for at in range(0, len(raw), 28):
        record = ShareRecord(*_RECORD.unpack(raw[at : at + 28]))
        for field in ShareRecord._fields:
            old = getattr(record, field)
            new = bytes([old[0] ^ 1]) + old[1:] if isinstance(old, bytes) else old ^ 1
            changed = record._replace(**{field: new}).pack()
            text = base64.b64encode(raw[:at] + changed + raw[at + 28 :]).decode()
            credited = "credited" if record.status in CREDITED_STATUSES else "uncredited"
            yield f"{credited} {field}", _content(("shares",), _set(text))


def mutations(label: str, event: VerifiedEvent) -> Iterator[Mutation]:
    """Every way to alter this event that is tried."""
    kind = event.kind
    for at, tag in enumerate(event.tags):
        for place, value in enumerate(tag[1:], 1):
            changed = (*tag[:place], _text(value), *tag[place + 1 :])
            yield Mutation(label, f"{kind} tag {tag[0]}[{place}]", _tags(at, changed))
        yield Mutation(label, f"{kind} tag {tag[0]} left out", _tags(at, None))
    yield Mutation(label, f"{kind} dated a day earlier", _dated(-86_400))
    yield Mutation(label, f"{kind} dated a second later", _dated(1))
    if kind == 9735:
        # A zap receipt has no content: its tags are all.
        return
    for path, value in _leaves(json.loads(event.content)):
        if not path or path[-1] == "shares":
            continue
        name = f"{kind} {_name(path)}"
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, int):
            yield Mutation(label, f"{name} more", _content(path, _set(value + 1)))
            if value:
                yield Mutation(label, f"{name} less", _content(path, _set(value - 1)))
        elif isinstance(value, str):
            yield Mutation(label, f"{name} other", _content(path, _set(_text(value))))
        elif isinstance(value, list) and value:
            yield Mutation(label, f"{name} shorter", _content(path, _set(value[:-1])))
        if isinstance(path[-1], str):
            yield Mutation(label, f"{name} left out", _content(path, lambda inner, step: inner.__delitem__(step)))
    if kind == 4212:
        for field, apply in _records(event):
            yield Mutation(label, f"{kind} record {field}", apply)
