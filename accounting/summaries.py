"""The hourly summaries (4221): what whole batches add up to by miner and worker, made and checked by one fold.

A summary counts, of each lane it names, the batches after the last summary that named the lane, up to its head: the
last batch that ended by `to_ms`. So every batch is in exactly one summary, and a lane that came too late for its hour
counts in the next. Hours in which no batch ended are joined to the one after.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from accounting.checks import Known
from accounting.facts import ShareRevoked
from accounting.shares import CheckedShares
from accounting.shelves import Shelf
from nips.pool.chain import Head
from nips.pool.receipt import Receipt
from nips.pool.summary import HOUR_MS, OTHER_WORKERS, Refused, Summary, SummaryBody, SummaryRow, sum_rejects
from nips.pool.terms import EASIEST_BITS

# A name costs its sender nothing: a miner's workers beyond so many in an hour are summed up in one row.
MAX_WORKERS = 128
# Hours of a lane kept at hand while none of them is counted; older ones go to the shelf, if there is one.
HOT_HOURS = 2


@dataclass(slots=True)
class WorkerHour:
    """A worker's hour as far as it is read. `best` is the smallest compact target that its lowest hash meets, 0 without
    a share; not to be relied on if it is `unsure`, since a share of the worker's was bad.
    """

    work: int = 0
    shares: int = 0
    rejects: dict[int, int] = field(default_factory=dict)
    best: int = 0
    unsure: bool = False

    def add(self, other: "WorkerHour") -> None:
        """Take another lane's, or worker's, in."""
        self.work += other.work
        self.shares += other.shares
        for code, times in other.rejects.items():
            self.rejects[code] = self.rejects.get(code, 0) + times
        self.meet(other.best)
        self.unsure |= other.unsure

    def meet(self, bits: int) -> None:
        """What a share's hash meets; 0 is none. Canonical compact targets sort as what they stand for."""
        if bits:
            self.best = min(self.best or bits, bits)


Rows = dict[tuple[str, str], WorkerHour]


@dataclass(slots=True)
class LaneHour:
    """A lane's batches that ended within one hour, up to `last`: by (miner, worker). `shelved`: its rows are on the
    shelf. `whole`: no batch before one of these is missing, and every share of theirs was judged.
    """

    end_ms: int
    last: Head
    rows: Rows = field(default_factory=dict)
    shelved: bool = False
    whole: bool = True


@dataclass(slots=True)
class LanePending:
    """A lane's hours that no summary has counted yet, oldest first. `read`: the number of its newest batch; `counted`:
    of the newest that a summary has counted, -1 before.
    """

    first_ms: int
    read: int = -1
    counted: int = -1
    buckets: list[LaneHour] = field(default_factory=list)


class Lack(NamedTuple):
    """Why a summary can't be recomputed: in words, and the ids of batches that are missing. `void`: what it counted was
    made void by terms that came later, which is nobody's fault. `hidden`: what earlier ones counted is not known.
    """

    text: str
    batches: tuple[str, ...] = ()
    void: bool = False
    hidden: bool = False


