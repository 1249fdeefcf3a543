"""NIP-38: user statuses (kind 30315), a line that clients show beside a name."""

import re
from dataclasses import dataclass

from nips.errors import NipError
from nips.nip01 import Event, Tag, UnsignedEvent

USER_STATUS = 30315
GENERAL = "general"
# A status stands beside a name: longer ones are no line any more.
MAX_TEXT = 280
MAX_TYPE = 64
MAX_URL = 2048
# Unix seconds up to the year 5138.
_SECONDS = re.compile(r"[0-9]{1,11}")


class InvalidStatus(NipError):
    """An event is no status."""


@dataclass(frozen=True, slots=True)
class Status:
    """`type` is the `d` tag ("general", "music", ...); `expires_at` in Unix seconds; an empty text clears it."""

    text: str
    type: str
    url: str | None
    expires_at: int | None

    def is_shown(self, now_s: int) -> bool:
        """Whether clients show it at that time."""
        return bool(self.text) and (self.expires_at is None or now_s < self.expires_at)


def build_status(
    text: str, *, created_at: int, type_: str = GENERAL, url: str | None = None, expires_at: int | None = None
) -> UnsignedEvent:
    """A 30315. An empty text clears the status of that type. Raises ValueError for a long text."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"a status has at most {MAX_TEXT} characters, not {len(text)}")
    tags: list[Tag] = [("d", type_)]
    if url is not None:
        tags.append(("r", url))
    if expires_at is not None:
        tags.append(("expiration", str(expires_at)))
    return UnsignedEvent(USER_STATUS, created_at, tuple(tags), text)


def parse_status(event: Event) -> Status:
    """The status in a 30315, its text cut to MAX_TEXT. Raises InvalidStatus."""
    if event.kind != USER_STATUS:
        raise InvalidStatus(f"a status is of kind {USER_STATUS}, not {event.kind}")
    type_ = event.tag_value("d")
    if not type_ or len(type_) > MAX_TYPE:
        raise InvalidStatus(f"a status names its type in a d tag of 1 to {MAX_TYPE} characters")
    expires = event.tag_value("expiration")
    if expires is not None and not _SECONDS.fullmatch(expires):
        raise InvalidStatus("the expiration of a status is a number of seconds")
    url = event.tag_value("r")
    return Status(
        text=event.content[:MAX_TEXT],
        type=type_,
        url=url if url and len(url) <= MAX_URL else None,
        expires_at=None if expires is None else int(expires),
    )
