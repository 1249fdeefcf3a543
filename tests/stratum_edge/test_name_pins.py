"""The file of pinned names: the first key stays, other keys are noted, strangers can't fill it, kill -9 is safe."""

import sqlite3
import subprocess
import sys

import pytest

from stratum_edge.adapters import name_pins
from stratum_edge.adapters.name_pins import NamePins, Pin, TooManyPins
from stratum_edge.errors import EdgeError

KEY, OTHER = "11" * 32, "22" * 32
HOUR = 3_600_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "names.sqlite"


def test_the_first_key_stays_and_others_are_noted(path):
    with NamePins(path) as pins:
        assert pins.get("a@b.example") is None
        assert pins.keep("a@b.example", KEY, 1000) == Pin("a@b.example", KEY, 1000, 1000, "", 0)
        assert pins.keep("a@b.example", OTHER, 2000).pubkey == KEY
        pins.keep("c@b.example", OTHER, 3000)
    with NamePins(path) as pins:
        assert pins.get("a@b.example") == Pin("a@b.example", KEY, 1000, 1000, OTHER, 2000)
        assert [pin.address for pin in pins.all()] == ["a@b.example", "c@b.example"]
        pins.keep("a@b.example", KEY, 2 * HOUR)
        assert pins.get("a@b.example").seen_ms == 2 * HOUR


def test_a_forgotten_name_is_pinned_anew(path):
    with NamePins(path) as pins:
        pins.keep("a@b.example", KEY, 1)
        assert pins.forget("a@b.example")
        assert not pins.forget("a@b.example")
        assert pins.keep("a@b.example", OTHER, 2).pubkey == OTHER


def test_two_processes_agree_on_who_was_first(path):
    with NamePins(path) as one, NamePins(path) as two:
        one.keep("a@b.example", KEY, 1)
        assert two.keep("a@b.example", OTHER, 2).pubkey == KEY
        assert one.get("a@b.example").other == OTHER


def test_strangers_cannot_fill_it(path, monkeypatch):
    monkeypatch.setattr(name_pins, "MAX_OF_A_DOMAIN", 2)
    monkeypatch.setattr(name_pins, "MAX_PINS", 3)
    with NamePins(path) as pins:
        for address in ("a@x.example", "b@x.example", "a@y.example"):
            pins.keep(address, KEY, 1)
        with pytest.raises(TooManyPins, match=r"x\.example"):
            pins.keep("c@x.example", KEY, 1)
        with pytest.raises(TooManyPins, match="3 names"):
            pins.keep("a@z.example", KEY, 1)
        assert pins.keep("a@x.example", KEY, 2).pubkey == KEY


def test_a_foreign_file_is_refused_and_kept(path):
    path.write_bytes(b"this is no database, but somebody's notes" * 100)
    with pytest.raises(EdgeError, match=r"names\.sqlite"):
        NamePins(path)
    assert path.read_bytes().startswith(b"this is no database")


def test_a_locked_file_is_an_error_of_ours(path, monkeypatch):
    monkeypatch.setattr(name_pins, "BUSY_S", 0.01)
    with NamePins(path) as pins:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(EdgeError, match="locked"):
            pins.keep("a@b.example", KEY, 1)
        other.close()


WRITER = """
import sys
from pathlib import Path
from stratum_edge.adapters.name_pins import NamePins
pins = NamePins(Path(sys.argv[1]))
number = 0
while True:
    pins.keep(f"n{number}@b.example", f"{number:064x}", number)
    print(number, flush=True)
    number += 1
"""


def test_what_was_told_survives_kill_9(path):
    """Each pin that was reported is there after a SIGKILL in the midst of writing, and nothing is broken."""
    for _ in range(3):
        path.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(20):
                assert writer.stdout.readline()
            writer.kill()
            told = 20 + len([line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")])
        with NamePins(path) as pins:
            found = pins.all()
            assert told <= len(found) <= told + 1
            assert all(pin.pubkey == f"{pin.first_ms:064x}" for pin in found)
