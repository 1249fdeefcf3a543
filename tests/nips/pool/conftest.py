"""Feeding parsers of pool events what they never expected."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent

KEY = SecretKey(b"\1" * 32)
# Values that have been trouble somewhere: bounds, types that look alike, numbers too long to convert.
_TRICKY = st.sampled_from(
    [None, True, False, 0, 1, -1, 2**53, 2**64, 0.0, 1.5, "", "0", "1", "00" * 32, "ff" * 32, "9" * 5000, "\ud800"]
) | st.sampled_from(
    [[], {}, [0], [0, "00" * 32], ["0", 0], {"9" * 5000: ""}, {"0": ""}, {"": 0}, {"²": ""}, "٣", "207fffff", "AAAA"]
)
# Copied, since sampled_from hands out the same list each time and _changed writes into what it was given.
TRICKY = _TRICKY.map(deepcopy)
VALUES = TRICKY | st.recursive(
    TRICKY | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
TEXT = st.text(max_size=12) | st.sampled_from(["0", "1", "job", "receipt", "9" * 5000, "00" * 32, "\n", "AAAA"])
NAMES = ("a", "seq", "prev", "lane", "window", "shares", "work", "e", "p", "fin", "share", "d")
TAGS = st.lists(
    st.tuples(st.sampled_from(NAMES), TEXT, TEXT, TEXT) | st.lists(TEXT, min_size=1, max_size=3).map(tuple), max_size=4
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a decoded content."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for key, inner in below for found in _paths(inner, (*path, key))]


def _changed(draw: Callable[[Any], Any], content: str) -> str:
    fields = json.loads(content)
    for path in draw(st.lists(st.sampled_from(_paths(fields)), max_size=2)):
        at = fields
        for key in path[:-1]:
            try:
                at = at[key]
            except (KeyError, IndexError, TypeError):
                break
        try:
            if draw(st.booleans()):
                at[path[-1]] = draw(VALUES)
            else:
                del at[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue
    return json.dumps(fields)


@pytest.fixture(scope="session")
def fuzz() -> Callable[[Any, Callable[[VerifiedEvent], Any], VerifiedEvent], None]:
    """Parse a variation of an event that `data` draws: it is parsed or refused with InvalidPoolEvent, nothing else.

    Content and tags are the event's with a place or two changed, or anything.
    """

    def feed(data: Any, parse: Callable[[VerifiedEvent], Any], event: VerifiedEvent) -> None:
        draw = data.draw
        how = draw(st.sampled_from(["content", "tags", "both", "any"]))
        content, tags = event.content, list(event.tags)  # no lone surrogates but escaped ones: it has to be signed
        if how in ("content", "both"):
            content = _changed(draw, content)
        if how in ("tags", "both"):
            for _ in range(draw(st.integers(1, 2))):
                at = draw(st.integers(0, len(tags)))
                if draw(st.booleans()):
                    tags[at : at + 1] = []
                else:
                    tags[at : at + draw(st.integers(0, 1))] = draw(TAGS)
            if tags and draw(st.booleans()):
                at = draw(st.integers(0, len(tags) - 1))
                tags[at] = (tags[at][0], *draw(st.lists(TEXT, max_size=3)))
        if how == "any":
            content = draw(st.text() | VALUES.map(json.dumps) | st.dictionaries(TEXT, VALUES).map(json.dumps))
            tags = draw(TAGS)
        created_at = draw(st.sampled_from([event.created_at, 0, 2**53 - 1]))
        changed = KEY.sign(UnsignedEvent(event.kind, created_at, tuple(tags), content))
        try:
            parse(changed)
        except InvalidPoolEvent:
            return

    return feed


@pytest.fixture(scope="session")
def check_vectors(
    vectors: Callable[[str], Any], verified: Callable[[Any], VerifiedEvent]
) -> Callable[[str, Callable[[VerifiedEvent], Any], int, int], list[Any]]:
    """Run an event's vector file: so many are parsed, so many are refused; what was parsed is handed back."""

    def run(name: str, parse: Callable[[VerifiedEvent], Any], good: int, bad: int) -> list[Any]:
        file = vectors(name)
        assert (len(file["cases"]), len(file["invalid"])) == (good, bad)
        for case in file["invalid"]:
            event = verified(case["event"])
            try:
                parse(event)
            except InvalidPoolEvent:
                continue
            raise AssertionError(f"{name}: not refused: {case['reason']}")
        return [parse(verified(case["event"])) for case in file["cases"]]

    return run
