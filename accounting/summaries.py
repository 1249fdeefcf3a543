"""The hourly summaries (4221): what whole batches add up to by miner and worker, made and checked by one fold.

A summary counts, of each lane it names, the batches after the last summary that named the lane, up to its head: the
last batch that ended by `to_ms`. So every batch is in exactly one summary, and a lane that came too late for its hour
counts in the next. Hours in which no batch ended are joined to the one after.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from accounting.shares import CheckedShares
from nips.pool.binding import BoundWork
from nips.pool.chain import Head
from nips.pool.job import Job
from nips.pool.lanes import HASH_SIZE, hash_records
from nips.pool.receipt import Receipt
from nips.pool.summary import HOUR_MS, OTHER_WORKERS, Refused, Summary, SummaryBody, SummaryRow, sum_rejects
from nips.pool.targets import MAX_TARGET, bits_at_least

# A name costs its sender nothing: a miner's workers beyond so many in an hour are summed up in one row.
MAX_WORKERS = 128


@dataclass(slots=True)
class WorkerHour:
    """A worker's hour as far as it is read. `best` is its lowest hash as a number, -1 without a share."""

    work: int = 0
    shares: int = 0
    rejects: dict[int, int] = field(default_factory=dict)
    best: int = -1

    def add(self, other: "WorkerHour") -> None:
        """Take another lane's, or worker's, in."""
        self.work += other.work
        self.shares += other.shares
        for code, times in other.rejects.items():
            self.rejects[code] = self.rejects.get(code, 0) + times
        self.meet(other.best)

    def meet(self, value: int) -> None:
        """A share's hash; -1 is none."""
        if value >= 0:
            self.best = value if self.best < 0 else min(self.best, value)


@dataclass(slots=True)
class LaneHour:
    """A lane's batches that ended within one hour, up to `last`. `batches` are kept as long as a share may fall."""

    end_ms: int
    last: Head
    rows: dict[tuple[str, str], WorkerHour] = field(default_factory=dict)
    batches: dict[str, CheckedShares] = field(default_factory=dict)


@dataclass(slots=True)
class LanePending:
    """A lane's hours that no summary has counted yet, oldest first. `read`: the number of its newest batch; `counted`:
    of the newest that a summary has counted, -1 before.
    """

    first_ms: int
    read: int = -1
    counted: int = -1
    buckets: list[LaneHour] = field(default_factory=list)


