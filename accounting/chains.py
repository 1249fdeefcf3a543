"""One chain of one key: events numbered from 0, each naming the one before (SPEC.md, "Keys, terms, chains").

Events come in any order; they leave in the chain's. Whatever the order, the same events leave, unless the chain forks:
then the branch read first stands, and both are named. A chain whose end is known before it is read (the terms closed
it) has one line, the one that leads to its end, whatever is read first.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from accounting.findings import Code, Finding, finding
from accounting.shelves import MemoryShelf, Shelf
from nips.pool.chain import Head, Link


class Linked(Protocol):
    """An event of a chain."""

    @property
    def id(self) -> str:
        """The event's id."""

    @property
    def link(self) -> Link:
        """Its place."""

    @property
    def created_at(self) -> int:
        """Its date, Unix seconds."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """An event that only takes its place: of a kind whose content this version does not read."""

    id: str
    link: Link
    created_at: int


class Waiting(NamedTuple):
    """An event that has not had its turn: what its place depends on; the event itself is on a shelf."""

    prev: str | None
    created_at: int


T = TypeVar("T", bound=Linked)


@dataclass(slots=True)
class Chain(Generic[T]):
    """`name` is `<pubkey>/<chain>`. `ids` has the id of each accepted event by `<name>/<seq>`, `held` by id the events
    that have not had their turn; both may be shared with other chains.

    `accepted` counts the former; `waiting` says what waits, by seq and id. `broken` is the lowest seq after which
    something is missing or wrong; None while the chain is whole. `by_line`: take nothing before the way to the end is
    read (a revoked key's chain, which its thief may have forked below the end); `line`: the ids of that way.
    """

    name: str
    report: Callable[[Finding], None]
    head: Head | None = None
    created_at: int = 0
    ids: Shelf[str] = field(default_factory=MemoryShelf)
    held: Shelf[T] = field(default_factory=MemoryShelf)
    accepted: int = 0
    waiting: dict[int, dict[str, Waiting]] = field(default_factory=dict)
    closed: Head | None = None
    by_line: bool = False
    broken: int | None = None
    line: frozenset[str] | None = None

    @property
    def pubkey(self) -> str:
        """The chain's key."""
        return self.name.partition("/")[0]

    @property
    def waiting_ids(self) -> list[str]:
        """The ids of what has not had its turn."""
        return [event for due in self.waiting.values() for event in due]

    @property
    def next_seq(self) -> int:
        """The number of the event that is due."""
        return 0 if self.head is None else self.head.seq + 1

    def accepted_id(self, seq: int) -> str | None:
        """The id of the accepted event of that number."""
        if self.head is None or seq > self.head.seq:
            return None
        return self.ids.get(self._key(seq))

    def has_accepted(self, event: str) -> bool:
        """Whether an event was accepted, by id: looks at all of them."""
        return any(known == event for _, known in self.ids.scan(f"{self.name}/", f"{self.name}0"))

    def put(self, event: T) -> None:
        """Take an event in. What lies beyond a closed chain's end is void, whatever its date."""
        seq = event.link.seq
        if self._is_void(seq, event.id):
            self._report_void(seq, event.id)
            return
        accepted = self.accepted_id(seq)
        if accepted is not None:
            if accepted != event.id:
                self._report_fork(seq, accepted, event.id)
            return
        self.waiting.setdefault(seq, {})[event.id] = Waiting(event.link.prev, event.created_at)
        self.held[event.id] = event

    def close(self, end: Head, *, by_line: bool = False) -> bool:
        """Set the chain's end. False if more than that, or another event there, was accepted before."""
        self.by_line = by_line and (self.head is None or self.head.seq < end.seq)
        if self.closed is not None and self.closed.seq <= end.seq:
            return True
        self.closed = end
        for seq in sorted(self.waiting):
            for event in list(self.waiting[seq]):
                if self._is_void(seq, event):
                    self._drop(seq, event)
                    self._report_void(seq, event)
        at_end = self.accepted_id(end.seq)
        return at_end in (None, end.id) and (self.head is None or self.head.seq <= end.seq)

    @property
    def is_ended(self) -> bool:
        """Whether the chain is closed and all of it was read."""
        end = self.closed
        return end is not None and (end.seq < 0 or (self.head is not None and self.head.seq >= end.seq))

    def peek(self) -> T | None:
        """The event that is due, if it was read and names the one before."""
        due = self.waiting.get(self.next_seq)
        if due is None:
            return None
        expected = None if self.head is None else self.head.id
        fitting = [event for event, told in due.items() if told.prev == expected]
        if not fitting or (self.by_line and not self._find_line()):
            return None
        return self.held[min(fitting, key=lambda event: self._rank(self.next_seq, event))]

    def take(self, event: T) -> None:
        """Accept the event that `peek` or `skip_to` named."""
        seq = event.link.seq
        if self.head is not None and event.created_at < self.created_at:
            text = f"{self.name} {seq} is dated {event.created_at}, after {self.created_at}"
            self.report(finding(Code.BACKDATED, text, self.head.id, event.id))
        for other in sorted(self.waiting.get(seq, ())):
            if other != event.id:
                self._report_fork(seq, event.id, other)
            self._drop(seq, other)
        self.head = Head(seq, event.id)
        self.created_at = max(self.created_at, event.created_at)
        self.ids[self._key(seq)] = event.id
        self.accepted += 1

    def obstacle(self) -> Finding | None:
        """What keeps everything that waits from its turn, as far as the chain itself goes; None if nothing does."""
        if not self.waiting or self.peek() is not None or self.by_line:
            return None
        seq = min(self.waiting)
        event = min(self.waiting[seq], key=lambda event: self._rank(seq, event))
        before = () if self.head is None else (self.head.id,)
        if seq > self.next_seq:
            return finding(Code.GAP, f"{self.name} lacks {self.next_seq} to {seq - 1}", *before, event)
        text = f"{self.name} {seq} names {self.waiting[seq][event].prev or 'nothing'} as the event before it"
        return finding(Code.BROKEN_CHAIN, text, *before, event)

    def skip_to(self) -> T | None:
        """The lowest event still waiting, past what is missing, which is reported; None if nothing waits."""
        found = self.obstacle()
        if found is None:
            return None
        self.report(found)
        if self.broken is None:
            self.broken = self.next_seq
        return self.held[found.events[-1]]

    def give_up_line(self) -> None:
        """There is no more to read: go on without knowing the way to the end."""
        self._find_line()
        self.by_line = False

    def _find_line(self) -> bool:
        """Walk from the closed end back to what was accepted; whether all between is read."""
        if self.line is not None:
            return True
        end = self.closed
        if end is None or end.seq < self.next_seq:
            return True
        line, due = set(), end.id
        for seq in range(end.seq, self.next_seq - 1, -1):
            told = self.waiting.get(seq, {}).get(due)
            if told is None or (told.prev is None and seq > 0):
                return False
            line.add(due)
            due = told.prev or ""
        self.line = frozenset(line)
        return True

    def _drop(self, seq: int, event: str) -> None:
        due = self.waiting[seq]
        del due[event]
        if not due:
            del self.waiting[seq]
        del self.held[event]

    def _key(self, seq: int) -> str:
        return f"{self.name}/{seq:016d}"

    def _rank(self, seq: int, event: str) -> tuple[bool, bool, int, str]:
        # Of a fork's branches the one that leads to the closed end is taken, else one that goes on, else the older.
        followed = any(late.prev == event for late in self.waiting.get(seq + 1, {}).values())
        off_line = self.line is not None and event not in self.line
        return (off_line, not followed, self.waiting[seq][event].created_at, event)

    def _is_void(self, seq: int, event: str) -> bool:
        end = self.closed
        return end is not None and (seq, event) != end and seq >= end.seq

    def _report_void(self, seq: int, event: str) -> None:
        assert self.closed is not None
        if self.closed.seq < 0:
            self.report(finding(Code.CLOSED_CHAIN, f"{self.name} {seq} is of a chain that never began", event))
            return
        text = f"{self.name} {seq} lies beyond the chain's end at {self.closed.seq}"
        self.report(finding(Code.CLOSED_CHAIN, text, self.closed.id, event))

    def _report_fork(self, seq: int, accepted: str, other: str) -> None:
        text = f"{self.name} has two events numbered {seq}"
        self.report(finding(Code.FORK, text, *sorted((accepted, other)), key=self.pubkey))
