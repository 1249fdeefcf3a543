"""How a key of the configuration is written down: its default, its meaning, its check."""

from dataclasses import field
from typing import Any

from noncestr.config.checks import Check


def config_key(default: Any, doc: str, check: Check | None = None, *, secret: bool = False) -> Any:
    """A dataclass field. What is `secret` is shown neither in a complaint nor in the configuration's text."""
    return field(default=default, repr=not secret, metadata={"doc": doc, "check": check, "secret": secret})
