"""Share receipts, judged: every credited share's header is rebuilt and hashed (SPEC.md, "4212 share receipt")."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import NamedTuple

import msgspec

from accounting.findings import Code
from nips.keys import is_valid_xonly
from nips.pool.binding import BoundWork
from nips.pool.job import Job
from nips.pool.lanes import HASH_SIZE, hash_records
from nips.pool.receipt import CREDITED_STATUSES, LATE_BLOCK, Receipt
from nips.pool.targets import target_from_bits, work_from_bits

# A header's time may lie up to two hours after the job's (SPEC.md; Bitcoin's own bound on the future).
MAX_NTIME_AHEAD_S = 7200
# hash / target is summed in units of 1/65536.
RATIO_BITS = 16

_valid_miner = lru_cache(maxsize=65_536)(is_valid_xonly)
_work = lru_cache(maxsize=4096)(work_from_bits)
_target = lru_cache(maxsize=4096)(target_from_bits)


class Session(NamedTuple):
    """Whose shares: miner (hex), worker's name, work of each share."""

    miner: str
    worker: str
    work: int


class JobRef(NamedTuple):
    """Which work: the 4211's id, its height and offer."""

    id: str
    height: int
    offer: str


class GoodShare(NamedTuple):
    """A good credited share. `number` is its number within the receipt, `t` its time in Unix ms."""

    t: int
    number: int
    miner: str
    worker: str
    work: int
    height: int
    offer: str


class Solution(NamedTuple):
    """A share that is a block of its job. `header`: 80 bytes; `coinbase`: without its witness; `late`: status 5."""

    number: int
    t: int
    miner: str
    job: str
    header: bytes
    coinbase: bytes
    late: bool


@dataclass(frozen=True, slots=True)
class CheckedShares:
    """The good credited shares of a batch in columns, in the receipt's order, and what else was in it.

    `t`: Unix ms; `index`: number within the receipt; `session`, `job`: numbers into `sessions` and `jobs`. `bad` shares
    were credited and break a rule, `uncredited` ones were told as such, `unchecked` ones can't be judged (upstream
    binding, or a job that is missing). `ratios`: hash / target of the good shares, summed by session, in 1/65536.
    """

    t: "array[int]"
    index: "array[int]"
    session: "array[int]"
    job: "array[int]"
    sessions: tuple[Session, ...]
    jobs: tuple[JobRef, ...]
    bad: int = 0
    uncredited: int = 0
    unchecked: int = 0
    solutions: tuple[Solution, ...] = ()
    ratios: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.t)

    def __iter__(self) -> Iterator[GoodShare]:
        for t, index, session, job in zip(self.t, self.index, self.session, self.job, strict=True):
            who, what = self.sessions[session], self.jobs[job]
            yield GoodShare(t, index, who.miner, who.worker, who.work, what.height, what.offer)

    @property
    def work(self) -> int:
        """The sum of the good shares' work."""
        return sum(self.sessions[session].work for session in self.session)

    def without(self, index: int) -> "CheckedShares":
        """The same less one share, which counts as bad."""
        keep = [row for row, number in enumerate(self.index) if number != index]
        t, numbers, session, job = (
            array(column.typecode, [column[row] for row in keep])
            for column in (self.t, self.index, self.session, self.job)
        )
        return replace(self, bad=self.bad + 1, t=t, index=numbers, session=session, job=job)

    def pack(self) -> bytes:
        """The columns as MessagePack, for whoever keeps them over a restart."""
        return msgspec.msgpack.encode(
            [
                [(column.typecode, column.tobytes()) for column in (self.t, self.index, self.session, self.job)],
                [(who.miner, who.worker, str(who.work)) for who in self.sessions],
                self.jobs,
                [self.bad, self.uncredited, self.unchecked],
                self.solutions,
                self.ratios,
            ]
        )


_Packed = tuple[
    list[tuple[str, bytes]],
    list[tuple[str, str, str]],
    list[JobRef],
    tuple[int, int, int],
    list[Solution],
    tuple[int, ...],
]


