"""Why a relay refuses: a machine-readable prefix and a text for people (NIP-01)."""

from dataclasses import dataclass
from typing import Literal

Prefix = Literal[
    "duplicate", "pow", "blocked", "rate-limited", "invalid", "restricted", "mute", "error", "auth-required"
]


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
