"""Which statements come before another one, and what they hold: so that no share is paid twice by `prop` or a period
(SPEC.md, "Other schemes").
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from accounting.schemes.held import Bound, Held
from accounting.shelves import MemoryShelves, Shelf, Shelves
from nips.pool.statement import ORPHANED, VOID, RewardStatus, Statement


@dataclass(frozen=True, slots=True)
class Stated:
    """What is kept of a statement: of which line, its end (Unix ms), how many were read before it, who signed it, up to
    which batch it names each lane; the newest status that each key gave it, and the date (Unix s) of the one that made
    it void.
    """

    line: str
    end_ms: int
    number: int
    signer: str
    heads: dict[str, int]
    statuses: dict[str, str] = field(default_factory=dict)
    voided_s: int = 0

    def stands(self, signer: str, closed: Set[str]) -> bool:
        """Whether it is neither orphaned nor void, as far as a key's chain and those closed before it tell."""
        own = self.statuses.get(signer)
        told = {own} if own is not None else {status for key, status in self.statuses.items() if key in closed}
        return not told & {ORPHANED, VOID}


class _Place(NamedTuple):
    end_ms: int
    number: int
    id: str


@dataclass(slots=True)
class _Sum:
    """Bounds by what stands before `end_ms`."""

    end_ms: int = 0
    bounds: dict[str, Bound] = field(default_factory=dict)


def line_of(statement: Statement) -> str:
    """The line a statement stands in: its offer's rewards of one type."""
    return f"{statement.reward.type} {statement.offer}"


class Earlier:
    """The statements by line and end. They are entered in their chains' order, each before any status of it."""

    def __init__(self, shelves: Shelves | None = None) -> None:
        shelves = shelves or MemoryShelves()
        self._stated: Shelf[Stated] = shelves.open("stated")
        # What stood before a statement when it took its place.
        self._snapshots: Shelf[dict[str, tuple[int, int]]] = shelves.open("held before")
        self._lines: dict[str, list[_Place]] | None = None
        # By line the ends of statements that are void and were not made again, and the dates of what made them so.
        self._voided: dict[str, dict[int, int]] = {}
        self._sums: dict[tuple[str, str, frozenset[str]], _Sum] = {}

    def add(self, statement: Statement) -> None:
        """Enter a statement."""
        if statement.id in self._stated:
            return
        heads = {lane: head.seq for lane, head in statement.window.heads.items()}
        end_ms = statement.reward.end_ms
        stated = Stated(line_of(statement), end_ms, len(self._stated), statement.signer, heads)
        lines = self._by_line()
        self._stated[statement.id] = stated
        insort(lines.setdefault(stated.line, []), _Place(end_ms, stated.number, statement.id))
        self._voided.get(stated.line, {}).pop(end_ms, None)
        self._forget(stated)

    def add_status(self, status: RewardStatus) -> None:
        """Enter a status of a statement that was entered, and could be given."""
        stated = self._stated.get(status.statement)
        if stated is not None:
            statuses = {**stated.statuses, status.signer: status.status}
            self._by_line()
            voided_s = status.created_at if status.status == VOID else stated.voided_s
            self._stated[status.statement] = replace(stated, statuses=statuses, voided_s=voided_s)
            if status.status == VOID:
                self._voided.setdefault(stated.line, {})[stated.end_ms] = voided_s
            self._forget(stated)

    def voided(self, line: str) -> int | None:
        """The first end (Unix ms) of a line whose statement is void and that none has taken the place of."""
        found = self.voided_since(line)
        return None if found is None else found[0]

    def voided_since(self, line: str) -> tuple[int, int] | None:
        """That end, and the date (Unix s) of the status that made its statement void."""
        self._by_line()
        return min(self._voided.get(line, {}).items(), default=None)

    def held(self, line: str, end_ms: int, signer: str, closed: frozenset[str]) -> Held:
        """What is held before a statement of that line and end, by this key; `closed`: keys whose chains come first."""
        key = (line, signer, closed)
        known = self._sums.get(key)
        if known is None or known.end_ms > end_ms:
            known = self._sums[key] = _Sum()
        for stated in self._between(line, known.end_ms, end_ms):
            if (stated.signer == signer or stated.signer in closed) and stated.stands(signer, closed):
                known.bounds.update({lane: Bound(seq, stated.end_ms) for lane, seq in stated.heads.items()})
        known.end_ms = end_ms
        return Held(dict(known.bounds))

    def last_end(self, line: str, signer: str, closed: frozenset[str]) -> int:
        """The greatest end in a line of what stands (Unix ms); 0 if nothing does."""
        for place in reversed(self._by_line().get(line, [])):
            stated = self._stated[place.id]
            if (stated.signer == signer or stated.signer in closed) and stated.stands(signer, closed):
                return stated.end_ms
        return 0

    def keep_snapshot(self, statement: str, held: Held) -> None:
        """Remember what was held before a statement, for whoever asks when more was read."""
        self._snapshots[statement] = {lane: (bound.seq, bound.end_ms) for lane, bound in held.bounds.items()}

    def snapshot(self, statement: str) -> Held:
        """What was held before a statement when it took its place; nothing if it counts whatever was."""
        return Held({lane: Bound(*bound) for lane, bound in self._snapshots.get(statement, {}).items()})

    def _by_line(self) -> dict[str, list[_Place]]:
        if self._lines is None:
            self._lines = {}
            for name, stated in self._stated.scan():
                self._lines.setdefault(stated.line, []).append(_Place(stated.end_ms, stated.number, name))
                if VOID in stated.statuses.values():
                    self._voided.setdefault(stated.line, {})[stated.end_ms] = stated.voided_s
            for line, places in self._lines.items():
                places.sort()
                standing = (self._stated[place.id] for place in places)
                for stated in standing:
                    if VOID not in stated.statuses.values():
                        self._voided.get(line, {}).pop(stated.end_ms, None)
        return self._lines

    def _between(self, line: str, from_ms: int, to_ms: int) -> Iterator[Stated]:
        places = self._by_line().get(line, [])
        first, last = bisect_left(places, (from_ms,)), bisect_left(places, (to_ms,))
        return (self._stated[place.id] for place in places[first:last])

    def _forget(self, changed: Stated) -> None:
        for key, known in list(self._sums.items()):
            if key[0] == changed.line and known.end_ms > changed.end_ms:
                del self._sums[key]
