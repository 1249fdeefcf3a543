"""How fast the audit hashes shares: `python -m bench.verify [shares a batch] [batches]`.

A real batch of toy difficulty is mined once for each number of merkle branches; what is timed is `check_batch` alone,
then a whole audit with its signatures. The yardstick beside it is sha256d of an 80-byte header on the same core: the
least that a share could cost by plain hashing is one, plus one for the coinbase and one a branch; the native lanes hash
several shares at once, so that they pass it.
"""

import hashlib
import sys
import time
from array import array
from collections.abc import Callable
from fractions import Fraction

from accounting.judging import JobUse, Seen, check_batch
from accounting.verifier import audit
from nips.keys import SecretKey
from nips.nip01 import Event, VerifiedEvent, decode_event, encode_event, verify
from nips.pool import lanes
from nips.pool.address import PoolAddress
from nips.pool.binding import BoundWork
from nips.pool.chain import FIRST, Head, Link
from nips.pool.coinbase import Output, build_coinb1, build_coinb2, push_height
from nips.pool.hashing import sha256d
from nips.pool.job import Job, JobBody, build_job, parse_job
from nips.pool.receipt import ReceiptBody, Session, ShareRecord, build_receipt, parse_receipt
from nips.pool.targets import share_bits_from_difficulty, target_from_bits, work_from_bits
from nips.pool.terms import Limits, Offer, TermsBody, build_terms

T0 = 1_700_000_000_000
# One hash in two is a share: mining the batch takes no time, checking it takes all of it.
BITS = share_bits_from_difficulty(Fraction(1, 1 << 31))
HARDEST = 0x03008000
BRANCHES = (0, 1, 6, 12)
SESSIONS = 100
KEY = SecretKey(hashlib.sha256(b"bench").digest())
POOL = PoolAddress(KEY.pubkey, "regtest")


def timed(work: Callable[[], object], least_s: float = 1.0) -> float:
    """Seconds a call takes, over at least so many."""
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < least_s:
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


def unverified(event: VerifiedEvent) -> Event:
    return decode_event(encode_event(event))


def main() -> None:
    shares = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    batches = int(sys.argv[2]) if len(sys.argv) > 2 else 40
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
    roles = tuple((KEY.pubkey, role) for role in ("edge", "accounting", "zapper"))
    body = TermsBody(offers={"main": Offer()}, keys=roles, limits=Limits(easiest_bits=BITS, block_bits=HARDEST))
    terms = KEY.sign(build_terms(POOL, FIRST, T0 // 1000, body))
    job_event = make_job(terms.id, {0: ""}, 6)
    events: list[VerifiedEvent] = [terms, job_event]
    link = FIRST
    for seed in range(batches):
        events.append(make_batch(parse_job(job_event), shares, link, seed))
        link = Head(link.seq, events[-1].id).next()
    wire = [unverified(event) for event in events]
    start = time.perf_counter()
    checked = [verify(event) for event in wire]
    signed = time.perf_counter()
    report = audit(checked, [], POOL, now_ms=None)
    spent = time.perf_counter() - signed
    assert report.exit_code == 0, list(report.lines())
    total = shares * batches
    print(f"\na whole audit, 6 branches, {batches} batches of {shares}: {total / spent:,.0f} shares/s")
    print(f"their signatures: {len(wire) / (signed - start):,.0f} events/s")
    print(f"kept in memory: {sum(array(code).itemsize for code in 'qIHB')} bytes a share")


if __name__ == "__main__":
    main()
