"""NIP-11: the relay information document."""

from typing import Any

import msgspec

# The media type a client asks for on the relay's own URL, over HTTP.
MEDIA_TYPE = "application/nostr+json"
# "Relays MUST accept CORS requests by sending Access-Control-Allow-Origin, -Headers and -Methods headers."
CORS_HEADERS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Headers", "*"),
    ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS"),
)


class Limitation(msgspec.Struct, frozen=True, omit_defaults=True):
    """`limitation`: lengths in bytes, times in seconds relative to now. None means "not said"."""

    max_message_length: int | None = None
    max_subscriptions: int | None = None
    max_filters: int | None = None
    max_limit: int | None = None
    default_limit: int | None = None
    max_subid_length: int | None = None
    max_event_tags: int | None = None
    max_content_length: int | None = None
    min_pow_difficulty: int | None = None
    created_at_lower_limit: int | None = None
    created_at_upper_limit: int | None = None
    auth_required: bool | None = None
    payment_required: bool | None = None
    restricted_writes: bool | None = None


class Retention(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of `retention`: how long, or how many, events of some kinds are kept.

    `kinds`: kinds and inclusive ranges of them, None means all others. `time` in seconds: None is without end, 0 not at
    all. `count`: how many at most, None any number.
    """

    kinds: tuple[int | tuple[int, int], ...] | None = None
    time: int | None = None
    count: int | None = None

    def covers(self, kind: int) -> bool:
        """Whether the entry names that kind."""
        return any(
            kind == named if isinstance(named, int) else named[0] <= kind <= named[1] for named in self.kinds or ()
        )


class RelayInformation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The document. Every field may be missing; `pubkey` is the administrator's, `self` the relay's own."""

    name: str | None = None
    description: str | None = None
    pubkey: str | None = None
    contact: str | None = None
    supported_nips: tuple[int, ...] = ()
    software: str | None = None
    version: str | None = None
    icon: str | None = None
    limitation: Limitation | None = None
    retention: tuple[Retention, ...] = ()

    def retention_of(self, kind: int) -> Retention | None:
        """The entry that holds for a kind: the first that names it, else the first for all others."""
        named = [entry for entry in self.retention if entry.covers(kind)]
        return next(iter(named), None) or next((entry for entry in self.retention if entry.kinds is None), None)


def encode_information(information: RelayInformation) -> bytes:
    """The document as JSON; what is not said is left out."""
    return msgspec.json.encode(information)


def decode_information(data: bytes) -> RelayInformation:
    """A relay's document. Unknown fields are ignored, as the NIP demands.

    Raises msgspec.MsgspecError (DecodeError or ValidationError) if it is none.
    """
    return msgspec.json.decode(data, type=RelayInformation)


def read_information(data: bytes) -> RelayInformation:
    """A document as relays really write it: what has a wrong type counts as not said.

    Raises msgspec.DecodeError if it is no JSON object.
    """
    value = msgspec.json.decode(data)
    if not isinstance(value, dict):
        raise msgspec.DecodeError("the document is not an object")
    limitation = value.get("limitation")
    told = _readable(value, RelayInformation, without=frozenset({"limitation", "retention"}))
    if isinstance(limitation, dict):
        told["limitation"] = Limitation(**_readable(limitation, Limitation))
    entries = value.get("retention")
    told["retention"] = tuple(
        Retention(**_readable(entry, Retention))
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and _kinds_readable(entry)
    )
    return RelayInformation(**told)


def _kinds_readable(entry: dict[str, Any]) -> bool:
    """An entry whose kinds are garbage must not be taken for one of all kinds."""
    return "kinds" not in entry or "kinds" in _readable(entry, Retention)


def _readable(
    value: dict[str, Any], kind: type[msgspec.Struct], without: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The fields of a struct that have the right type; lengths and times are not negative."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name in value and field.name not in without:
            try:
                item = msgspec.convert(value[field.encode_name], field.type)
            except msgspec.ValidationError:
                continue
            if not (isinstance(item, int) and item < 0):
                found[field.name] = item
    return found


def wants_information(accept: str) -> bool:
    """Whether an HTTP Accept header asks for the document."""
    return any(part.split(";")[0].strip().lower() == MEDIA_TYPE for part in accept.split(","))
