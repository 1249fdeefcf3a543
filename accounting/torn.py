"""Batches that an edge of a window crosses, counted by their columns: only around the edge is each share looked at."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accounting.schemes.held import Bound
from accounting.shares import CheckedShares, Session

# So few shares are counted one by one as quickly.
FEW = 256


@dataclass(slots=True)
class Torn:
    """Rows [start, end) of a batch may count, of the jobs that `fits` says. Those in [end, whole) do, all of them."""

    shares: CheckedShares
    fits: Sequence[bool]
    start: int
    end: int
    whole: int

    def counted(self) -> Iterator[tuple[Session, int, int]]:
        """What counts for sure: each session's work, and t of the oldest of all these."""
        shares = self.shares
        rows = [row for row in range(self.end, self.whole) if self.fits[shares.job[row]]]
        first_ms = shares.t[rows[0]] if rows else 0
        for session, count in Counter(map(shares.session.__getitem__, rows)).items():
            who = shares.sessions[session]
            yield who, who.work * count, first_ms


def tear(
    shares: CheckedShares, seq: int, fits: Sequence[bool], oldest_ms: int, end_ms: int, held: Bound | None
) -> Torn:
    """A batch's shares with oldest_ms <= t <= end_ms that `held` does not hold. They stand in the order of time."""
    start = bisect_left(shares.t, oldest_ms)
    if held is not None and seq <= held.seq:
        start = max(start, bisect_right(shares.t, held.end_ms))
    end = max(start, bisect_right(shares.t, end_ms))
    return Torn(shares, fits, start, end, end)


def narrow(batches: Sequence[Torn], limit: int) -> int:
    """Bring these to where the newest of their work comes to `limit`: afterwards what is newer than the rows left of
    each counts whole, what is older not at all. The limit that is left for those.
    """
    works = [[who.work for who in batch.shares.sessions] if all(batch.fits) else None for batch in batches]
    low_ms = min((batch.shares.t[batch.start] for batch in batches if batch.start < batch.end), default=0)
    high_ms = max((batch.shares.t[batch.end - 1] + 1 for batch in batches if batch.start < batch.end), default=0)
    while high_ms - low_ms > 1 and sum(batch.end - batch.start for batch in batches) > FEW:
        middle_ms = (low_ms + high_ms) // 2
        cuts = [bisect_left(batch.shares.t, middle_ms, batch.start, batch.end) for batch in batches]
        newer = sum(map(_work, batches, works, cuts))
        if newer < limit:
            limit -= newer
            high_ms = middle_ms
            for batch, cut in zip(batches, cuts, strict=True):
                batch.end = cut
        else:
            low_ms = middle_ms
            for batch, cut in zip(batches, cuts, strict=True):
                batch.start = cut
    return limit


def _work(batch: Torn, works: Sequence[int] | None, cut: int) -> int:
    """Of the rows [cut, end)."""
    sessions = batch.shares.session[cut : batch.end]
    if works is not None:
        return sum(map(works.__getitem__, sessions))
    jobs = batch.shares.job[cut : batch.end]
    named = batch.shares.sessions
    return sum(named[session].work for session, job in zip(sessions, jobs, strict=True) if batch.fits[job])
