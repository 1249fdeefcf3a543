"""Running sums of what the lanes hold, so that a report needs no second walk through the log."""

from dataclasses import dataclass, field

from accounting.shares import RATIO_BITS, CheckedShares
from accounting.sums import Sums

# Work over time is kept in at most so many spans, enough for a plot; they double when the log outgrows them.
MAX_SPANS = 512
FIRST_SPAN_MS = 60_000


@dataclass(slots=True)
class MinerTotals:
    """A miner's good shares, their work, and the sum of their hash / target in 1/65536."""

    shares: int = 0
    work: int = 0
    ratios: int = 0


@dataclass(slots=True)
class WorkTotals:
    """Sums over all batches: `good`, `bad`, `unchecked` shares; the time they cover, Unix ms (0, 0: none); by miner;
    `spans`: work by `span_ms` of time, numbered from 1970 on.
    """

    batches: int = 0
    good: int = 0
    bad: int = 0
    unchecked: int = 0
    from_ms: int = 0
    to_ms: int = 0
    miners: dict[str, MinerTotals] = field(default_factory=dict)
    span_ms: int = FIRST_SPAN_MS
    spans: dict[int, int] = field(default_factory=dict)

    def add(self, from_ms: int, to_ms: int, good: int, work: int, bad: int = 0, unchecked: int = 0) -> None:
        """Count a batch, but for its miners."""
        self.from_ms = min(self.from_ms, from_ms) if self.batches else from_ms
        self.to_ms = max(self.to_ms, to_ms)
        self.batches += 1
        self.good += good
        self.bad += bad
        self.unchecked += unchecked
        if work:
            self._add_work((from_ms + to_ms) // 2, work)

    def add_workers(self, sums: Sums) -> None:
        """Count the miners of batches that `add` has counted."""
        for row in sums.rows:
            totals = self.miners.get(row.miner)
            if totals is None:
                totals = self.miners[row.miner] = MinerTotals()
            totals.shares += row.shares
            totals.work += row.work
            totals.ratios += row.ratios

    def take_back(self, from_ms: int, to_ms: int, shares: CheckedShares, number: int) -> None:
        """A share counted before, by its batch's window and its number there, turned out to repeat another."""
        for row, index in enumerate(shares.index):
            if index == number:
                who = shares.sessions[shares.session[row]]
                totals = self.miners[who.miner]
                totals.shares -= 1
                totals.work -= who.work
                # What it added to the ratios is not known any more; the mean leaves the others' as they are.
                totals.ratios -= 1 << (RATIO_BITS - 1)
                self.good -= 1
                self.bad += 1
                self.spans[(from_ms + to_ms) // 2 // self.span_ms] -= who.work

    def _add_work(self, ms: int, work: int) -> None:
        span = ms // self.span_ms
        self.spans[span] = self.spans.get(span, 0) + work
        while len(self.spans) > MAX_SPANS:
            self.span_ms *= 2
            wider: dict[int, int] = {}
            for number, amount in self.spans.items():
                wider[number // 2] = wider.get(number // 2, 0) + amount
            self.spans = wider
