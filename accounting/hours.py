"""The hourly summaries of our own chain, added up for readers, and what no summary has counted yet.

Only whole hours of the chain's order go in, so that the same chain gives the same. Memory is bounded: a row an hour for
the pool, a row a miner for the totals, and of the miners' hours as many as `MAX_MINER_HOURS` allow.
"""

from collections import deque
from dataclasses import dataclass, field

from accounting.summaries import SummaryBook
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.pool.kinds import STATEMENT_PART, SUMMARY
from nips.pool.summary import HOUR_MS, SummaryRow, parse_summary, parse_summary_part
from nips.pool.targets import target_from_bits

# Hours of the pool kept: 400 days, a row of some 200 bytes each.
MAX_HOURS = 400 * 24
# Hours of single miners kept, over all miners: about 60 MB. A pool of 10,000 keeps two days of each, a small one weeks.
MAX_MINER_HOURS = 500_000
# A miner's hours beyond this are let go even in a small pool: what a chart of a month shows.
MAX_HOURS_OF_MINERS = 31 * 24


@dataclass(frozen=True, slots=True)
class Hour:
    """What one summary says of the pool. Times in Unix ms; `work` in hashes, `rejects` by Stratum code."""

    from_ms: int
    to_ms: int
    work: int
    shares: int
    miners: int
    rejects: dict[int, int]


@dataclass(slots=True)
class MinerCount:
    """A miner's sums: `rejects` by code; `best`: the target of its best share as a number, 0 without one."""

    work: int = 0
    shares: int = 0
    rejects: dict[int, int] = field(default_factory=dict)
    best: int = 0

    def add(self, work: int, shares: int, rejects: dict[int, int], best: int) -> None:
        """Take more of the same miner in."""
        self.work += work
        self.shares += shares
        for code, times in rejects.items():
            self.rejects[code] = self.rejects.get(code, 0) + times
        if best:
            self.best = min(self.best or best, best)


@dataclass(frozen=True, slots=True)
class MinerHours:
    """The work of each miner in one summary's time."""

    from_ms: int
    to_ms: int
    work: dict[str, int]


class Hours:
    """The fold of our summaries; `seq` is the chain's number of the last event that was read, -1 before the first."""

    def __init__(self) -> None:
        self.seq = -1
        self.hours: deque[Hour] = deque(maxlen=MAX_HOURS)
        self.of_miners: deque[MinerHours] = deque()
        self.miners: dict[str, MinerCount] = {}
        self._kept = 0
        self._rows: list[SummaryRow] = []

    def add(self, seq: int, event: VerifiedEvent) -> None:
        """Take the next event of our chain in, a summary or a part; the parts stand before their summary."""
        self.seq = seq
        try:
            if event.kind == STATEMENT_PART:
                part = parse_summary_part(event)
                self._rows = [*(self._rows if part.part else ()), *part.rows]
                return
            if event.kind != SUMMARY:
                return
            summary = parse_summary(event)
        except InvalidPoolEvent:
            # A part of something else, or of a later version of this program.
            return
        rows, self._rows = self._rows if summary.parts else list(summary.rows), []
        self._count(rows)
        work: dict[str, int] = {}
        for row in rows:
            work[row.miner] = work.get(row.miner, 0) + row.work
        rejects = {reject.code: reject.times for reject in summary.rejects}
        self.hours.append(Hour(summary.from_ms, summary.to_ms, summary.work, summary.shares, len(work), rejects))
        self.of_miners.append(MinerHours(summary.from_ms, summary.to_ms, work))
        self._kept += len(work)
        while len(self.of_miners) > 1 and (self._kept > MAX_MINER_HOURS or len(self.of_miners) > MAX_HOURS_OF_MINERS):
            self._kept -= len(self.of_miners.popleft().work)

    def _count(self, rows: list[SummaryRow]) -> None:
        for row in rows:
            best = target_from_bits(row.best_bits) if row.best_bits else 0
            rejects = {reject.code: reject.times for reject in row.rejects}
            self.miners.setdefault(row.miner, MinerCount()).add(row.work, row.shares, rejects, best)


def uncounted(book: SummaryBook) -> tuple[int, dict[str, MinerCount]]:
    """What no summary has counted yet: since when (Unix ms, 0 for nothing), and by miner. O(workers of these hours)."""
    since = 0
    miners: dict[str, MinerCount] = {}
    for lane in book.lanes.values():
        for bucket in lane.buckets:
            begun = max(bucket.end_ms - HOUR_MS, lane.first_ms)
            since = min(since or begun, begun)
            for (miner, _), tally in bucket.rows.items():
                count = miners.setdefault(miner, MinerCount())
                best = target_from_bits(tally.best) if tally.best else 0
                count.add(tally.work, tally.shares, tally.rejects, best)
    return since, miners
