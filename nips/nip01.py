"""NIP-01: events, their ids and signatures, filters.

Trust is in the type: an `UnsignedEvent` has no author, an `Event` is what somebody sent, a `VerifiedEvent` has an id
and a signature that were checked. Only `verify` and a signer make a `VerifiedEvent`; what acts on events asks for one.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import secp256k1

from nips.errors import BadId, BadSignature, InvalidEvent, InvalidFilter

Tag = tuple[str, ...]
Tags = tuple[Tag, ...]

_HEX64 = re.compile(r"[0-9a-f]{64}")
_HEX128 = re.compile(r"[0-9a-f]{128}")
# JavaScript clients hold integers as doubles: beyond 2^53 they are no longer exact.
MAX_SAFE_INTEGER = 2**53 - 1
MAX_KIND = 65535


class UnsignedEvent(msgspec.Struct, frozen=True):
    """What is to be said, before anybody signed it. `created_at` is in Unix seconds."""

    kind: int
    created_at: int
    tags: Tags
    content: str


class Event(msgspec.Struct, frozen=True):
    """A signed event as it stands on the wire: well formed, not yet believed."""

    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: Tags
    content: str
    sig: str

    def tag(self, name: str) -> Tag | None:
        """The first tag of that name, or None."""
        for tag in self.tags:
            if tag and tag[0] == name:
                return tag
        return None

    def tag_value(self, name: str) -> str | None:
        """The value (second item) of the first tag of that name, or None."""
        tag = self.tag(name)
        return tag[1] if tag is not None and len(tag) > 1 else None

    def tag_values(self, name: str) -> tuple[str, ...]:
        """The values of all tags of that name, in order."""
        return tuple(tag[1] for tag in self.tags if len(tag) > 1 and tag[0] == name)


class VerifiedEvent(Event, frozen=True):
    """An event whose id and signature hold."""


def serialize(pubkey: str, created_at: int, kind: int, tags: Tags, content: str) -> bytes:
    """The UTF-8 bytes whose SHA-256 is the event id: `[0,pubkey,created_at,kind,tags,content]` without white space.

    NIP-01 names the escapes: line feed, quote, backslash, carriage return, tab, backspace, form feed; other text stands
    verbatim. Raises InvalidEvent for text that has no UTF-8 form (lone surrogates).
    """
    try:
        return msgspec.json.encode([0, pubkey, created_at, kind, tags, content])
    except (UnicodeEncodeError, msgspec.MsgspecError) as error:
        raise InvalidEvent(f"an event's text must be UTF-8: {error}") from None


def event_id(pubkey: str, created_at: int, kind: int, tags: Tags, content: str) -> bytes:
    """The 32-byte id of an event."""
    return hashlib.sha256(serialize(pubkey, created_at, kind, tags, content)).digest()


def parse_event(value: object) -> Event:
    """An event of NIP-01's form out of decoded JSON. Id and signature are not looked at.

    Raises InvalidEvent with what is wrong.
    """
    if not isinstance(value, dict):
        raise InvalidEvent("an event is a JSON object")
    for field in ("id", "pubkey", "created_at", "kind", "tags", "content", "sig"):
        if field not in value:
            raise InvalidEvent(f"the event has no {field}")
    for field, form in (("id", _HEX64), ("pubkey", _HEX64), ("sig", _HEX128)):
        text = value[field]
        if not isinstance(text, str) or not form.fullmatch(text):
            raise InvalidEvent(f"the event's {field} must be lowercase hex of the right length")
    for field, highest in (("created_at", MAX_SAFE_INTEGER), ("kind", MAX_KIND)):
        number = value[field]
        if type(number) is not int or not 0 <= number <= highest:
            raise InvalidEvent(f"the event's {field} must be an integer from 0 to {highest}")
    tags = value["tags"]
    if not isinstance(tags, list):
        raise InvalidEvent("the event's tags must be an array")
    for tag in tags:
        if not isinstance(tag, list) or not tag or not all(type(item) is str for item in tag):
            raise InvalidEvent("each tag must be a non-empty array of strings")
    if type(value["content"]) is not str:
        raise InvalidEvent("the event's content must be a string")
    return Event(
        id=value["id"],
        pubkey=value["pubkey"],
        created_at=value["created_at"],
        kind=value["kind"],
        tags=tuple(tuple(tag) for tag in tags),
        content=value["content"],
        sig=value["sig"],
    )


def decode_event(data: bytes | str) -> Event:
    """An event out of its JSON text. Raises InvalidEvent."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidEvent(f"not JSON: {error}") from None
    return parse_event(value)


def encode_event(event: Event) -> bytes:
    """The event as JSON, UTF-8, fields in NIP-01's order, no white space."""
    return msgspec.json.encode(event)


def verify(event: Event) -> VerifiedEvent:
    """Check the id and the BIP-340 signature.

    Raises BadId, BadSignature, or InvalidEvent.
    """
    if isinstance(event, VerifiedEvent):
        return event
    digest = event_id(event.pubkey, event.created_at, event.kind, event.tags, event.content)
    if digest.hex() != event.id:
        raise BadId(event.id, digest.hex())
    try:
        key = secp256k1.PublicKey(b"\x02" + bytes.fromhex(event.pubkey), raw=True)
    except Exception:  # secp256k1 0.14 raises bare Exception for an x that is on no curve point
        raise BadSignature(event.id, event.pubkey) from None
    if not key.schnorr_verify(digest, bytes.fromhex(event.sig), None, raw=True):
        raise BadSignature(event.id, event.pubkey)
    return VerifiedEvent(
        id=event.id,
        pubkey=event.pubkey,
        created_at=event.created_at,
        kind=event.kind,
        tags=event.tags,
        content=event.content,
        sig=event.sig,
    )


