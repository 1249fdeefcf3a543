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

    @property
    def offer(self) -> str:
        """The offer whose line it is."""
        return self.line.partition(" ")[2]

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
        # By line the ends of statements that are void, and the date of what made the last one of each so.
        self._voided: dict[str, dict[int, int]] = {}
        self._sums: dict[tuple[str, str, frozenset[str]], _Sum] = {}

    def add(self, statement: Statement) -> None:
        """Enter a statement."""
        if statement.id in self._stated:
            return
        heads = {lane: head.seq for lane, head in statement.window.heads.items()}
        end_ms = statement.reward.end_ms
        lines = self._by_line()
        # As many as stand by line: a shelf on disk counts all of its rows to tell.
        number = sum(map(len, lines.values()))
        stated = Stated(line_of(statement), end_ms, number, statement.signer, heads)
        self._stated[statement.id] = stated
        insort(lines.setdefault(stated.line, []), _Place(end_ms, stated.number, statement.id))
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
                self._note_void(stated.line, stated.end_ms, voided_s)
            self._forget(stated)

    def voided(self, line: str, signer: str, closed: Set[str]) -> Iterator[tuple[int, int]]:
        """The ends (Unix ms) of a line whose statement is void and that have none which stands, each with the date of
        the status that made it so (Unix s); but for those whose work one that ends later counts, since it held nothing
        of them.
        """
        places = self._by_line().get(line, [])
        for end_ms, second in sorted(self._voided.get(line, {}).items()):
            following = (
                place
                for place in places[bisect_left(places, (end_ms,)) :]
                if self._stands(self._stated[place.id], signer, closed)
            )
            place = next(following, None)
            if place is None or (place.end_ms > end_ms and self.last_held(place.id) >= end_ms):
                yield end_ms, second

    def stands_at(self, line: str, end_ms: int, signer: str, closed: Set[str]) -> bool:
        """Whether a statement of that end stands."""
        return any(self._stands(stated, signer, closed) for stated in self._between(line, end_ms, end_ms + 1))

    def held(self, line: str, end_ms: int, signer: str, closed: frozenset[str]) -> Held:
        """What is held before a statement of that line and end, by this key; `closed`: keys whose chains come first."""
        key = (line, signer, closed)
        known = self._sums.get(key)
        if known is None or known.end_ms > end_ms:
            known = self._sums[key] = _Sum()
        for stated in self._between(line, known.end_ms, end_ms):
            if self._stands(stated, signer, closed):
                known.bounds.update({lane: Bound(seq, stated.end_ms) for lane, seq in stated.heads.items()})
        known.end_ms = end_ms
        return Held(dict(known.bounds))

    def last_end(self, line: str, signer: str, closed: frozenset[str]) -> int:
        """The greatest end in a line of what stands (Unix ms); 0 if nothing does."""
        for place in reversed(self._by_line().get(line, [])):
            stated = self._stated[place.id]
            if self._stands(stated, signer, closed):
                return stated.end_ms
        return 0

    def keep_snapshot(self, statement: str, held: Held) -> None:
        """Remember what was held before a statement, for whoever asks when more was read."""
        self._snapshots[statement] = {lane: (bound.seq, bound.end_ms) for lane, bound in held.bounds.items()}

    def snapshot(self, statement: str) -> Held:
        """What was held before a statement when it took its place; nothing if it counts whatever was."""
        return Held({lane: Bound(*bound) for lane, bound in self._snapshots.get(statement, {}).items()})

    def lines(self) -> list[str]:
        """All lines."""
        return sorted(self._by_line())

    def counting(self, line: str) -> list[str]:
        """The statements of a line that count what none before them held, by id, the lowest end first."""
        return [place.id for place in self._by_line().get(line, []) if place.id in self._snapshots]

    def stated(self, statement: str) -> Stated:
        """What is kept of a statement that was entered."""
        return self._stated[statement]

    @staticmethod
    def _stands(stated: Stated, signer: str, closed: Set[str]) -> bool:
        return (stated.signer == signer or stated.signer in closed) and stated.stands(signer, closed)

    def last_held(self, statement: str) -> int:
        """The greatest end (Unix ms) of what a statement held when it took its place; 0 if it held nothing."""
        return max((end_ms for _, end_ms in self._snapshots.get(statement, {}).values()), default=0)

    def _note_void(self, line: str, end_ms: int, second: int) -> None:
        known = self._voided.setdefault(line, {})
        known[end_ms] = max(second, known.get(end_ms, 0))

    def _by_line(self) -> dict[str, list[_Place]]:
        if self._lines is None:
            self._lines = {}
            for name, stated in self._stated.scan():
                self._lines.setdefault(stated.line, []).append(_Place(stated.end_ms, stated.number, name))
                if stated.voided_s:
                    self._note_void(stated.line, stated.end_ms, stated.voided_s)
            for places in self._lines.values():
                places.sort()
        return self._lines

    def _between(self, line: str, from_ms: int, to_ms: int) -> Iterator[Stated]:
        places = self._by_line().get(line, [])
        first, last = bisect_left(places, (from_ms,)), bisect_left(places, (to_ms,))
        return (self._stated[place.id] for place in places[first:last])

    def _forget(self, changed: Stated) -> None:
        for key, known in list(self._sums.items()):
            if key[0] == changed.line and known.end_ms > changed.end_ms:
                del self._sums[key]