def hour_end(ms: int) -> int:
    """The hour a batch that ends at `ms` belongs to, by its end."""
    return -(-ms // HOUR_MS) * HOUR_MS


def lowest_hashes(receipt: Receipt, shares: CheckedShares, job_of: Callable[[str], Job | None]) -> dict[int, int]:
    """session -> the lowest hash of its good shares, as a number."""
    jobs = [job_of(job) for job in receipt.jobs]
    places = {
        session | number << 16
        for session, number in zip(shares.session, shares.job, strict=True)
        if jobs[number] is not None
    }
    bounds = {}
    for place in places:
        who, job = receipt.sessions[place & 0xFFFF], jobs[place >> 16]
        if job is not None:
            bounds[place] = BoundWork(job, receipt.miners[who.miner], who.share_bits, who.extranonce1).bound
    if not bounds:
        return {}
    hashes = hash_records(bounds, receipt.shares)
    lowest: dict[int, int] = {}
    for index, session, number in zip(shares.index, shares.session, shares.job, strict=True):
        if session | number << 16 in bounds:
            at = index * HASH_SIZE
            value = int.from_bytes(hashes[at : at + HASH_SIZE], "little")
            lowest[session] = min(lowest.get(session, value), value)
    return lowest


def _best_bits(tally: WorkerHour) -> int:
    # A share without a known hash (its job is gone) has at least met the easiest target there is.
    if not tally.shares:
        return 0
    return bits_at_least(min(max(tally.best, 1), MAX_TARGET) if tally.best >= 0 else MAX_TARGET)


def _rows(buckets: Sequence[LaneHour]) -> tuple[SummaryRow, ...]:
    miners: dict[str, dict[str, WorkerHour]] = {}
    for bucket in buckets:
        for (miner, worker), tally in bucket.rows.items():
            miners.setdefault(miner, {}).setdefault(worker, WorkerHour()).add(tally)
    rows = []
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
    return tuple(rows)


@dataclass(slots=True)
class SummaryBook:
    """The fold. `lanes` by `<edge>/<lane>`; `to_ms`: up to where summaries were taken, 0 before the first; what ends by
    `trusted_to` was found right before.

    Batches come in each lane's order, lanes in any; memory is what no summary has counted yet.
    """

    lanes: dict[str, LanePending] = field(default_factory=dict)
    to_ms: int = 0
    taken: int = 0
    trusted_to: int = 0

    def add(self, receipt: Receipt, shares: CheckedShares, lowest: Mapping[int, int]) -> None:
        """Count a batch of a lane, the next one; `lowest` is its sessions' lowest hashes (`lowest_hashes`)."""
        name = f"{receipt.signer}/{receipt.lane}"
        head = Head(receipt.link.seq, receipt.id)
        lane = self.lanes.setdefault(name, LanePending(receipt.from_ms))
        lane.read = max(lane.read, head.seq)
        if head.seq <= lane.counted:
            return
        end_ms = hour_end(receipt.to_ms)
        if not lane.buckets or lane.buckets[-1].end_ms < end_ms:
            lane.buckets.append(LaneHour(end_ms, head))
        bucket = lane.buckets[-1]
        bucket.last = head
        if len(shares):
            bucket.batches[receipt.id] = shares
        for number in shares.session:
            who = shares.sessions[number]
            tally = bucket.rows.setdefault((who.miner, who.worker), WorkerHour())
            tally.work += who.work
            tally.shares += 1
        for number, value in lowest.items():
            who = shares.sessions[number]
            bucket.rows[who.miner, who.worker].meet(value)
        for reject in receipt.rejects:
            session = receipt.sessions[reject.session]
            tally = bucket.rows.setdefault((receipt.miners[session.miner], session.worker), WorkerHour())
            tally.rejects[reject.code] = tally.rejects.get(reject.code, 0) + reject.times

    def revoke(self, receipt: str, index: int) -> None:
        """A share counted before falls (facts.ShareRevoked); one that a summary has counted stays counted."""
        for lane in self.lanes.values():
            for bucket in lane.buckets:
                shares = bucket.batches.get(receipt)
                if shares is None:
                    continue
                who = shares.sessions[shares.session[shares.index.index(index)]]
                tally = bucket.rows[who.miner, who.worker]
                tally.work -= who.work
                tally.shares -= 1
                bucket.batches[receipt] = shares.without(index)
                return

    def wants(self, receipt: Receipt) -> bool:
        """Whether a batch is still to be counted: else nothing of it is looked at."""
        lane = self.lanes.get(f"{receipt.signer}/{receipt.lane}")
        return lane is None or receipt.link.seq > lane.counted

    def _window(self, names: Sequence[str]) -> tuple[int, int]:
        """The window of the next summary: an hour from where the last one ended (the first: from the hour in which the
        lanes it counts began), or as long as it takes to the end of an hour in which one of these lanes' batches did.
        """
        oldest = min(self.lanes[name].buckets[0].end_ms for name in names)
        if self.to_ms:
            return self.to_ms, max(self.to_ms + HOUR_MS, oldest)
        counted = [lane for lane in map(self.lanes.__getitem__, names) if lane.buckets[0].end_ms == oldest]
        return min(lane.first_ms for lane in counted) // HOUR_MS * HOUR_MS, oldest

    def due(self, ready: Callable[[int], bool]) -> SummaryBody | None:
        """The next summary, if there is one to make: `ready` says whether every open lane has passed a time."""
        pending = [name for name, lane in self.lanes.items() if lane.buckets]
        if not pending:
            return None
        from_ms, to_ms = self._window(pending)
        if not ready(to_ms):
            return None
        counted = {
            name: [bucket for bucket in self.lanes[name].buckets if bucket.end_ms <= to_ms] for name in sorted(pending)
        }
        heads = {name: buckets[-1].last for name, buckets in counted.items() if buckets}
        rows = _rows([bucket for buckets in counted.values() for bucket in buckets])
        return SummaryBody(from_ms, to_ms, heads, rows)

    def lacks(self, summary: Summary) -> list[str]:
        """The batches a summary names that were not read yet, by id."""
        return [
            head.id
            for name, head in summary.heads.items()
            if name not in self.lanes or self.lanes[name].read < head.seq
        ]

    def take(self, summary: Summary, rows: Sequence[SummaryRow]) -> list[str]:
        """Let a summary take its place, whose `rows` are its own or its parts'; what is wrong with it, in words.

        Nothing it names may lack. What it counts is let go.
        """
        if summary.to_ms <= self.trusted_to:
            return []
        wrong = list(self._differences(summary, tuple(rows)))
        self._count(summary)
        return wrong

    def trust(self, summary: Summary) -> None:
        """Let a summary take its place that was found right before: the batches it counts need not even be read."""
        self.trusted_to = max(self.trusted_to, summary.to_ms)
        self._count(summary)

    def _count(self, summary: Summary) -> None:
        for name, head in summary.heads.items():
            lane = self.lanes.setdefault(name, LanePending(summary.from_ms))
            lane.read = max(lane.read, head.seq)
            lane.counted = max(lane.counted, head.seq)
            lane.buckets = [bucket for bucket in lane.buckets if bucket.end_ms > summary.to_ms]
        self.to_ms = max(self.to_ms, summary.to_ms)
        self.taken += 1

    def left_out(self) -> list[str]:
        """Lanes with batches that ended before the newest summary did and that none has counted."""
        return sorted(
            name for name, lane in self.lanes.items() if lane.buckets and lane.buckets[0].end_ms <= self.to_ms
        )

    def _differences(self, summary: Summary, rows: tuple[SummaryRow, ...]) -> Iterator[str]:
        if summary.created_at * 1000 < summary.to_ms:
            yield f"it is dated {summary.created_at}, before its last hour was over"
        names = sorted(name for name in summary.heads if name in self.lanes and self.lanes[name].buckets)
        for name in sorted(set(summary.heads) - set(names)):
            yield f"lane {name} has no batch that the summaries before have not counted"
        if not names:
            return
        from_ms, to_ms = self._window(names)
        if (summary.from_ms, summary.to_ms) != (from_ms, to_ms):
            yield f"it goes from {summary.from_ms} to {summary.to_ms}, where {from_ms} to {to_ms} is due"
        counted: list[LaneHour] = []
        for name in names:
            buckets = [bucket for bucket in self.lanes[name].buckets if bucket.end_ms <= summary.to_ms]
            last = buckets[-1].last if buckets else None
            if last != summary.heads[name]:
                told = summary.heads[name].seq
                yield f"lane {name} is cut at {told}, the last batch that ended by then is {last and last.seq}"
            counted += buckets
        yield from _row_differences(rows, _rows(counted))
        told_sums = (summary.work, summary.shares, summary.rejects)
        sums = (
            sum(row.work for row in rows),
            sum(row.shares for row in rows),
            sum_rejects(reject for row in rows for reject in row.rejects),
        )
        if told_sums != sums:
            yield "its sums are not those of its rows"


def _row_differences(told: tuple[SummaryRow, ...], found: tuple[SummaryRow, ...]) -> Iterator[str]:
    if told == found:
        return
    told_rows = {(row.miner, row.worker): row for row in told}
    found_rows = {(row.miner, row.worker): row for row in found}
    wrong = sorted(key for key in {*told_rows, *found_rows} if told_rows.get(key) != found_rows.get(key))
    miner, worker = wrong[0]
    told_row, found_row = told_rows.get(wrong[0]), found_rows.get(wrong[0])
    text = f"worker {worker!r} of {miner} is told as {told_row}, its batches give {found_row}"
    yield text if len(wrong) == 1 else f"{text}; {len(wrong) - 1} more rows differ"
