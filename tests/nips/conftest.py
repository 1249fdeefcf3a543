"""The vectors, and what the tests of `nips` share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nips.nip01 import VerifiedEvent, parse_event, verify
from tests.vectors.example_log import ExampleLog

VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """A vector file by its name."""
    return lambda name: json.loads((VECTORS / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def log() -> ExampleLog:
    """The example log, made anew by the code under test."""
    return ExampleLog()


@pytest.fixture(scope="session")
def verified() -> Callable[[Any], VerifiedEvent]:
    """An event out of decoded JSON, its id and signature checked."""
    return lambda value: verify(parse_event(value))
