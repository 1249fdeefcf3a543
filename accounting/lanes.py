"""Lanes: an edge's numbered chains of batches, and where a reward cuts them (SPEC.md, "4212", "4214")."""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, overload

from accounting.chains import Chain
from accounting.checks import Known
from accounting.schemes.held import Bound
from accounting.shares import CheckedShares, SharesHead, unpack_head, unpack_shares
from accounting.shelves import MemoryShelves, Shelf, Shelves
from accounting.spans import FAN, MAX_LEVEL, WIDEST, SpanRow, Spans, level_of, unpack_row
from accounting.sums import Sums, join_sums, sum_up
from accounting.tally import Tally, tally_of
from nips.pool.chain import Head
from nips.pool.receipt import Receipt

# A lane's newest batches are kept at hand: ten minutes of them, as long as a job lives and a statement may take.
HOT_MS = 600_000
# The first batch of a lane is asked for its time again and again, never for its shares.
NO_SHARES = CheckedShares(array("q"), array("I"), array("H"), array("B"), (), ()).pack()
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")


class LaneKey(NamedTuple):
    """A lane: its edge's key in hex, its number. Sorts as the order of shares asks."""

    edge: str
    number: int

    def __str__(self) -> str:
        return f"{self.edge}/{self.number}"


@dataclass(slots=True)
class Batch:
    """A receipt in its lane: window in Unix ms, created_at in s; `data`: its good shares, packed. `digest`: of its
    check (accounting.checks), empty if what is kept of it is not this.
    """

    seq: int
    id: str
    from_ms: int
    to_ms: int
    created_at: int
    data: bytes
    digest: bytes = b""
    # The row kept of the spans that end with it, until it is put away.
    span: bytes | None = field(default=None, init=False, compare=False, repr=False)
    _shares: CheckedShares | None = field(default=None, init=False, compare=False, repr=False)
    _tally: Tally | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def head(self) -> SharesHead:
        """Its shares in short."""
        return unpack_head(self.data)

    @property
    def shares(self) -> CheckedShares:
        """Its good shares, which stay at hand."""
        if self._shares is None:
            self._shares = unpack_shares(self.data)
        return self._shares

    @property
    def tally(self) -> Tally:
        """What it counts in a window that holds all of it; it stays at hand."""
        if self._tally is None:
            self._tally = self.count()
        return self._tally

    def take(self, shares: CheckedShares) -> None:
        """Sum it up by its shares, which are at hand now: a window may soon ask for it."""
        self._tally = tally_of(self.from_ms, self.to_ms, shares)

    def count(self) -> Tally:
        """The same, made for once."""
        return self._tally or tally_of(self.from_ms, self.to_ms, self.read())

    def read(self) -> CheckedShares:
        """Its good shares, for one look at them."""
        return self._shares or unpack_shares(self.data)

    def sums(self) -> Sums:
        """What statistics count of it."""
        return sum_up(self.to_ms, self.read())

    def rest(self) -> None:
        """Let go of what can be read again."""
        self.span = self._shares = self._tally = None


class Keeper(Protocol):
    """Who keeps rows of spans beside the log."""

    def keep(self, receipt: str, row: bytes) -> None:
        """Keep the row of the spans that end with a batch."""

    def found(self, lane: str, position: int, sums: Sums | None) -> None:
        """A widest span's batches, up to the one at a position, were put away; their sums, if these were kept."""


