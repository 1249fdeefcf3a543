"""Lanes: an edge's numbered chains of batches, and where a reward cuts them (SPEC.md, "4212", "4214")."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from accounting.chains import Chain
from accounting.shares import CheckedShares
from nips.pool.chain import Head
from nips.pool.receipt import Receipt

_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")


class LaneKey(NamedTuple):
    """A lane: its edge's key in hex, its number. Sorts as the order of shares asks."""

    edge: str
    number: int

    def __str__(self) -> str:
        return f"{self.edge}/{self.number}"


@dataclass(slots=True)
class Batch:
    """A receipt in its lane: window in Unix ms, created_at in s, its good shares."""

    seq: int
    id: str
    from_ms: int
    to_ms: int
    created_at: int
    shares: CheckedShares


@dataclass(slots=True)
class Lane:
    """A lane as far as it was read. `started` holds (ms, prevhash) of the jobs its batches used."""

    key: LaneKey
    chain: Chain[Receipt]
    batches: list[Batch] = field(default_factory=list)
    by_id: dict[str, Batch] = field(default_factory=dict)
    started: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    fin: bool = False
    # Where work may be missing: (seq of the batch it shows at, ms up to which).
    holes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def head(self) -> Head | None:
        """The newest batch."""
        return self.chain.head

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
        if batch.shares.unchecked:
            self.holes.append((batch.seq, batch.to_ms))
        self.batches.append(batch)
        self.by_id[batch.id] = batch

    def past(self, end_ms: int) -> Batch | None:
        """The first batch whose window ends after `end_ms`."""
        at = bisect_right(self.batches, end_ms, key=lambda batch: batch.to_ms)
        return self.batches[at] if at < len(self.batches) else None

    def back_from(self, seq: int) -> Iterator[Batch]:
        """The batches from a number on backwards, newest first."""
        for at in range(bisect_right(self.batches, seq, key=lambda batch: batch.seq) - 1, -1, -1):
            yield self.batches[at]

    def has_work(self, offer: str, end_ms: int) -> bool:
        """Whether a good share of an offer stands in this lane at or before a time."""
        for batch in self.batches:
            if batch.from_ms > end_ms:
                break
            shares = batch.shares
            if any(
                t <= end_ms and shares.jobs[job].offer == offer for t, job in zip(shares.t, shares.job, strict=True)
            ):
                return True
        return False

    def whole_from(self, seq: int) -> int:
        """The ms from which on nothing lacks in the batches up to a number; 0: from the start."""
        return max((ms for at, ms in self.holes if at <= seq), default=0)


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
            if lane.batches[0].from_ms > end_ms:
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