def unpack_shares(data: bytes) -> CheckedShares:
    """What `pack` wrote. Raises msgspec.MsgspecError for anything else."""
    columns, sessions, jobs, counts, solutions, ratios = msgspec.msgpack.decode(data, type=_Packed)
    t, index, session, job = (array(typecode, raw) for typecode, raw in columns)
    return CheckedShares(
        t=t,
        index=index,
        session=session,
        job=job,
        sessions=tuple(Session(miner, worker, int(work)) for miner, worker, work in sessions),
        jobs=tuple(jobs),
        bad=counts[0],
        uncredited=counts[1],
        unchecked=counts[2],
        solutions=tuple(solutions),
        ratios=ratios,
    )


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


class Place(NamedTuple):
    """Where a share stands, in the order that decides which of two equal ones is the first (SPEC.md, "S")."""

    t: int
    lane: int
    seq: int
    number: int


@dataclass(slots=True)
class Seen:
    """The header hashes of one job's shares, while shares on it can come, and the batches taken without hashing."""

    hashes: dict[int, Place] = field(default_factory=dict)
    unhashed: list[tuple[Receipt, int]] = field(default_factory=list)


@dataclass(slots=True)
class Verdict:
    """What became of a batch: its good shares, the bad ones' numbers by rule, and earlier credit that falls."""

    shares: CheckedShares
    problems: dict[Code, list[int]]
    displaced: list[Place]
    told_work: int


def told_work(receipt: Receipt) -> int:
    """The sum of the work of the shares told as credited, good or not."""
    works = [_work(session.share_bits) for session in receipt.sessions]
    return sum(works[row[0]] for row in receipt.rows() if row[2] in CREDITED_STATUSES)


def _bind(receipt: Receipt, session: int, job: Job) -> BoundWork:
    who = receipt.sessions[session]
    return BoundWork(job, receipt.miners[who.miner], who.share_bits, who.extranonce1)


def hash_unhashed(job: Job, seen: Seen) -> None:
    """Take up the hashes of batches that were trusted without hashing, since a new share might repeat one of them."""
    for receipt, number in seen.unhashed:
        rows = receipt.rows()
        credited = [n for n, row in enumerate(rows) if row[1] == number and row[2] in CREDITED_STATUSES]
        sessions = {rows[n][0] for n in credited}
        hashes = hash_records({s | number << 16: _bind(receipt, s, job).bound for s in sessions}, receipt.shares)
        for n in credited:
            value = int.from_bytes(hashes[n * HASH_SIZE : (n + 1) * HASH_SIZE], "little")
            seen.hashes[value] = Place(receipt.from_ms + rows[n][3], receipt.lane, receipt.link.seq, n)
    seen.unhashed.clear()


