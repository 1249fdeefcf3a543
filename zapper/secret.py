"""A text nobody is to read by accident: an API key, a macaroon, a rune, a password."""

from collections.abc import Iterable

# What takes a secret's place.
HIDDEN = "[hidden]"


class Secret:
    """Holds the text; neither repr, str nor a format string gives it away."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Raises ValueError for a text that no header can carry; the message does not quote it."""
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("a secret is printable ASCII without spaces, and not empty")
        self._text = text

    def reveal(self) -> str:
        """The text, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    __str__ = __repr__


def hide(text: str, secrets: Iterable[Secret]) -> str:
    """`text` without the secrets: servers quote what they were sent."""
    for secret in secrets:
        text = text.replace(secret.reveal(), HIDDEN)
    return text
