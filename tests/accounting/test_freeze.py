"""Frozen and thawed is the same, for the classes told of and for none else."""

import contextlib
from array import array
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nips.pool.chain
from accounting.freeze import Codec, Unreadable, classes_of
from nips.pool.chain import Head, Link

CODEC = Codec(classes_of(nips.pool.chain))
PLAIN = st.none() | st.booleans() | st.text() | st.binary() | st.integers(-(1 << 300), 1 << 300)
RECORDS = st.builds(Head, st.integers(), st.text()) | st.builds(Link, st.integers(), st.none() | st.text())
VALUES = st.recursive(
    PLAIN | RECORDS | st.lists(st.integers(0, 9)).map(lambda numbers: array("q", numbers)),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(0, 9) | st.tuples(st.text(), st.integers()), inner)
        | st.sets(st.integers())
        | st.frozensets(st.binary())
    ),
    max_leaves=20,
)


@given(VALUES)
def test_there_and_back(value: Any) -> None:
    back = CODEC.loads(CODEC.dumps(value))
    assert back == value
    assert type(back) is type(value)


@dataclass
class Stranger:
    x: int


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(TypeError, match="Stranger"):
        CODEC.dumps([Stranger(1)])


@given(st.binary(max_size=40))
def test_other_bytes_are_unreadable_or_data(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        CODEC.loads(data)


def test_a_record_of_another_form_is_unreadable() -> None:
    class Longer(tuple):
        _fields = ("seq", "id", "more")

    other = Codec({"nips.pool.chain.Head": Longer})
    assert other.fingerprint != CODEC.fingerprint
    with pytest.raises(Unreadable, match="another form"):
        other.loads(CODEC.dumps(Head(1, "x")))
    with pytest.raises(Unreadable):
        Codec({}).loads(CODEC.dumps(Head(1, "x")))
