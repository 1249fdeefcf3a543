"""Profiles (kind 0): NIP-01's metadata with the fields of NIP-24 and NIP-57. NIP-89 handlers carry the same text."""

import msgspec

from nips.errors import NipError
from nips.nip01 import Event, UnsignedEvent

METADATA = 0
# Profiles of people with long stories have some KB; a picture inside of one is not worth reading.
MAX_METADATA = 32_768


class InvalidMetadata(NipError):
    """A text or an event is no profile."""


class Metadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a profile says; None means "not said". Whether a value is any good is for its reader."""

    name: str | None = None
    display_name: str | None = None
    about: str | None = None
    picture: str | None = None
    banner: str | None = None
    website: str | None = None
    nip05: str | None = None
    lud16: str | None = None
    lud06: str | None = None
    # "a boolean to clarify that the content is entirely or partially the result of automation"
    bot: bool | None = None

    def to_text(self) -> str:
        """The JSON that stands in an event; what is not said is left out."""
        return msgspec.json.encode(self).decode()


def build_metadata(metadata: Metadata, *, created_at: int) -> UnsignedEvent:
    """A kind 0 with this profile."""
    return UnsignedEvent(METADATA, created_at, (), metadata.to_text())


def parse_metadata_text(text: str) -> Metadata:
    """A profile out of its JSON. A field of the wrong type counts as not said. Raises InvalidMetadata."""
    if len(text) > MAX_METADATA:
        raise InvalidMetadata(f"a profile has at most {MAX_METADATA} characters")
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidMetadata("a profile is JSON, and this is not") from None
    if not isinstance(value, dict):
        raise InvalidMetadata("a profile is a JSON object")
    known = {name: value.get(name) for name in Metadata.__struct_fields__}
    return Metadata(
        **{
            name: found
            for name, found in known.items()
            if (isinstance(found, bool) if name == "bot" else isinstance(found, str))
        }
    )


def parse_metadata(event: Event) -> Metadata:
    """The profile in a kind 0. Raises InvalidMetadata."""
    if event.kind != METADATA:
        raise InvalidMetadata(f"a profile is of kind {METADATA}, not {event.kind}")
    return parse_metadata_text(event.content)
