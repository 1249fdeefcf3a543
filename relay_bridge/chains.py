"""Chains of events as the bridge sees them: what is missing, what exists twice. What the events mean it does not know:
a `ChainOf` of the composition root says where an event stands.

Memory is bounded: runs of numbers without a gap are kept as their two ends, and the ids behind numbers for the newest
only, so that a fork of something old is for verifiers to find.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nips.nip01 import Event, Filter, VerifiedEvent

# Ids remembered a chain, to see a second event with the same number: 10,000 batches are a day at ten seconds each.
REMEMBERED = 10_000
# Runs a chain may fall into. An honest one has a few gaps at most; a signer that leaves more gets its oldest joined.
MAX_RUNS = 1_000
# Chains watched at a time: lanes of edges, terms, accounting, payouts. A key of the pool that opens more is broken.
MAX_CHAINS = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event stands: its chain, its number there from 0, and the id it names as the one before. `kinds`: all
    kinds of events that the chain may hold, None if that is not known: who asks for some of them only sees no gaps."""

    chain: str
    seq: int
    prev: str | None
    kinds: frozenset[int] | None = None


ChainOf = Callable[[Event], Place | None]


def seen_whole(chain_of: ChainOf, filters: Sequence[Filter]) -> ChainOf:
    """The places of those events whose chain a reader of these filters gets whole, with all its kinds."""

    def place(event: Event) -> Place | None:
        found = chain_of(event)
        if found is None or found.kinds is None:
            return found
        for asked in filters:
            if asked.ids is None and (asked.kinds is None or found.kinds <= asked.kinds) and asked.matches(event):
                return found
        return None

    return place


@dataclass(frozen=True, slots=True)
class Fork:
    """Two events of one author have the same chain and number: nobody may do that. `ids` are both, sorted."""

    chain: str
    seq: int
    ids: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers `first` to `last` of an author's chain were not seen so far. `last_id` is the id of the last of them, if
    its successor names it; they were created from `since` to `until` (Unix seconds, None: not known)."""

    chain: str
    first: int
    last: int
    last_id: str | None
    since: int | None
    until: int
    author: str


@dataclass(slots=True)
class _Run:
    """Numbers seen without a gap, and what stands at both ends."""

    first: int
    first_prev: str | None
    first_at: int
    last: int
    last_at: int


@dataclass(slots=True)
class _Chain:
    author: str
    runs: list[_Run] = field(default_factory=list)
    ids: OrderedDict[int, str] = field(default_factory=OrderedDict)


class ChainWatch:
    """What was seen of all chains. `whole`: chains are expected from their beginning on."""

    def __init__(self, chain_of: ChainOf, *, whole: bool = True) -> None:
        self._chain_of = chain_of
        self._whole = whole
        self._chains: dict[str, _Chain] = {}

    def see(self, event: Event) -> Fork | None:
        """Note an event; the fork it proves, if it does."""
        place = self._chain_of(event)
        if place is None:
            return None
        chain = self._chains.get(place.chain)
        if chain is None:
            if len(self._chains) >= MAX_CHAINS:
                return None
            chain = self._chains[place.chain] = _Chain(event.pubkey)
        fork = self._fork(chain, place, event.id)
        if place.seq not in chain.ids:
            chain.ids[place.seq] = event.id
            if len(chain.ids) > REMEMBERED:
                chain.ids.popitem(last=False)
        _extend(chain.runs, place, event.created_at)
        return fork

    @staticmethod
    def _fork(chain: _Chain, place: Place, event_id: str) -> Fork | None:
        other = chain.ids.get(place.seq)
        if other is not None and other != event_id:
            low, high = sorted((other, event_id))
            return Fork(place.chain, place.seq, (low, high))
        before = chain.ids.get(place.seq - 1)
        if before is not None and place.prev is not None and place.prev != before:
            # It follows another event of that number, one that we have not seen.
            low, high = sorted((before, place.prev))
            return Fork(place.chain, place.seq - 1, (low, high))
        return None

    def gaps(self) -> list[Gap]:
        """What is missing now, the oldest of each chain first."""
        found = []
        for name, chain in self._chains.items():
            first = chain.runs[0]
            if self._whole and first.first > 0:
                found.append(Gap(name, 0, first.first - 1, first.first_prev, None, first.first_at, chain.author))
            for left, right in zip(chain.runs, chain.runs[1:], strict=False):
                found.append(
                    Gap(
                        name,
                        left.last + 1,
                        right.first - 1,
                        right.first_prev,
                        left.last_at,
                        right.first_at,
                        chain.author,
                    )
                )
        return found

    def heads(self) -> dict[str, int]:
        """By chain: up to which number it was seen without a gap."""
        return {name: chain.runs[0].last for name, chain in self._chains.items()}

    def place(self, event: Event) -> Place | None:
        """Where an event stands."""
        return self._chain_of(event)

    def snapshot(self) -> list[list[Any]]:
        """The state as plain values, for `restore`; ids behind numbers are left out but for the last of each run."""
        return [
            [
                name,
                chain.author,
                [[run.first, run.first_prev, run.first_at, run.last, run.last_at] for run in chain.runs],
                [[run.last, chain.ids[run.last]] for run in chain.runs if run.last in chain.ids],
            ]
            for name, chain in self._chains.items()
        ]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Take up what a `snapshot` says."""
        for name, author, runs, ids in state:
            self._chains[name] = _Chain(
                author, [_Run(*run) for run in runs], OrderedDict((seq, id_) for seq, id_ in ids)
            )