class _Batch:
    """A batch being judged, a group of the shares of one session and one job at a time."""

    def __init__(self, receipt: Receipt, uses: Sequence[JobUse], seen: Mapping[str, Seen]) -> None:
        self.receipt = receipt
        self.uses = uses
        self.seen = seen
        self.rows = receipt.rows()
        # 1 for each good share, by its number.
        self.good = bytearray(len(self.rows))
        self.problems: dict[Code, list[int]] = {}
        self.displaced: list[Place] = []
        self.solutions: list[Solution] = []
        self.ratios = [0] * len(receipt.sessions)
        self.uncredited = 0
        self.unchecked = 0
        self.told = 0

    def judge(self) -> None:
        """Sort the shares out by group, hash those that a hash can make good, and judge them."""
        groups: dict[int, list[int]] = {}
        for index, row in enumerate(self.rows):
            groups.setdefault(row[0] | row[1] << 16, []).append(index)
        works = {place: work for place, group in groups.items() if (work := self._admit(place, group)) is not None}
        hashes = hash_records({place: work.bound for place, work in works.items()}, self.receipt.shares)
        for place, work in works.items():
            self._judge_group(place & 0xFFFF, self.uses[place >> 16], work, groups[place], hashes)

    def _admit(self, place: int, group: list[int]) -> BoundWork | None:
        """The work a group is hashed by; None if its hashes don't matter, since all of it is bad or unchecked."""
        session, use = place & 0xFFFF, self.uses[place >> 16]
        who = self.receipt.sessions[session]
        credited = [index for index in group if self.rows[index][2] in CREDITED_STATUSES]
        self.told += _work(who.share_bits) * len(credited)
        self.uncredited += len(group) - len(credited)
        if use.unchecked:
            self.unchecked += len(credited)
            return None
        problem = use.problem
        if problem is None and _target(who.share_bits) > use.easiest:
            problem = Code.SHARE_TOO_EASY
        if problem is None and not _valid_miner(self.receipt.miners[who.miner]):
            problem = Code.SHARE_MINER
        if problem is None and use.job is not None:
            return _bind(self.receipt, session, use.job)
        if credited:
            self.problems.setdefault(problem or Code.SHARE_JOB, []).extend(credited)
        return None

    def _judge_group(self, session: int, use: JobUse, work: BoundWork, group: list[int], hashes: bytes) -> None:
        """The hot loop: everything that is the same for the group is looked up before it."""
        receipt, job, rows, good = self.receipt, work.job, self.rows, self.good
        target, block, seen = _target(work.share_bits), use.block, self.seen[job.id].hashes
        # Place._make less the check of a length that is plain to see.
        from_bytes, make_place = int.from_bytes, partial(tuple.__new__, Place)
        from_ms, lane, seq = receipt.from_ms, receipt.lane, receipt.link.seq
        first_ms, last_ms, first_ntime = job.ms, use.last_ms, job.ntime
        fixed_bits, version_bits = ~job.version_mask & 0xFFFFFFFF, job.version
        ratio = 0
        for index in group:
            _, _, status, ms, ntime, nonce, version, extranonce2 = rows[index]
            at = index * HASH_SIZE
            value = from_bytes(hashes[at : at + HASH_SIZE], "little")
            t = from_ms + ms
            if value <= block:
                header, coinbase = work.header(extranonce2, ntime, nonce, version), work.coinbase(extranonce2)
                late = status == LATE_BLOCK
                self.solutions.append(Solution(index, t, work.miner, job.id, header, coinbase, late))
            if status not in CREDITED_STATUSES:
                continue
            if value > target:
                problem = Code.SHARE_WORK
            elif not first_ms <= t <= last_ms:
                problem = Code.SHARE_TIME
            elif not first_ntime <= ntime <= min(first_ntime, t // 1000) + MAX_NTIME_AHEAD_S:
                problem = Code.SHARE_NTIME
            elif (version ^ version_bits) & fixed_bits:
                problem = Code.SHARE_VERSION
            else:
                place = make_place((t, lane, seq, index))
                earlier = seen.setdefault(value, place)
                if earlier is place or place < earlier:
                    if earlier is not place:
                        self._displace(earlier)
                        seen[value] = place
                    good[index] = 1
                    ratio += (value << RATIO_BITS) // target
                    continue
                problem = Code.SHARE_TWICE
            self.problems.setdefault(problem, []).append(index)
        self.ratios[session] += ratio

    def _displace(self, earlier: Place) -> None:
        if (earlier.lane, earlier.seq) == (self.receipt.lane, self.receipt.link.seq):
            self.good[earlier.number] = 0
            self.problems.setdefault(Code.SHARE_TWICE, []).append(earlier.number)
        else:
            self.displaced.append(earlier)

    def checked(self) -> CheckedShares:
        """What it came to."""
        receipt, rows = self.receipt, self.rows
        good = [index for index, is_good in enumerate(self.good) if is_good]
        return CheckedShares(
            t=array("q", [receipt.from_ms + rows[index][3] for index in good]),
            index=array("I", good),
            session=array("H", [rows[index][0] for index in good]),
            job=array("B", [rows[index][1] for index in good]),
            sessions=tuple(
                Session(receipt.miners[session.miner], session.worker, _work(session.share_bits))
                for session in receipt.sessions
            ),
            jobs=tuple(
                JobRef(job, 0, "") if use.job is None else JobRef(job, use.job.height, use.job.offer)
                for job, use in zip(receipt.jobs, self.uses, strict=True)
            ),
            bad=sum(len(indexes) for indexes in self.problems.values()),
            uncredited=self.uncredited,
            unchecked=self.unchecked,
            solutions=tuple(sorted(self.solutions)),
            ratios=tuple(self.ratios),
        )


def check_batch(receipt: Receipt, uses: Sequence[JobUse], seen: Mapping[str, Seen]) -> Verdict:
    """Judge a batch. `uses` are the receipt's jobs in its order; `seen` the hashes so far of each job, by id, which
    this batch's are added to.
    """
    batch = _Batch(receipt, uses, seen)
    batch.judge()
    return Verdict(batch.checked(), batch.problems, batch.displaced, batch.told)
