"""NIP-11: the relay information document."""

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
    max_limit: int | None = None
    default_limit: int | None = None
    max_subid_length: int | None = None
    max_event_tags: int | None = None
    max_content_length: int | None = None
    created_at_upper_limit: int | None = None
    auth_required: bool | None = None
    payment_required: bool | None = None
    restricted_writes: bool | None = None


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


def encode_information(information: RelayInformation) -> bytes:
    """The document as JSON; what is not said is left out."""
    return msgspec.json.encode(information)


def decode_information(data: bytes) -> RelayInformation:
    """A relay's document. Unknown fields are ignored, as the NIP demands.

    Raises msgspec.MsgspecError (DecodeError or ValidationError) if it is none.
    """
    return msgspec.json.decode(data, type=RelayInformation)


def wants_information(accept: str) -> bool:
    """Whether an HTTP Accept header asks for the document."""
    return any(part.split(";")[0].strip().lower() == MEDIA_TYPE for part in accept.split(","))
