"""Bans on disk, shared by the lanes of one machine without a lock.

A folder with one file a lane: each lane replaces its own whole, and reads those of the others when they changed.
`cleared.json` holds what the operator lifted; only the command line writes it, whether the pool runs or not. What was
banned in the last seconds before a crash may be lost; a file is never half written.
"""

import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from stratum_edge.bans import Ban, BanBook, BanRule, Clears, in_force
from stratum_edge.households import Network

log = logging.getLogger(__name__)

CLEARED: Final = "cleared.json"
# A lane's file at its fullest is about 1 MB; anything larger was not written by us.
MAX_FILE_BYTES: Final = 4 << 20
# Lanes of one machine are as many as its cores; files beyond this are not looked at.
MAX_FILES: Final = 256

T = TypeVar("T")
Stamp = tuple[int, int, int]


def _stamp(path: Path) -> Stamp | None:
    """What changes whenever a file is replaced; None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _read(path: Path, kind: type[T]) -> T | None:
    """A file's content; None when there is none. One that can't be read is put aside and said."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
                raise ValueError(f"a file of at most {MAX_FILE_BYTES} bytes was expected")
            return msgspec.json.decode(file.read(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # msgspec's own are ValueErrors
        aside = path.with_name(path.name + ".unreadable")
        log.error("the bans in %s can't be read (%s): they are forgotten, the file is kept as %s", path, error, aside)
        try:
            path.replace(aside)
        except OSError as why:
            log.error("%s can't be put aside: %s", path, why)
        return None


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1))
    new.replace(path)


def _lane_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("lane-*.json"))[:MAX_FILES]


class BanFiles:
    """The bans a lane goes by (`ports.Bans`), kept in `folder`."""

    def __init__(self, folder: Path, lane: str, trusted: tuple[Network, ...] = ()) -> None:
        """`lane` names the process among those that share the folder, and is the same after a restart."""
        self._folder = folder
        self._path = folder / f"lane-{lane}.json"
        self._book = BanBook(_read(self._path, list[Ban]) or (), trusted)
        self._seen: dict[Path, Stamp | None] = {}
        self._others: dict[Path, list[Ban]] = {}
        self._clears = Clears()
        self._is_behind = False
        self._said = False
        self._look()

    def until(self, address: str, now: int) -> int:
        """When the ban on a peer's address ends (Unix ms); 0 when there is none."""
        return self._book.until(address, now)

    def strike(self, address: str, now: int, rule: BanRule, reason: str) -> int:
        """A connection of the address had to be ended; when the ban this brings ends, 0 when it brings none."""
        ban = self._book.strike(address, now, rule, reason)
        if ban is None:
            return 0
        self._is_behind = True
        log.warning(
            "%s is banned for %d s (%s; %d strikes, ban %d in a row)",
            ban.address,
            (ban.until - ban.since) // 1000,
            ban.reason,
            ban.strikes,
            ban.times,
        )
        return ban.until

    def trust(self, networks: tuple[Network, ...]) -> None:
        """From now on these networks, and no others but this machine, are never banned."""
        self._book.trusted = networks

    def refresh(self, now: int) -> None:
        """Write what is new, and read what the other lanes and the operator wrote since."""
        self._look()
        if not self._is_behind:
            return
        try:
            _write(self._path, self._book.own(now))
        except OSError as error:
            if not self._said:  # a disk may be full for hours
                log.error("the bans can't be written to %s, trying again: %s", self._path, error)
                self._said = True
        else:
            self._is_behind = self._said = False

    def _look(self) -> None:
        others = [path for path in _lane_files(self._folder) if path != self._path]
        cleared = self._folder / CLEARED
        stamps = {path: _stamp(path) for path in (cleared, *others)}
        if stamps == self._seen:
            return
        for path in others:
            if stamps[path] != self._seen.get(path):
                self._others[path] = _read(path, list[Ban]) or []
        self._others = {path: self._others[path] for path in others}
        if stamps[cleared] != self._seen.get(cleared):
            self._clears = _read(cleared, Clears) or Clears()
        self._seen = stamps
        lifted = self._book.learn((ban for bans in self._others.values() for ban in bans), self._clears)
        self._is_behind = self._is_behind or lifted


def bans_in(folder: Path, now: int) -> list[Ban]:
    """The bans of all lanes that are in force, the first to end first; the pool need not run."""
    return in_force(_all(folder), _read(folder / CLEARED, Clears) or Clears(), now)


def clear_bans(folder: Path, address: str | None, now: int) -> list[Ban]:
    """Lift the ban of a household, or all (None): running lanes see it at their next look. The bans lifted.

    Raises OSError when it can't be written.
    """
    before = bans_in(folder, now)
    clears = _read(folder / CLEARED, Clears) or Clears()
    _write(folder / CLEARED, clears.add(address, now))
    return [ban for ban in before if address is None or ban.address == address]


def _all(folder: Path) -> Iterable[Ban]:
    for path in _lane_files(folder):
        yield from _read(path, list[Ban]) or ()
