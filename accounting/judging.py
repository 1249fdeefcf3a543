"""Share receipts, judged: what the lane, the rest of the log and earlier shares say of a batch that was hashed."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from accounting.checks import Known
from accounting.drafts import MARK_SIZE, Draft, Fault, JobSpec, draft_batch
from accounting.findings import Code
from accounting.schemes.lots import Price
from accounting.shares import CheckedShares, JobRef
from nips.pool.job import Job
from nips.pool.receipt import Receipt


@dataclass(frozen=True, slots=True)
class JobUse:
    """A job as one batch uses it. `job` is None when it could not be read; `problem`: why its shares count nothing;
    `unchecked`: its shares can't be judged. `last_ms`: the last time at which the job lives in this lane.
    `easiest`: the easiest target the terms allow; `block`: what a hash must meet to be a block.
    """

    job: Job | None
    problem: Code | None = None
    unchecked: bool = False
    last_ms: int = 0
    easiest: int = 0
    block: int = 0
    price: Price | None = None
    by_worker: bool = False

    @property
    def ref(self) -> JobRef | None:
        """The job as its shares name it."""
        if self.job is None:
            return None
        return JobRef(self.job.id, self.job.height, self.job.offer, self.price, self.by_worker)

    @property
    def spec(self) -> JobSpec | None:
        """What its shares are hashed by; None if their hashes make no difference."""
        if self.job is None or self.problem is not None or self.unchecked:
            return None
        return JobSpec(self.job, self.easiest, self.block)


class Place(NamedTuple):
    """Where a share stands, in the order that decides which of two equal ones is the first (SPEC.md, "S")."""

    t: int
    lane: int
    seq: int
    number: int


class SeenBatch(NamedTuple):
    """One batch's shares on one job: where they stand, and their marks, joined."""

    lane: int
    seq: int
    t: "array[int]"
    numbers: "array[int]"
    marks: bytes


@dataclass(slots=True)
class Seen:
    """The marks of one job's shares, while shares on it can come, and the batches taken without hashing. `places` is
    made when the first share comes twice: until then nobody asks where a mark was seen.
    """

    marks: set[bytes] = field(default_factory=set)
    batches: list[SeenBatch] = field(default_factory=list)
    unhashed: list[tuple[Receipt | Known, int]] = field(default_factory=list)
    places: dict[bytes, Place] | None = None

    def add_new(self, batch: SeenBatch) -> bool:
        """Take up a batch none of whose shares was seen. False, and nothing is taken up, if one was."""
        marks = _split(batch.marks)
        if self.places is not None or not self.marks.isdisjoint(marks) or len(set(marks)) != len(marks):
            return False
        self.marks.update(marks)
        self.batches.append(batch)
        return True

    def take(self, batch: SeenBatch) -> None:
        """Take up a batch that is known to repeat nothing."""
        self.marks.update(_split(batch.marks))
        self.batches.append(batch)

    def by_mark(self) -> dict[bytes, Place]:
        """Where each mark was first seen; from now on the one record of it."""
        if self.places is None:
            self.places = {}
            for batch in self.batches:
                for mark, place in _placed(batch):
                    earlier = self.places.setdefault(mark, place)
                    self.places[mark] = min(earlier, place)
            self.batches.clear()
        return self.places


def _split(marks: bytes) -> list[bytes]:
    return [marks[at : at + MARK_SIZE] for at in range(0, len(marks), MARK_SIZE)]


def _placed(batch: SeenBatch) -> Iterator[tuple[bytes, Place]]:
    for mark, t, number in zip(_split(batch.marks), batch.t, batch.numbers, strict=True):
        yield mark, Place(t, batch.lane, batch.seq, number)


@dataclass(slots=True)
class Verdict:
    """What became of a batch: its good shares, the bad ones by rule, and earlier credit that falls."""

    shares: CheckedShares
    faults: list[Fault]
    displaced: list[Place]
    told_work: int


