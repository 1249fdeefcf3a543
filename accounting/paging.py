"""Pages of what only grows, newest first: a page goes on below the place where the one before ended.

A place is (number, id), so that what comes in meanwhile moves nothing from one page to another.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")


class Place(NamedTuple):
    """Where an entry stands in its list: ascending by number, then by id (64 hex digits)."""

    number: int
    id: str


class Page(NamedTuple, Generic[V]):
    """Some entries, and the place the next page begins below; None when these are the last."""

    items: list[V]
    next: Place | None


class Newest(Generic[V]):
    """The places of a mapping's values in order. The mapping only grows; a shorter or another one begins anew.

    `place` must never change for a value that stays.
    """

    def __init__(self, place: Callable[[V], Place]) -> None:
        self._place = place
        self._source: Mapping[str, V] = {}
        self._places: list[tuple[Place, str]] = []

    def page(self, source: Mapping[str, V], before: Place | None, limit: int) -> Page[V]:
        """`limit` entries below a place. O(new entries), else O(log n)."""
        if source is not self._source or len(source) < len(self._places):
            self._source, self._places = source, []
        if len(source) > len(self._places):
            for name, value in islice(source.items(), len(self._places), None):
                insort(self._places, (self._place(value), name))
        end = len(self._places) if before is None else bisect_left(self._places, (before, ""))
        start = max(0, end - limit)
        items = [source[name] for _, name in reversed(self._places[start:end])]
        return Page(items, self._places[start][0] if start else None)


def cut(places: list[tuple[Place, V]], before: Place | None, limit: int) -> Page[V]:
    """A page of a short list, whatever its order. O(n log n)."""
    below = sorted((item for item in places if before is None or item[0] < before), key=lambda item: item[0])
    taken = below[-limit:][::-1]
    return Page([value for _, value in taken], taken[-1][0] if len(below) > limit else None)
