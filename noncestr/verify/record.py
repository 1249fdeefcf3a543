"""A miner's own record beside what the log credits it: proves that work was credited, or shows what was not.

Two forms are read, told apart by their first line: the JSON lines that `noncestr miner --record` writes, and the plain
form of docs/verify.md, CSV or JSON lines of one submission each. A submission is found in a receipt by what its header
was made of: extranonce2, ntime, nonce and version, 20 bytes that no two shares of a miner have in common.
"""

import csv
import io
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from accounting.log import PoolLog
from accounting.shares import CheckedShares
from nips.errors import InvalidPoolEvent
from nips.pool.binding import BoundWork, binding
from nips.pool.hashing import display, sha256d
from nips.pool.job import Job
from nips.pool.receipt import Receipt
from nips.pool.targets import share_bits_from_difficulty, target_from_bits, work_from_bits
from noncestr.errors import NoncestrError

_KEY = struct.Struct("<8sIII")
# Of a header: version, ntime, nonce.
_HEADER = struct.Struct("<I64xI4xI")
COLUMNS = ("extranonce2", "ntime", "nonce", "version")


@dataclass(slots=True)
class Submission:
    """A share that the miner handed in. `acknowledged`: the pool said yes; None: the record does not say. What is not
    recorded is empty: `header` (80 bytes), `job` (the pool's name of it), `share_bits` (0), `ms` (0).
    """

    line: int
    key: bytes
    job: str = ""
    acknowledged: bool | None = None
    header: bytes = b""
    share_bits: int = 0
    ms: int = 0
    told_binding: bytes = b""
    extranonce1: bytes = b""


@dataclass(frozen=True, slots=True)
class Credit:
    """Where a submission stands in the log: receipt, number in it, work credited (0: told, and not credited)."""

    receipt: str
    number: int
    work: int


@dataclass(frozen=True, slots=True)
class Uncredited:
    """An acknowledged submission that no receipt credits, with what shows that it was work: `hash` as explorers write
    it, whether it meets the `share_bits` it was handed out at, and the published job whose binding it was mined on.
    """

    line: int
    job: str
    key: str
    header: str = ""
    hash: str = ""
    meets_target: bool | None = None
    bound_job: str = ""


