"""Where the fold keeps what grows with the log: by name, each a mapping from text to values, in memory or on disk.

A fold in memory is what the accounting runs on; an audit of years gives its fold shelves on disk
(accounting.adapters.shelf), so that its memory is flat.
"""

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar, overload

V = TypeVar("V")
# After every key.
END = "\U0010ffff"


class Shelf(Protocol[V]):
    """A mapping with an order. A value that was changed in place is to be set again, or the change may be lost."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...

    def __contains__(self, key: object, /) -> bool: ...

    def __getitem__(self, key: str, /) -> V: ...

    def __setitem__(self, key: str, value: V, /) -> None: ...

    def __delitem__(self, key: str, /) -> None: ...

    @overload
    def get(self, key: str, /) -> V | None: ...

    @overload
    def get(self, key: str, default: V, /) -> V: ...

    def get(self, key: str, default: V | None = None, /) -> V | None:
        """The value, or the default."""

    @overload
    def pop(self, key: str, /) -> V: ...

    @overload
    def pop(self, key: str, default: None, /) -> V | None: ...

    def pop(self, key: str, default: None = None, /) -> V | None:
        """The value, which is taken out."""

    def setdefault(self, key: str, default: V, /) -> V:
        """The value, which is set if it was not."""

    def scan(self, start: str = "", end: str = END) -> Iterator[tuple[str, V]]:
        """The items with start <= key < end, by key. The shelf must not change meanwhile."""


class Shelves(Protocol):
    """A set of shelves."""

    def open(self, name: str) -> Shelf[Any]:
        """The shelf of that name, empty if it is new."""


class MemoryShelf(dict[str, V]):
    """A shelf in memory."""

    def scan(self, start: str = "", end: str = END) -> Iterator[tuple[str, V]]:
        """The items with start <= key < end, by key."""
        for key in sorted(key for key in self if start <= key < end):
            yield key, self[key]


class MemoryShelves:
    """Shelves in memory, of one fold."""

    def __init__(self) -> None:
        self._shelves: dict[str, MemoryShelf[Any]] = {}

    def open(self, name: str) -> MemoryShelf[Any]:
        """The shelf of that name, empty if it is new."""
        return self._shelves.setdefault(name, MemoryShelf())