class Batches(Sequence[Batch]):
    """A lane's batches in the chain's order: the newest at hand, the others on a shelf, and by `spans` summed up."""

    def __init__(self, lane: str = "", shelves: Shelves | None = None, keeper: Keeper | None = None) -> None:
        shelves = shelves or MemoryShelves()
        self._lane = lane
        self._keeper = keeper
        self._shelf: Shelf[Batch] = shelves.open("batches")
        self.spans = Spans(lane, shelves)
        # `<lane>/<position>` by receipt, of all lanes.
        self._positions: Shelf[str] = shelves.open("positions")
        self.first: Batch | None = None
        self.hot: list[Batch] = []
        self.shelved = 0
        # Of the checks of the shelved batches of the widest span that is not whole.
        self.digests: list[bytes] = []

    def __len__(self) -> int:
        return self.shelved + len(self.hot)

    @overload
    def __getitem__(self, at: int) -> Batch: ...

    @overload
    def __getitem__(self, at: slice) -> list[Batch]: ...

    def __getitem__(self, at: int | slice) -> Batch | list[Batch]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        position = at + len(self) if at < 0 else at
        if position >= self.shelved:
            return self.hot[position - self.shelved]
        if position < 0:
            raise IndexError(at)
        return self._shelf[self._key(position)]

    def append(self, batch: Batch) -> None:
        """Add the next batch."""
        if not len(self):
            self.first = replace(batch, data=NO_SHARES)
        self._positions[batch.id] = self._key(len(self))
        self.hot.append(batch)
        if not len(self) % FAN and batch.span is None:
            self.spans.begin(len(self) // FAN - 1, [each.count() for each in self.hot[-FAN:]])
            for each in self.hot[-FAN:]:
                each.rest()
        while len(self.hot) >= FAN and self.hot[FAN - 1].to_ms < batch.to_ms - HOT_MS:
            self._put_away()

    def find(self, receipt: str) -> int | None:
        """The position of a batch of this lane, by id."""
        lane, _, position = self._positions.get(receipt, "").rpartition("/")
        return int(position) if position and lane == self._lane else None

    def tally(self, position: int) -> Tally:
        """What the batch at a position counts in a window that holds all of it."""
        return self[position].tally

    def update(self, position: int, batch: Batch, shares: CheckedShares) -> None:
        """Give a batch other shares: what is kept of it and of spans beside the log is of others from now on."""
        batch = replace(batch, data=shares.pack(), digest=b"")
        self.spans.drop(position)
        if position >= self.shelved:
            self.hot[position - self.shelved] = batch
            return
        self._shelf[self._key(position)] = batch
        open_from = self.shelved - len(self.digests)
        if position >= open_from:
            self.digests[position - open_from] = b""

    def _put_away(self) -> None:
        """Shelve what fills the next span."""
        batches, self.hot = self.hot[:FAN], self.hot[FAN:]
        number, last = self.shelved // FAN, batches[-1]
        if self.shelved % WIDEST == 0:
            self.digests = []
        self.digests += [batch.digest for batch in batches]
        level, checks = level_of(number), self.digests[-(FAN ** level_of(number)) :]
        row = None if last.span is None or not all(checks) else unpack_row(last.span, checks)
        if row is None:
            if not self.spans.has_begun(number):
                self.spans.begin(number, [batch.count() for batch in batches])
            made = self.spans.add(number)
        else:
            self.spans.put(number, row.spans)
        for batch in batches:
            batch.rest()
            self._shelf[self._key(self.shelved)] = batch
            self.shelved += 1
        if self._keeper is None:
            return
        if row is None and all(checks):
            sums = None
            if level == MAX_LEVEL:
                sums = join_sums(self[at].sums() for at in range(self.shelved - WIDEST, self.shelved)).pack()
            self._keeper.keep(last.id, SpanRow(made, sums).pack(checks))
        if level == MAX_LEVEL:
            self._keeper.found(self._lane, self.shelved - 1, None if row is None else row.summed())

    def _key(self, position: int) -> str:
        return f"{self._lane}/{position:012d}"


@dataclass(slots=True)
class Lane:
    """A lane as far as it was read. `started` holds (ms, prevhash) of the jobs its batches used."""

    key: LaneKey
    chain: Chain[Receipt | Known]
    batches: Batches = field(default_factory=Batches)
    started: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    fin: bool = False
    # Where work may be missing: (seq of the batch it shows at, ms up to which).
    holes: list[tuple[int, int]] = field(default_factory=list)
    # The positions of batches that no sum counts so far, while a log is replayed.
    held_back: list[int] = field(default_factory=list)

    @property
    def head(self) -> Head | None:
        """The newest batch."""
        return self.chain.head

    @property
    def first(self) -> Batch:
        """The first batch, less its shares; only of a lane that has one."""
        assert self.batches.first is not None
        return self.batches.first

    @property
    def watermark_ms(self) -> int:
        """Up to when everything of this lane is known; 0 before its first batch."""
        return self.batches[-1].to_ms if self.batches else 0

    @property
    def ended(self) -> bool:
        """Whether no batch follows: finished, or closed by the terms and read to that end."""
        return self.fin or self.chain.is_ended

    def add(self, batch: Batch, *, follows: bool) -> None:
        """Append a batch, in the chain's order; `follows`: right after the one before, so that nothing lacks."""
        if not follows:
            self.holes.append((batch.seq, batch.from_ms))
        if batch.head.unchecked:
            self.holes.append((batch.seq, batch.to_ms))
        self.batches.append(batch)

    def find(self, receipt: str) -> Batch | None:
        """The batch of that id."""
        position = self.batches.find(receipt)
        return None if position is None else self.batches[position]

    def has(self, receipt: str) -> bool:
        """Whether a batch of that id stands in this lane."""
        return self.batches.find(receipt) is not None

    def past(self, end_ms: int) -> Batch | None:
        """The first batch whose window ends after `end_ms`."""
        at = self.position_past(end_ms)
        return self.batches[at] if at < len(self.batches) else None

    def position_past(self, end_ms: int) -> int:
        """The position of that batch; the batches' number if there is none."""
        hot, shelved = self.batches.hot, self.batches.shelved
        at = bisect_right(hot, end_ms, key=lambda batch: batch.to_ms)
        # Windows touch, so that only what is older than all at hand lies on the shelf.
        return shelved + at if at else bisect_right(self.batches, end_ms, key=lambda batch: batch.to_ms)

    def back_from(self, seq: int) -> Iterator[Batch]:
        """The batches from a number on backwards, newest first."""
        for at in range(self.position_of(seq), -1, -1):
            yield self.batches[at]

    def position_of(self, seq: int) -> int:
        """The position of the batch of that number, or else of the last one before it; -1 if there is none."""
        hot = self.batches.hot
        if hot and hot[0].seq <= seq:
            return self.batches.shelved + bisect_right(hot, seq, key=lambda batch: batch.seq) - 1
        return bisect_right(self.batches, seq, key=lambda batch: batch.seq) - 1

    def has_work(self, offer: str | None, end_ms: int) -> bool:
        """Whether a good share of an offer (None: of any) stands in this lane at or before a time."""
        for position in range(len(self.batches)):
            batch = self.batches[position]
            if batch.from_ms > end_ms:
                break
            if any(offer in (None, kind.offer) and kind.first_ms <= end_ms for kind in batch.head.kinds):
                return True
        return False

    def whole_from(self, seq: int, bound: Bound | None = None) -> int:
        """The ms from which on nothing lacks in the batches up to a number; 0: from the start. What lacks where
        `bound` holds all makes no difference.
        """
        holes = ((at, ms) for at, ms in self.holes if at <= seq)
        return max((ms for at, ms in holes if bound is None or not bound.holds_all(at, ms)), default=0)


class Lanes(dict[LaneKey, Lane]):
    """All lanes that have a batch or wait for one."""

    def in_order(self) -> Iterator[tuple[LaneKey, Lane]]:
        """Lanes with a batch, by edge and number."""
        return ((key, self[key]) for key in sorted(self) if self[key].batches)

    def find(self, name: str) -> Lane | None:
        """The lane of `<edge>/<lane>`."""
        edge, _, number = name.partition("/")
        if not _NUMBER.fullmatch(number):
            return None
        lane = self.get(LaneKey(edge, int(number)))
        return lane if lane is not None and lane.batches else None

    def behind(self, end_ms: int) -> LaneKey | None:
        """An open lane whose watermark has not passed `end_ms`, or None: then all work up to it is known."""
        for key, lane in self.in_order():
            if not lane.ended and lane.watermark_ms <= end_ms:
                return key
        return None

    def cuts(self, end_ms: int) -> dict[LaneKey, Batch]:
        """Where a reward at `end_ms` cuts each lane: the first batch that ends later, of an ended lane else the last.

        A lane born after `end_ms` holds none of its work and is left out, so that the cut does not depend on when it
        is made.
        """
        cuts = {}
        for key, lane in self.in_order():
            if lane.first.from_ms > end_ms:
                continue
            batch = lane.past(end_ms)
            if batch is not None or lane.ended:
                cuts[key] = batch or lane.batches[-1]
        return cuts


def heads_of(cuts: Mapping[LaneKey, Batch], end_ms: int, from_ms: int) -> dict[str, Head]:
    """A statement's `heads`: the cuts, less ended lanes whose last batch ends before the window begins."""
    return {
        str(key): Head(batch.seq, batch.id)
        for key, batch in sorted(cuts.items())
        if batch.to_ms > end_ms or batch.to_ms >= from_ms
    }
