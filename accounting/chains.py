"""One chain of one key: events numbered from 0, each naming the one before (SPEC.md, "Keys, terms, chains").

Events come in any order; they leave in the chain's. Whatever the order, the same events leave, unless the chain forks:
then the branch read first stands, and both are named.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from accounting.findings import Code, Finding, finding
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


T = TypeVar("T", bound=Linked)


@dataclass(slots=True)
class Chain(Generic[T]):
    """`name` is `<pubkey>/<chain>`. `ids` holds what was accepted, `waiting` what has not had its turn.

    `broken` is the lowest seq after which something is missing or wrong; None while the chain is whole.
    """

    name: str
    report: Callable[[Finding], None]
    head: Head | None = None
    created_at: int = 0
    ids: dict[int, str] = field(default_factory=dict)
    waiting: dict[int, dict[str, T]] = field(default_factory=dict)
    closed: Head | None = None
    broken: int | None = None

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

    def put(self, event: T) -> None:
        """Take an event in. What lies beyond a closed chain's end is void, whatever its date."""
        if self._is_void(event):
            self._report_void(event)
        elif event.link.seq in self.ids:
            if self.ids[event.link.seq] != event.id:
                self._report_fork(event.link.seq, self.ids[event.link.seq], event.id)
        else:
            self.waiting.setdefault(event.link.seq, {})[event.id] = event

    def close(self, end: Head) -> bool:
        """Set the chain's end. False if more than that, or another event there, was accepted before."""
        if self.closed is not None and self.closed.seq <= end.seq:
            return True
        self.closed = end
        for seq in sorted(self.waiting):
            for event in list(self.waiting[seq].values()):
                if self._is_void(event):
                    del self.waiting[seq][event.id]
                    self._report_void(event)
            if not self.waiting[seq]:
                del self.waiting[seq]
        return self.ids.get(end.seq, end.id) == end.id and (self.head is None or self.head.seq <= end.seq)

    @property
    def is_ended(self) -> bool:
        """Whether the chain is closed and all of it was read."""
        return self.closed is not None and self.head is not None and self.head.seq >= self.closed.seq

    def peek(self) -> T | None:
        """The event that is due, if it was read and names the one before."""
        due = self.waiting.get(self.next_seq)
        if due is None:
            return None
        expected = None if self.head is None else self.head.id
        fitting = [event for event in due.values() if event.link.prev == expected]
        return min(fitting, key=self._rank) if fitting else None

    def take(self, event: T) -> None:
        """Accept the event that `peek` or `skip_to` named."""
        if self.head is not None and event.created_at < self.created_at:
            text = f"{self.name} {event.link.seq} is dated {event.created_at}, after {self.created_at}"
            self.report(finding(Code.BACKDATED, text, self.head.id, event.id))
        for other in sorted(self.waiting.pop(event.link.seq, {})):
            if other != event.id:
                self._report_fork(event.link.seq, event.id, other)
        self.head = Head(event.link.seq, event.id)
        self.created_at = max(self.created_at, event.created_at)
        self.ids[event.link.seq] = event.id

    def skip_to(self) -> T | None:
        """The lowest event still waiting, past what is missing, which is reported; None if nothing waits."""
        if not self.waiting:
            return None
        seq = min(self.waiting)
        event = min(self.waiting[seq].values(), key=self._rank)
        before = () if self.head is None else (self.head.id,)
        if seq > self.next_seq:
            text = f"{self.name} lacks {self.next_seq} to {seq - 1}"
            self.report(finding(Code.GAP, text, *before, event.id))
        else:
            text = f"{self.name} {seq} names {event.link.prev or 'nothing'} as the event before it"
            self.report(finding(Code.BROKEN_CHAIN, text, *before, event.id))
        if self.broken is None:
            self.broken = self.next_seq
        return event

    def _rank(self, event: T) -> tuple[bool, int, str]:
        # Of a fork's branches the one that goes on is taken, else the older; by id when all is equal.
        followed = any(late.link.prev == event.id for late in self.waiting.get(event.link.seq + 1, {}).values())
        return (not followed, event.created_at, event.id)

    def _is_void(self, event: T) -> bool:
        end = self.closed
        return end is not None and (event.link.seq, event.id) != end and event.link.seq >= end.seq

    def _report_void(self, event: T) -> None:
        assert self.closed is not None
        text = f"{self.name} {event.link.seq} lies beyond the chain's end at {self.closed.seq}"
        self.report(finding(Code.CLOSED_CHAIN, text, self.closed.id, event.id))

    def _report_fork(self, seq: int, accepted: str, other: str) -> None:
        text = f"{self.name} has two events numbered {seq}"
        self.report(finding(Code.FORK, text, *sorted((accepted, other))))