@dataclass(slots=True)
class RecordReport:
    """What the comparison came to. `early`: submissions younger than all the log covers; `other_work`: (line, receipt,
    work expected, work credited).
    """

    miner: str
    submitted: int = 0
    acknowledged: int = 0
    credited: int = 0
    credited_work: int = 0
    early: int = 0
    uncredited: list[Uncredited] = field(default_factory=list)
    other_work: list[tuple[int, str, int, int]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything acknowledged is credited, with its work."""
        return not self.uncredited and not self.other_work

    def to_json(self) -> dict[str, Any]:
        """As it stands in the report."""
        return {
            "miner": self.miner,
            "submitted": self.submitted,
            "acknowledged": self.acknowledged,
            "credited": self.credited,
            "credited_work": str(self.credited_work),
            "not_yet_covered": self.early,
            "uncredited": [
                {name: getattr(each, name) for name in Uncredited.__slots__ if getattr(each, name) not in ("", None)}
                for each in self.uncredited
            ],
            "other_work": [
                {"line": line, "receipt": receipt, "expected": str(expected), "credited": str(credited)}
                for line, receipt, expected, credited in self.other_work
            ],
        }

    def lines(self) -> Iterator[str]:
        """The same as text."""
        yield (
            f"record of {self.miner}: {self.submitted} submissions, {self.acknowledged} acknowledged, "
            f"{self.credited} credited with {self.credited_work} work"
        )
        if self.early:
            yield f"{self.early} are younger than what the log covers so far"
        for line, receipt, expected, credited in self.other_work:
            yield f"line {line}: credited with {credited} instead of {expected} work in receipt {receipt}"
        for each in self.uncredited:
            yield f"line {each.line}: acknowledged and nowhere credited: job {each.job or 'unknown'}, share {each.key}"
            if each.header:
                met = {True: "meets its target", False: "does not meet its target", None: "of unknown target"}
                yield f"  header {each.header}"
                yield f"  hash {each.hash}, {met[each.meets_target]}"
            if each.bound_job:
                yield f"  the work was bound to this miner by job {each.bound_job}"
        yield (
            "every acknowledged share is credited with its work"
            if self.holds
            else "not every acknowledged share is credited with its work"
        )


def _hex(value: object, size: int, what: str) -> bytes:
    text = str(value)
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise ValueError(f"{what} must be hex") from None
    if len(raw) != size:
        raise ValueError(f"{what} has {size} bytes, not {len(raw)}")
    return raw


def _number(value: object, what: str) -> int:
    """A u32, as a number or as Stratum's 8 hex digits."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
        return value
    if isinstance(value, str) and len(value) == 8:
        return int.from_bytes(_hex(value, 4, what), "big")
    raise ValueError(f"{what} must be 8 hex digits")


def _key(extranonce2: bytes, ntime: int, nonce: int, version: int) -> bytes:
    return _KEY.pack(extranonce2.ljust(8, b"\0"), ntime, nonce, version)


def _bits(difficulty: object) -> int:
    if not isinstance(difficulty, int | float | str) or isinstance(difficulty, bool):
        return 0
    try:
        return share_bits_from_difficulty(Fraction(difficulty))
    except (ValueError, ZeroDivisionError, InvalidPoolEvent):
        return 0


class _Recorded:
    """The lines of `noncestr miner --record`: the job told last is its shares'."""

    def __init__(self) -> None:
        self._jobs: dict[str, Mapping[str, Any]] = {}

    def take(self, line: int, fields: Mapping[str, Any]) -> Submission | None:
        """A line. Raises ValueError."""
        if fields.get("type") == "job":
            self._jobs = {str(fields.get("job")): fields}
            return None
        params, header = fields.get("params"), _hex(fields.get("header"), 80, "header")
        if not isinstance(params, list) or len(params) < 5:
            raise ValueError("params must be those of mining.submit")
        version, ntime, nonce = _HEADER.unpack(header)
        job = self._jobs.get(str(fields.get("job")), {})
        notify = job.get("notify")
        coinb1 = bytes.fromhex(str(notify[2])) if isinstance(notify, list) and len(notify) > 3 else b""
        return Submission(
            line=line,
            key=_key(bytes.fromhex(str(params[2])), ntime, nonce, version),
            job=str(fields.get("job", "")),
            acknowledged=fields.get("answer") is True,
            header=header,
            share_bits=_bits(job.get("difficulty")),
            ms=fields["ms"] if isinstance(fields.get("ms"), int) else 0,
            told_binding=coinb1[-32:],
            extranonce1=bytes.fromhex(str(job.get("extranonce1", ""))),
        )


def _plain(line: int, fields: Mapping[str, Any]) -> Submission:
    """A line of the plain form. Raises ValueError."""
    lacking = [name for name in COLUMNS if fields.get(name) in (None, "")]
    if lacking:
        raise ValueError(f"no {', '.join(lacking)}")
    extranonce2 = str(fields["extranonce2"])
    told = fields.get("accepted")
    accepted = None if told in (None, "") else str(told).lower() in ("1", "true", "yes")
    return Submission(
        line=line,
        key=_key(
            _hex(extranonce2, len(extranonce2) // 2, "extranonce2"),
            _number(fields["ntime"], "ntime"),
            _number(fields["nonce"], "nonce"),
            _number(fields["version"], "version"),
        ),
        job=str(fields.get("job") or ""),
        acknowledged=accepted,
        share_bits=_bits(fields.get("difficulty")),
        ms=int(fields.get("ms") or 0),
        extranonce1=bytes.fromhex(str(fields.get("extranonce1") or "")),
    )


def read_record(path: Path) -> list[Submission]:
    """The submissions of a record. Raises NoncestrError, with the line."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NoncestrError(f"--record {path}: {error}") from None
    found: list[Submission] = []
    recorded = _Recorded()
    number = 0
    try:
        if text.lstrip().startswith("{"):
            for number, line in enumerate(text.splitlines(), 1):
                if not line.strip():
                    continue
                fields = json.loads(line)
                if not isinstance(fields, dict):
                    raise ValueError("a line is an object")
                submission = recorded.take(number, fields) if "type" in fields else _plain(number, fields)
                if submission is not None:
                    found.append(submission)
        else:
            for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
                found.append(_plain(number, {name: value.strip() for name, value in row.items() if name and value}))
    except (ValueError, struct.error, LookupError, AttributeError) as error:
        raise NoncestrError(f"--record {path}, line {number}: {error}") from None
    return found


class RecordCheck:
    """Follows an audit's batches and finds a miner's submissions in them."""

    def __init__(self, miner: str, submissions: Iterable[Submission]) -> None:
        self.miner = miner
        self.submissions = list(submissions)
        self._wanted = {submission.key for submission in self.submissions}
        self._credits: dict[bytes, Credit] = {}

    def see(self, receipt: Receipt, shares: CheckedShares) -> None:
        """Look at a batch that was judged; its receipt must have its shares."""
        if self.miner not in receipt.miners:
            return
        mine = {
            number: session.share_bits
            for number, session in enumerate(receipt.sessions)
            if receipt.miners[session.miner] == self.miner
        }
        good: set[int] | None = None
        for index, row in enumerate(receipt.rows()):
            if row[0] not in mine:
                continue
            key = _key(row[7], row[4], row[5], row[6])
            if key in self._wanted:
                good = set(shares.index) if good is None else good
                work = work_from_bits(mine[row[0]]) if index in good else 0
                # Told twice it counts once: the telling that is credited is the one that matters.
                if work or key not in self._credits:
                    self._credits[key] = Credit(receipt.id, index, work)

    def report(self, log: PoolLog) -> RecordReport:
        """What it came to, once the log was read."""
        report = RecordReport(self.miner, submitted=len(self.submissions))
        covered_ms = min((lane.watermark_ms for _, lane in log.lanes.in_order() if not lane.ended), default=0)
        covered_ms = covered_ms or log.mining.totals.to_ms
        lost = []
        for each in self.submissions:
            credit = self._credits.get(each.key)
            report.acknowledged += each.acknowledged is not False
            if credit is not None and credit.work:
                report.credited += 1
                report.credited_work += credit.work
                expected = work_from_bits(each.share_bits) if each.share_bits else credit.work
                if expected > credit.work:
                    report.other_work.append((each.line, credit.receipt, expected, credit.work))
            elif each.ms > covered_ms:
                report.early += 1
            elif each.acknowledged is not False:
                lost.append(each)
        jobs = _jobs_by_prevhash(log, {each.header[4:36] for each in lost if each.header})
        report.uncredited = [self._evidence(each, log, jobs) for each in lost]
        return report

    def _evidence(self, each: Submission, log: PoolLog, jobs: Mapping[bytes, list[Job]]) -> Uncredited:
        header = each.header
        if not header and each.share_bits and len(each.extranonce1) == 4:
            job = log.mining.read_jobs.get(each.job)
            if job is not None:
                extranonce2, ntime, nonce, version = _KEY.unpack(each.key)
                work = BoundWork(job, self.miner, each.share_bits, each.extranonce1)
                header = work.header(extranonce2, ntime, nonce, version)
        if not header:
            return Uncredited(each.line, each.job, each.key.hex())
        value = sha256d(header)
        meets = int.from_bytes(value, "little") <= target_from_bits(each.share_bits) if each.share_bits else None
        bound = next(
            (
                job.id
                for job in jobs.get(header[4:36], ())
                if each.share_bits
                and binding(bytes.fromhex(job.id), bytes.fromhex(self.miner), each.share_bits) == each.told_binding
            ),
            "",
        )
        return Uncredited(each.line, each.job, each.key.hex(), header.hex(), display(value), meets, bound)


def _jobs_by_prevhash(log: PoolLog, wanted: set[bytes]) -> dict[bytes, list[Job]]:
    found: dict[bytes, list[Job]] = {}
    if wanted:
        for _, job in log.mining.read_jobs.scan():
            if job.prevhash in wanted:
                found.setdefault(job.prevhash, []).append(job)
    return found