def is_replaceable(kind: int) -> bool:
    """Kinds of which only the newest by an author counts (NIP-01)."""
    return kind in (0, 3) or 10000 <= kind < 20000


def is_ephemeral(kind: int) -> bool:
    """Kinds that relays pass on and do not store (NIP-01)."""
    return 20000 <= kind < 30000


def is_addressable(kind: int) -> bool:
    """Kinds of which only the newest by author and `d` tag counts (NIP-01)."""
    return 30000 <= kind < 40000


def address(event: Event) -> str | None:
    """`kind:pubkey:d` of a replaceable (d empty) or addressable event, None of any other."""
    if is_replaceable(event.kind):
        return f"{event.kind}:{event.pubkey}:"
    if is_addressable(event.kind):
        return f"{event.kind}:{event.pubkey}:{event.tag_value('d') or ''}"
    return None


def supersedes(new: Event, old: Event) -> bool:
    """Whether `new` takes the place of `old` at one address: later, or as late with the lower id (NIP-01)."""
    return (-new.created_at, new.id) < (-old.created_at, old.id)


class Filter(msgspec.Struct, frozen=True):
    """A subscription filter. None means "not restricted"; `tags` maps a single letter to the values asked for."""

    ids: frozenset[str] | None = None
    authors: frozenset[str] | None = None
    kinds: frozenset[int] | None = None
    tags: tuple[tuple[str, frozenset[str]], ...] = ()
    since: int | None = None
    until: int | None = None
    limit: int | None = None

    def matches(self, event: Event) -> bool:
        """Whether the event is asked for (`limit` plays no part). Only a tag's first value is indexed."""
        if self.ids is not None and event.id not in self.ids:
            return False
        if self.authors is not None and event.pubkey not in self.authors:
            return False
        if self.kinds is not None and event.kind not in self.kinds:
            return False
        if self.since is not None and event.created_at < self.since:
            return False
        if self.until is not None and event.created_at > self.until:
            return False
        return all(
            any(len(tag) > 1 and tag[0] == letter and tag[1] in wanted for tag in event.tags)
            for letter, wanted in self.tags
        )

    def to_json(self) -> dict[str, Any]:
        """The filter as it goes into a REQ; arrays are sorted, so that equal filters are equal text."""
        out: dict[str, Any] = {}
        if self.ids is not None:
            out["ids"] = sorted(self.ids)
        if self.authors is not None:
            out["authors"] = sorted(self.authors)
        if self.kinds is not None:
            out["kinds"] = sorted(self.kinds)
        out.update({"#" + letter: sorted(wanted) for letter, wanted in self.tags})
        numbers = {"since": self.since, "until": self.until, "limit": self.limit}
        out.update({name: number for name, number in numbers.items() if number is not None})
        return out


def make_filter(
    *,
    ids: "frozenset[str] | set[str] | list[str] | None" = None,
    authors: "frozenset[str] | set[str] | list[str] | None" = None,
    kinds: "frozenset[int] | set[int] | list[int] | None" = None,
    tags: "Mapping[str, frozenset[str] | set[str] | list[str]] | None" = None,
    since: int | None = None,
    until: int | None = None,
    limit: int | None = None,
) -> Filter:
    """A filter from any collections; `tags` as {"a": [...]}, letters without `#`."""
    return Filter(
        ids=None if ids is None else frozenset(ids),
        authors=None if authors is None else frozenset(authors),
        kinds=None if kinds is None else frozenset(kinds),
        tags=tuple((letter, frozenset(values)) for letter, values in sorted((tags or {}).items())),
        since=since,
        until=until,
        limit=limit,
    )


def parse_filter(value: object) -> Filter:
    """A filter out of decoded JSON. Unknown names are refused, since ignoring one would answer another question.

    Raises InvalidFilter.
    """
    if not isinstance(value, dict):
        raise InvalidFilter("a filter is a JSON object")
    fields: dict[str, Any] = {}
    tags: list[tuple[str, frozenset[str]]] = []
    for name, items in value.items():
        if name in ("ids", "authors"):
            if not isinstance(items, list) or not all(isinstance(i, str) and _HEX64.fullmatch(i) for i in items):
                raise InvalidFilter(f"{name} must be an array of 64 lowercase hex digits each")
            fields[name] = frozenset(items)
        elif name == "kinds":
            if not isinstance(items, list) or not all(type(i) is int and 0 <= i <= MAX_KIND for i in items):
                raise InvalidFilter(f"kinds must be an array of integers from 0 to {MAX_KIND}")
            fields[name] = frozenset(items)
        elif name in ("since", "until", "limit"):
            if type(items) is not int or not 0 <= items <= MAX_SAFE_INTEGER:
                raise InvalidFilter(f"{name} must be a non-negative integer")
            fields[name] = items
        elif len(name) == 2 and name[0] == "#" and name[1].isascii() and name[1].isalpha():
            if not isinstance(items, list) or not all(type(i) is str for i in items):
                raise InvalidFilter(f"{name} must be an array of strings")
            # NIP-01: the values of #e and #p are 64 lowercase hex digits.
            if name in ("#e", "#p") and not all(_HEX64.fullmatch(i) for i in items):
                raise InvalidFilter(f"{name} must hold 64 lowercase hex digits each")
            tags.append((name[1], frozenset(items)))
        else:
            raise InvalidFilter(f"unknown filter field {json.dumps(name)}")
    return Filter(tags=tuple(sorted(tags, key=lambda pair: pair[0])), **fields)
