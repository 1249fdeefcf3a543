"""Why a relay refuses: a machine-readable prefix and a text for people (NIP-01)."""

import re
from dataclasses import dataclass
from typing import Literal

Prefix = Literal[
    "duplicate", "pow", "blocked", "rate-limited", "invalid", "restricted", "mute", "error", "auth-required"
]


# What relays say of an event dated ahead of their clock: strfry "created_at too late", khatru "event too much in the
# future", NIP-22 and nostr-rs-relay "created_at field is out of the acceptable range (+900sec)", ours "... ahead".
_AHEAD = re.compile(r"\bfuture\b|created_at\b.*(\blate\b|\bahead\b|\bnewer\b|\(.*\+\d)", re.IGNORECASE | re.DOTALL)
# Of an event's size: strfry "event too large", nostream "content is longer than", khatru "too large", ours "N bytes,
# the limit is". Sizes of the message it came in are meant too.
_TOO_LARGE = re.compile(r"\btoo (large|big|long)\b|\b(larger|bigger|longer) than\b|bytes, the limit\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """`prefix: reason`, as it goes into OK and CLOSED messages."""

    prefix: Prefix
    reason: str

    def __str__(self) -> str:
        return f"{self.prefix}: {self.reason}"


def prefix_of(message: str) -> str:
    """The machine-readable prefix of an OK or CLOSED message, "" if it has none."""
    head, colon, _ = message.partition(":")
    return head.strip().lower() if colon and " " not in head.strip() else ""


def is_dated_ahead(message: str) -> bool:
    """Whether a refusal says that the event's date is yet to come: what is refused now will be taken then."""
    return _AHEAD.search(message) is not None


def is_too_large(message: str) -> bool:
    """Whether a refusal says that the event is too large: it will be at any time."""
    return _TOO_LARGE.search(message) is not None