def _extend(runs: list[_Run], place: Place, created_at: int) -> None:
    """Put a number into the runs."""
    at = bisect_right(runs, place.seq, key=lambda run: run.first)
    if at and place.seq <= runs[at - 1].last:
        return
    joins_left = at > 0 and runs[at - 1].last == place.seq - 1
    joins_right = at < len(runs) and runs[at].first == place.seq + 1
    if joins_left and joins_right:
        left, right = runs[at - 1], runs.pop(at)
        left.last, left.last_at = right.last, right.last_at
    elif joins_left:
        runs[at - 1].last, runs[at - 1].last_at = place.seq, created_at
    elif joins_right:
        run = runs[at]
        run.first, run.first_prev, run.first_at = place.seq, place.prev, created_at
    else:
        runs.insert(at, _Run(place.seq, place.prev, created_at, place.seq, created_at))
        if len(runs) > MAX_RUNS:
            second = runs.pop(1)
            runs[0].last, runs[0].last_at = second.last, second.last_at


class ChainOrder:
    """Holds back events that came before the one they follow, for a while.

    An event whose predecessor never comes is let go with `overdue`, so that a gap delays a reader and never stops it.
    """

    def __init__(self, chain_of: ChainOf, *, hold_ms: int, most: int) -> None:
        self._chain_of = chain_of
        self._hold_ms = hold_ms
        self._most = most
        # By chain: the highest number handed out, and what waits by number.
        self._next: dict[str, int] = {}
        self._held: dict[str, dict[int, tuple[int, VerifiedEvent]]] = {}
        self._count = 0

    def begin(self, heads: Mapping[str, int]) -> None:
        """Chains that were handed out up to these numbers before."""
        for chain, seq in heads.items():
            self._next[chain] = max(self._next.get(chain, 0), seq + 1)

    def passed(self, event: VerifiedEvent) -> None:
        """The event was handed out by another way (stored ones, sorted)."""
        place = self._chain_of(event)
        if place is not None:
            self._next[place.chain] = max(self._next.get(place.chain, 0), place.seq + 1)

    def push(self, event: VerifiedEvent, now_ms: int) -> list[VerifiedEvent]:
        """What can be handed out now that this one is here, in order."""
        place = self._chain_of(event)
        if place is None or place.seq <= self._next.get(place.chain, 0):
            return self._let_go(event, place)
        held = self._held.setdefault(place.chain, {})
        if place.seq not in held:
            self._count += 1
            held[place.seq] = (now_ms, event)
        return self.overdue(now_ms + self._hold_ms) if self._count > self._most else []

    def _let_go(self, event: VerifiedEvent, place: Place | None) -> list[VerifiedEvent]:
        out = [event]
        if place is None:
            return out
        following = max(self._next.get(place.chain, 0), place.seq + 1)
        held = self._held.get(place.chain, {})
        while following in held:
            out.append(held.pop(following)[1])
            self._count -= 1
            following += 1
        self._next[place.chain] = following
        if not held:
            self._held.pop(place.chain, None)
        return out

    def overdue(self, now_ms: int) -> list[VerifiedEvent]:
        """What has waited too long, with what follows it."""
        out: list[VerifiedEvent] = []
        for chain in list(self._held):
            held = self._held.get(chain, {})
            while held:
                seq = min(held)
                if now_ms - held[seq][0] < self._hold_ms:
                    break
                event = held.pop(seq)[1]
                self._count -= 1
                self._next[chain] = seq
                out += self._let_go(event, Place(chain, seq, None))
            if not held:
                self._held.pop(chain, None)
        return out

    @property
    def held(self) -> int:
        """How many events wait."""
        return self._count