class _Batch:
    """A batch being judged. `good` says of each row of the draft's columns whether it still is."""

    def __init__(self, receipt: Receipt, draft: Draft, uses: Sequence[JobUse], seen: Mapping[str, Seen]) -> None:
        self.receipt = receipt
        self.draft = draft
        self.uses = uses
        self.seen = seen
        self.good = bytearray(b"\1") * len(draft.t)
        self.faults: list[Fault] = []
        self.displaced: list[Place] = []
        self.unchecked = 0

    def judge(self) -> None:
        """Apply the uses, then look for shares that came before."""
        for fault in self.draft.faults:
            self._keep_fault(fault)
        for index, session, job in self.draft.unjudged:
            use = self.uses[job]
            if use.unchecked:
                self.unchecked += 1
            else:
                self.faults.append(Fault(index, session, job, use.problem or Code.SHARE_JOB))
        for number, rows in self._rows():
            use = self.uses[number]
            if use.spec is None:
                for row in rows:
                    self._drop(row, use)
                continue
            last_ms, t = use.last_ms, self.draft.t
            # Rows are in time order: what outlives the job stands at the end.
            kept = len(rows)
            while kept and t[rows[kept - 1]] > last_ms:
                kept -= 1
                self._fault(rows[kept], Code.SHARE_TIME)
            if kept:
                self._look_for_earlier(use, rows[:kept])

    def _rows(self) -> Iterator[tuple[int, Sequence[int]]]:
        """The draft's rows by job, each in time order."""
        if len(self.uses) == 1:
            yield 0, range(len(self.draft.t))
            return
        rows: dict[int, list[int]] = {}
        for row, number in enumerate(self.draft.job):
            rows.setdefault(number, []).append(row)
        yield from sorted(rows.items())

    def _keep_fault(self, fault: Fault) -> None:
        use = self.uses[fault.job]
        if use.unchecked:
            self.unchecked += 1
        else:
            self.faults.append(fault if use.problem is None else fault._replace(code=use.problem))

    def _drop(self, row: int, use: JobUse) -> None:
        if use.unchecked:
            self.good[row] = 0
            self.unchecked += 1
        else:
            self._fault(row, use.problem or Code.SHARE_JOB)

    def _fault(self, row: int, code: Code) -> None:
        draft = self.draft
        self.good[row] = 0
        self.faults.append(Fault(draft.index[row], draft.session[row], draft.job[row], code))

    def _look_for_earlier(self, use: JobUse, rows: Sequence[int]) -> None:
        draft, receipt = self.draft, self.receipt
        assert use.job is not None
        seen = self.seen[use.job.id]
        if len(rows) == len(draft.t):
            t, index, marks = draft.t, draft.index, draft.marks
        else:
            t, index = array("q", [draft.t[row] for row in rows]), array("I", [draft.index[row] for row in rows])
            marks = b"".join(draft.marks[row * MARK_SIZE : (row + 1) * MARK_SIZE] for row in rows)
        batch = SeenBatch(receipt.lane, receipt.link.seq, t, index, marks)
        if seen.add_new(batch):
            return
        places = seen.by_mark()
        row_of = dict(zip(index, rows, strict=True))
        for mark, place in _placed(batch):
            earlier = places.setdefault(mark, place)
            if earlier is place:
                continue
            if place < earlier:
                places[mark] = place
                if (earlier.lane, earlier.seq) == (receipt.lane, receipt.link.seq):
                    self._fault(row_of[earlier.number], Code.SHARE_TWICE)
                else:
                    self.displaced.append(earlier)
            else:
                self._fault(row_of[place.number], Code.SHARE_TWICE)

    def checked(self) -> CheckedShares:
        """What it came to."""
        draft = self.draft
        t, index, session, job, ratios = draft.t, draft.index, draft.session, draft.job, draft.ratios
        if 0 in self.good:
            keep = [row for row, good in enumerate(self.good) if good]
            t, index, session, job, ratios = (
                array(column.typecode, [column[row] for row in keep]) for column in (t, index, session, job, ratios)
            )
        sums = [0] * len(draft.sessions)
        for who, ratio in zip(session, ratios, strict=True):
            sums[who] += ratio
        used = {use.job.id for use in self.uses if use.job is not None and use.spec is not None}
        return CheckedShares(
            t=t,
            index=index,
            session=session,
            job=job,
            sessions=draft.sessions,
            jobs=tuple(use.ref or JobRef(name, 0, "") for name, use in zip(self.receipt.jobs, self.uses, strict=True)),
            bad=len(self.faults),
            uncredited=draft.uncredited,
            unchecked=self.unchecked,
            solutions=tuple(sorted(solution for solution in draft.solutions if solution.job in used)),
            ratios=tuple(sums),
            best=draft.best,
            told=draft.told,
            spoiled=tuple(sorted({fault.session for fault in self.faults})),
            rejects=self.receipt.rejects,
        )


def judge_batch(receipt: Receipt, draft: Draft, uses: Sequence[JobUse], seen: Mapping[str, Seen]) -> Verdict:
    """Judge a batch that was hashed. `uses` are the receipt's jobs in its order; `seen` the marks so far of each job,
    by id, which this batch's are added to.
    """
    batch = _Batch(receipt, draft, uses, seen)
    batch.judge()
    return Verdict(batch.checked(), sorted(batch.faults), batch.displaced, draft.told)


def check_batch(receipt: Receipt, uses: Sequence[JobUse], seen: Mapping[str, Seen]) -> Verdict:
    """Hash a batch and judge it."""
    return judge_batch(receipt, draft_batch(receipt, [use.spec for use in uses]), uses, seen)


def hash_unhashed(spec: JobSpec, seen: Seen) -> None:
    """Take up the marks of batches that were known without hashing, since a new share might repeat one of them."""
    for known, number in seen.unhashed:
        receipt = known.receipt() if isinstance(known, Known) else known
        draft = draft_batch(receipt, [spec if n == number else None for n in range(len(receipt.jobs))])
        batch = SeenBatch(receipt.lane, receipt.link.seq, draft.t, draft.index, draft.marks)
        if not seen.add_new(batch):
            places = seen.by_mark()
            for mark, place in _placed(batch):
                places[mark] = min(places.setdefault(mark, place), place)
    seen.unhashed.clear()
