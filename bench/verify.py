"""How fast the audit hashes shares, and in how much memory: `python -m bench.verify [shares of the shortest log]`.

A real batch of toy difficulty is mined once for each number of merkle branches; what is timed first is `check_batch`
alone. The yardstick beside it is sha256d of an 80-byte header on the same core: the least that a share could cost by
plain hashing is one, plus one for the coinbase and one a branch; the native lanes hash several shares at once, so that
they pass it. Then whole audits by `noncestr verify`, of logs once, four and sixteen times as long, which are made once
(bench.synthetic_log) and kept in the temporary folder.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from accounting.judging import JobUse, Seen, check_batch
from bench import synthetic_log
from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.pool import lanes
from nips.pool.address import PoolAddress
from nips.pool.binding import BoundWork
from nips.pool.chain import FIRST, Link
from nips.pool.coinbase import Output, build_coinb1, build_coinb2, push_height
from nips.pool.hashing import sha256d
from nips.pool.job import Job, JobBody, build_job, parse_job
from nips.pool.receipt import ReceiptBody, Session, ShareRecord, build_receipt, parse_receipt
from nips.pool.targets import share_bits_from_difficulty, target_from_bits, work_from_bits

T0 = 1_700_000_000_000
# One hash in two is a share: mining the batch takes no time, checking it takes all of it.
BITS = share_bits_from_difficulty(Fraction(1, 1 << 31))
HARDEST = 0x03008000
BRANCHES = (0, 1, 6, 12)
SESSIONS = 100
KEY = SecretKey(hashlib.sha256(b"bench").digest())
POOL = PoolAddress(KEY.pubkey, "regtest")


def timed(work: Callable[[], object], least_s: float = 1.0) -> float:
    """Seconds of CPU a call takes, over at least so many: on a busy machine the clock would measure the others."""
    calls, start = 0, time.process_time()
    while (spent := time.process_time() - start) < least_s:
        work()
        calls += 1
    return spent / calls


def make_job(terms: str, heads: dict[int, str], branches: int) -> VerifiedEvent:
    body = JobBody(
        ms=T0,
        terms=terms,
        offer="main",
        heads=heads,
        height=101,
        version=0x20000000,
        prevhash=sha256d(b"tip"),
        nbits=0x207FFFFF,
        ntime=T0 // 1000,
        coinb1=build_coinb1(2, push_height(101)),
        coinb2=build_coinb2((Output(5_000_000_000, b"\x51" * 34), Output(0, b"\x6a" * 38))),
        merkle=tuple(sha256d(bytes([n])) for n in range(branches)),
        version_mask=0,
    )
    return KEY.sign(build_job(POOL, body))


def make_batch(job: Job, shares: int, link: Link, seed: int) -> VerifiedEvent:
    """A receipt of real shares of 100 sessions of one miner."""
    target = target_from_bits(BITS)
    sessions = tuple(Session(0, f"w{n}", n.to_bytes(4, "big"), BITS) for n in range(SESSIONS))
    works = [BoundWork(job, KEY.pubkey, BITS, session.extranonce1) for session in sessions]
    rows: list[ShareRecord] = []
    nonce = 0
    while len(rows) < shares:
        nonce += 1
        number, extra = nonce % SESSIONS, (seed << 32 | nonce).to_bytes(8, "big")
        value = int.from_bytes(works[number].hash(extra, job.ntime, nonce, job.version), "little")
        if value <= target:
            rows.append(ShareRecord(number, 0, 0, len(rows) * 5000 // shares, job.ntime, nonce, job.version, extra))
    from_ms = T0 + 5000 * link.seq
    body = ReceiptBody(
        lane=0,
        link=link,
        from_ms=from_ms,
        to_ms=from_ms + 5000,
        jobs=(job.id,),
        miners=(KEY.pubkey,),
        sessions=sessions,
        shares=b"".join(row.pack() for row in rows),
        rejects=(),
        work=work_from_bits(BITS) * shares,
    )
    return KEY.sign(build_receipt(POOL, body, (from_ms + 5999) // 1000))


class Audited(NamedTuple):
    """What the command took for a log: seconds, seconds of CPU with its workers', and the most memory, MB."""

    seconds: float
    cpu_s: float
    memory_mb: int


def audited(path: Path, jobs: int, *options: str) -> Audited:
    """Run the command."""
    command = [sys.executable, "-m", "noncestr", "verify", "--pool", synthetic_log.POOL.pubkey, "--archive", str(path)]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--jobs", str(jobs), *options], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Audited(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024)


def log_of(shares: int, branches: int) -> Path:
    """A log of that length, made if it is not there from another time."""
    path = Path(tempfile.gettempdir()) / f"noncestr-bench-{shares}-{branches}.jsonl"
    synthetic_log.write_log(path, shares, branches)
    return path


def main() -> None:
    shortest, shares = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, 1500
    header = bytes(80)
    yardstick = 1 / timed(lambda: [sha256d(header) for _ in range(1000)]) * 1000
    print(f"sha256d of 80 bytes: {yardstick:,.0f}/s; hashing: {lanes.implementation()}\n")
    print("branches  shares/s  pure Python  sha256d a share  of the yardstick's")
    for branches in BRANCHES:
        job = parse_job(make_job("00" * 32, {0: ""}, branches))
        receipt = parse_receipt(make_batch(job, shares, FIRST, 0))
        use = JobUse(job, last_ms=T0 + 600_000, easiest=target_from_bits(BITS), block=target_from_bits(HARDEST))

        def check(use: JobUse = use, receipt: object = receipt, job: Job = job) -> None:
            verdict = check_batch(receipt, [use], {job.id: Seen()})  # type: ignore[arg-type]  # bound by the loop
            assert len(verdict.shares) == shares

        rate, hashes = shares / timed(check), 2 + branches
        lanes.use_pure("to compare")
        pure = shares / timed(check)
        lanes.use_native()
        print(f"{branches:8}  {rate:8,.0f}  {pure:11,.0f}  {hashes:15}  {100 * rate * hashes / yardstick:17.0f}%")
    print("\nwhole audits by the command, signatures and all\n")
    print("branches      shares  processes  seconds  shares/s  CPU s  shares/CPU s  to the yardstick  MB")
    for branches in (0, 12):
        for times in (1, 4, 16):
            if branches == 0 and times > 1:
                continue
            length = times * shortest
            path = log_of(length, branches)
            for jobs in sorted({1, os.cpu_count() or 1}):
                took = audited(path, jobs)
                row = f"{branches:8}  {length:10,}  {jobs:9}  {took.seconds:7.1f}  {length / took.seconds:8,.0f}"
                rate = length / took.cpu_s
                row += f"  {took.cpu_s:5.1f}  {rate:12,.0f}  {rate / yardstick:16.3f}  {took.memory_mb}"
                print(row, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file, path = Path(folder) / "checkpoint", log_of(4 * shortest, 12)
        audited(path, 1, "--checkpoint", str(file))
        took = audited(path, 1, "--checkpoint", str(file))
        print(f"\ngone on with from a checkpoint, nothing new: {took.cpu_s:.1f} s of CPU, {took.memory_mb} MB")
        print(f"the checkpoint: {file.stat().st_size / 4 / shortest:.1f} bytes a share")


if __name__ == "__main__":
    main()