def hour_end(ms: int) -> int:
    """The hour a batch that ends at `ms` belongs to, by its end."""
    return -(-ms // HOUR_MS) * HOUR_MS


def _best_bits(tally: WorkerHour) -> int:
    # A share without a known hash (its job is gone) has at least met the easiest target there is.
    return (tally.best or EASIEST_BITS) if tally.shares else 0


def _rows(hours: Iterable[Rows]) -> tuple[tuple[SummaryRow, ...], set[tuple[str, str]]]:
    """A summary's rows, and those whose best share is unsure."""
    miners: dict[str, dict[str, WorkerHour]] = {}
    for hour in hours:
        for (miner, worker), tally in hour.items():
            miners.setdefault(miner, {}).setdefault(worker, WorkerHour()).add(tally)
    rows = []
    unsure = set()
    for miner, workers in sorted(miners.items()):
        named = workers
        if len(workers) > MAX_WORKERS:
            ranked = sorted(workers, key=lambda worker: (-workers[worker].work, worker))
            named = {worker: workers[worker] for worker in ranked[: MAX_WORKERS - 1]}
            named[OTHER_WORKERS] = WorkerHour()
            for worker in ranked[MAX_WORKERS - 1 :]:
                named[OTHER_WORKERS].add(workers[worker])
        for worker, tally in sorted(named.items()):
            rejects = tuple(Refused(code, times) for code, times in sorted(tally.rejects.items()) if times)
            if tally.shares or rejects:
                rows.append(SummaryRow(miner, worker, tally.work, tally.shares, rejects, _best_bits(tally)))
                if tally.unsure:
                    unsure.add((miner, worker))
    return tuple(rows), unsure


@dataclass(slots=True)
class SummaryBook:
    """The fold. `lanes` by `<edge>/<lane>`; `to_ms`: up to where summaries were taken, 0 before the first; `newest_s`:
    the newest one's date; what ends by `trusted_to` was found right before. `shelf`: where hours go that no summary
    counts for long.

    Batches come in each lane's order, lanes in any; memory is what no summary has counted yet.
    """

    lanes: dict[str, LanePending] = field(default_factory=dict)
    to_ms: int = 0
    newest_s: int = 0
    taken: int = 0
    trusted_to: int = 0
    shelf: "Shelf[Rows] | None" = field(default=None, init=False, compare=False, repr=False)

    def add(self, receipt: Receipt | Known, shares: CheckedShares) -> None:
        """Count a batch of a lane, the next one."""
        name = f"{receipt.signer}/{receipt.lane}"
        head = Head(receipt.link.seq, receipt.id)
        lane = self.lanes.setdefault(name, LanePending(receipt.from_ms))
        follows, lane.read = head.seq == lane.read + 1, max(lane.read, head.seq)
        if head.seq <= lane.counted:
            return
        end_ms = hour_end(receipt.to_ms)
        if not lane.buckets or lane.buckets[-1].end_ms < end_ms:
            lane.buckets.append(LaneHour(end_ms, head))
            self._put_away(name, lane)
        bucket = lane.buckets[-1]
        bucket.last = head
        # What a summary has counted was read before, or need not be.
        bucket.whole &= (follows or head.seq == lane.counted + 1) and not shares.unchecked
        for number, count in Counter(shares.session).items():
            who = shares.sessions[number]
            tally = bucket.rows.setdefault((who.miner, who.worker), WorkerHour())
            tally.work += who.work * count
            tally.shares += count
            tally.meet(shares.best[number] if shares.best else 0)
        for number in shares.spoiled:
            who = shares.sessions[number]
            bucket.rows.setdefault((who.miner, who.worker), WorkerHour()).unsure = True
        for reject in shares.rejects:
            who = shares.sessions[reject.session]
            tally = bucket.rows.setdefault((who.miner, who.worker), WorkerHour())
            tally.rejects[reject.code] = tally.rejects.get(reject.code, 0) + reject.times

    def revoke(self, fact: ShareRevoked) -> None:
        """A share counted before falls; one that a summary has counted stays counted."""
        lane = self.lanes.get(fact.lane)
        if lane is None or fact.seq <= lane.counted:
            return
        bucket = next((bucket for bucket in lane.buckets if bucket.last.seq >= fact.seq), None)
        if bucket is None:
            return
        rows = self._rows_of(fact.lane, bucket)
        tally = rows[fact.session.miner, fact.session.worker]
        tally.work -= fact.session.work
        tally.shares -= 1
        tally.unsure = True
        if bucket.shelved and self.shelf is not None:
            self.shelf[_place(fact.lane, bucket)] = rows

    def wants(self, receipt: Receipt | Known) -> bool:
        """Whether a batch is still to be counted: else nothing of it is looked at."""
        lane = self.lanes.get(f"{receipt.signer}/{receipt.lane}")
        return lane is None or receipt.link.seq > lane.counted

    def _put_away(self, name: str, lane: LanePending) -> None:
        if self.shelf is None or len(lane.buckets) <= HOT_HOURS:
            return
        bucket = lane.buckets[-HOT_HOURS - 1]
        self.shelf[_place(name, bucket)] = bucket.rows
        bucket.rows, bucket.shelved = {}, True

    def _rows_of(self, name: str, bucket: LaneHour) -> Rows:
        return self.shelf[_place(name, bucket)] if bucket.shelved and self.shelf is not None else bucket.rows

    def _window(self, names: Sequence[str]) -> tuple[int, int]:
        """The window of the next summary: an hour from where the last one ended (the first: from the hour in which the
        lanes it counts began), or as long as it takes to the end of an hour in which one of these lanes' batches did.
        """
        oldest = min(self.lanes[name].buckets[0].end_ms for name in names)
        if self.to_ms:
            return self.to_ms, max(self.to_ms + HOUR_MS, oldest)
        counted = [lane for lane in map(self.lanes.__getitem__, names) if lane.buckets[0].end_ms == oldest]
        return min(lane.first_ms for lane in counted) // HOUR_MS * HOUR_MS, oldest

    def pending(self) -> list[str]:
        """The lanes with batches that no summary has counted."""
        return [name for name, lane in self.lanes.items() if lane.buckets]

    def due_to(self) -> int | None:
        """Up to when the next summary over all lanes counts, Unix ms; None: there is nothing to count."""
        pending = self.pending()
        return self._window(pending)[1] if pending else None

    def due(self, ready: Callable[[int], bool]) -> SummaryBody | None:
        """The next summary, if there is one to make: `ready` says whether every open lane has passed a time."""
        pending = self.pending()
        if not pending:
            return None
        from_ms, to_ms = self._window(pending)
        if not ready(to_ms):
            return None
        counted = {
            name: [bucket for bucket in self.lanes[name].buckets if bucket.end_ms <= to_ms] for name in sorted(pending)
        }
        heads = {name: buckets[-1].last for name, buckets in counted.items() if buckets}
        rows, _ = _rows(self._rows_of(name, bucket) for name, buckets in counted.items() for bucket in buckets)
        return SummaryBody(from_ms, to_ms, heads, rows)

    def known(self) -> list[str]:
        """The lanes that a summary has named."""
        return [name for name, lane in self.lanes.items() if lane.counted >= 0]

    def take(
        self, summary: Summary, rows: Sequence[SummaryRow] | None, lack: Lack | None = None
    ) -> tuple[list[str], Lack | None]:
        """Let a summary take its place, whose `rows` are its own or its parts'; what is wrong with it, in words, and
        why it can't be recomputed, if it can't. `lack`: why not, as far as it is known before. `rows`: None if parts
        were not read, which is such a lack.

        What it counts is let go.
        """
        if summary.to_ms <= self.trusted_to:
            return [], None
        lack = lack or self._lack(summary)
        wrong = [*self._differences(summary, None if rows is None else tuple(rows), lack)]
        self._count(summary)
        return wrong, lack

    def trust(self, summary: Summary) -> None:
        """Let a summary take its place that was found right before: the batches it counts need not even be read."""
        self.trusted_to = max(self.trusted_to, summary.to_ms)
        self._count(summary)

    def _count(self, summary: Summary) -> None:
        for name, head in summary.heads.items():
            lane = self.lanes.setdefault(name, LanePending(summary.from_ms))
            lane.read = max(lane.read, head.seq)
            lane.counted = max(lane.counted, head.seq)
            for bucket in lane.buckets:
                if bucket.end_ms <= summary.to_ms and bucket.shelved and self.shelf is not None:
                    del self.shelf[_place(name, bucket)]
            lane.buckets = [bucket for bucket in lane.buckets if bucket.end_ms > summary.to_ms]
        self.to_ms = max(self.to_ms, summary.to_ms)
        self.newest_s = max(self.newest_s, summary.created_at)
        self.taken += 1

    def left_out(self) -> list[str]:
        """Lanes with batches that ended before the newest summary did and that none has counted."""
        return sorted(
            name for name, lane in self.lanes.items() if lane.buckets and lane.buckets[0].end_ms <= self.to_ms
        )

    def _counted(self, summary: Summary) -> dict[str, list[LaneHour]]:
        """Of the lanes a summary names the hours that it counts, by lane."""
        return {
            name: [bucket for bucket in self.lanes[name].buckets if bucket.end_ms <= summary.to_ms]
            for name in sorted(summary.heads)
            if name in self.lanes and self.lanes[name].buckets
        }

    def _lack(self, summary: Summary) -> Lack | None:
        for name, buckets in self._counted(summary).items():
            if not all(bucket.whole for bucket in buckets):
                return Lack(f"of lane {name} a batch is missing, or has shares that can't be judged")
        return None

    def _differences(self, summary: Summary, rows: tuple[SummaryRow, ...] | None, lack: Lack | None) -> Iterator[str]:
        if summary.created_at * 1000 < summary.to_ms:
            yield f"it is dated {summary.created_at}, before its last hour was over"
        for name in () if lack is not None and lack.hidden else sorted(set(self.known()) - set(summary.heads)):
            buckets = self.lanes[name].buckets
            if buckets and buckets[0].end_ms <= summary.to_ms:
                yield f"lane {name} is left out, though an earlier one has it and a batch ended by then"
        if rows is None:
            return
        if lack is None:
            yield from self._recomputed(summary, rows)
        told_sums = (summary.work, summary.shares, summary.rejects)
        sums = (
            sum(row.work for row in rows),
            sum(row.shares for row in rows),
            sum_rejects(reject for row in rows for reject in row.rejects),
        )
        if told_sums != sums:
            yield "its sums are not those of its rows"

    def _recomputed(self, summary: Summary, rows: tuple[SummaryRow, ...]) -> Iterator[str]:
        counted = self._counted(summary)
        for name in sorted(set(summary.heads) - set(counted)):
            yield f"lane {name} has no batch that the summaries before have not counted"
        if not counted:
            return
        from_ms, to_ms = self._window(list(counted))
        if (summary.from_ms, summary.to_ms) != (from_ms, to_ms):
            yield f"it goes from {summary.from_ms} to {summary.to_ms}, where {from_ms} to {to_ms} is due"
        for name, buckets in counted.items():
            last = buckets[-1].last if buckets else None
            if last != summary.heads[name]:
                told = summary.heads[name].seq
                yield f"lane {name} is cut at {told}, the last batch that ended by then is {last and last.seq}"
        found, unsure = _rows(self._rows_of(name, bucket) for name, buckets in counted.items() for bucket in buckets)
        yield from _row_differences(rows, found, unsure)


def _place(lane: str, bucket: LaneHour) -> str:
    return f"{lane}/{bucket.end_ms:016d}"


def _say(row: SummaryRow | None) -> str:
    if row is None:
        return "nothing"
    rejects = ", ".join(f"{times} x {code}" for code, times in row.rejects) or "none"
    return f"{row.shares} shares with work {row.work}, best {row.best_bits:08x}, rejects {rejects}"


def _row_differences(
    told: tuple[SummaryRow, ...], found: tuple[SummaryRow, ...], unsure: set[tuple[str, str]]
) -> Iterator[str]:
    if told == found:
        return
    told_rows = {(row.miner, row.worker): row for row in told}
    found_rows = {(row.miner, row.worker): row for row in found}
    for key in unsure & set(told_rows) & set(found_rows):
        found_rows[key] = replace(found_rows[key], best_bits=told_rows[key].best_bits)
    wrong = sorted(key for key in {*told_rows, *found_rows} if told_rows.get(key) != found_rows.get(key))
    if not wrong:
        # The same rows, but not each of them once and in order.
        if len(told) != len(found) or list(told_rows) != list(found_rows):
            yield "its rows are not in order, each once"
        return
    miner, worker = wrong[0]
    text = f"worker {worker!r} of {miner} is told as {_say(told_rows.get(wrong[0]))};"
    text = f"{text} its batches give {_say(found_rows.get(wrong[0]))}"
    yield text if len(wrong) == 1 else f"{text}; {len(wrong) - 1} more rows differ"
