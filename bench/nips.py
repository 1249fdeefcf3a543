"""What an event and a share cost, and what the hash lanes make of many shares: `python -m bench.nips [seconds a row]`.

Each row is also given as a ratio to sha256d of an 80-byte header in the same run, which travels between machines.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from functools import partial
from time import process_time

from nips.keys import SecretKey
from nips.nip01 import Event, UnsignedEvent, decode_event, encode_event, event_id, verify
from nips.pool import lanes, pure_lanes
from nips.pool.address import PoolAddress
from nips.pool.binding import BoundWork, binding
from nips.pool.chain import FIRST
from nips.pool.coinbase import Output, build_coinb1, build_coinb2, push_data, push_height
from nips.pool.hashing import sha256d
from nips.pool.job import JobBody, build_job, parse_job
from nips.pool.lanes import Bound, JobWork
from nips.pool.receipt import ReceiptBody, Session, ShareRecord, build_receipt, parse_receipt
from nips.pool.targets import share_bits_from_difficulty

if lanes.is_native():
    from nips.pool import _lanes

KEY = SecretKey(hashlib.sha256(b"noncestr test key 0").digest())
POOL = PoolAddress(KEY.pubkey, "main")
BRANCHES = 12  # a full block of 4,000 transactions
SHARES = 1000  # a receipt of 40 KB
BASE = "sha256d of a header"


def job_event(branches: int = BRANCHES) -> UnsignedEvent:
    """A job as mainnet gives it."""
    body = JobBody(
        ms=1_767_225_600_000,
        terms="00" * 32,
        offer="main",
        heads={0: ""},
        height=930_000,
        version=0x20000000,
        prevhash=sha256d(b"prevhash"),
        nbits=0x1701E2A0,
        ntime=1_767_225_600,
        coinb1=build_coinb1(2, push_height(930_000) + push_data(b"/noncestr/")),
        coinb2=build_coinb2((Output(312_500_000, b"\x51\x20" + bytes(32)), Output(0, b"\x6a\x24" + bytes(36)))),
        merkle=tuple(sha256d(bytes([n])) for n in range(branches)),
        version_mask=0x1FFFE000,
    )
    return build_job(POOL, body)


def receipt_event(job: str) -> UnsignedEvent:
    """A receipt of SHARES shares of one miner."""
    bits = share_bits_from_difficulty(512)
    records = b"".join(ShareRecord(0, 0, 0, n, n, n, n, bytes(8)).pack() for n in range(SHARES))
    sessions = (Session(0, "rig-1", bytes(4), bits),)
    body = ReceiptBody(0, FIRST, 0, 10_000, (job,), (KEY.pubkey,), sessions, records, (), 0)
    return build_receipt(POOL, body, 10)


def rate(work: Callable[[], object], seconds: float) -> float:
    """Calls per second of CPU time, the best of three rounds."""
    start, times = process_time(), 0
    while process_time() - start < seconds / 10:
        work()
        times += 1
    times, best = max(1, times * 3), 0.0
    for _ in range(3):
        start = process_time()
        for _ in range(times):
            work()
        best = max(best, times / (process_time() - start))
    return best


def lane_rows(seconds: float) -> dict[str, float]:
    """Shares per second by how they are hashed: each kernel this CPU can, the pure twin, and calls of few shares."""
    found = {}
    for branches in (0, BRANCHES):
        job = parse_job(KEY.sign(job_event(branches)))
        plain = (job.coinb1, job.coinb2, b"".join(job.merkle), job.prevhash, job.nbits)
        ways: list[tuple[str, JobWork, Callable[[list[Bound], bytes], bytes]]] = []
        if lanes.is_native():
            for number, (name, _, usable) in enumerate(_lanes.kernels()[0]):
                if usable:
                    ways.append((name, _lanes.Job(*plain), partial(hash_by_kernel, number)))
            ways.append(("chosen", _lanes.Job(*plain), _lanes.hash_shares))
        ways.append(("pure Python", pure_lanes.Job(*plain), pure_lanes.hash_shares))
        for name, work, hash_shares in ways:
            bounds = [work.bind(bytes(32), n.to_bytes(4, "big")) for n in range(SHARES)]
            packed = hashlib.shake_128(b"shares").digest(lanes.SHARE.size * SHARES)
            for count in (SHARES, 200, 16, 4, 1) if name == "chosen" else (SHARES,):
                call = partial(hash_shares, bounds[:count], packed[: lanes.SHARE.size * count])
                row = f"shares, {branches} branches: {name}" + (f", {count} a call" if name == "chosen" else "")
                found[row] = count * rate(call, seconds)
    return found


def hash_by_kernel(number: int, bounds: list[Bound], shares: bytes) -> bytes:
    """Only that kernel, however many lanes stay empty."""
    return _lanes.hash_shares(bounds, shares, number)


def rows(seconds: float) -> dict[str, float]:
    """Calls per second by what is called."""
    signed = KEY.sign(job_event())
    job = parse_job(signed)
    note = UnsignedEvent(1, 1_767_225_600, (("p", KEY.pubkey),), "a short note")
    short = KEY.sign(note)
    batch = KEY.sign(receipt_event(job.id))
    texts = [encode_event(event) for event in (short, batch)]
    # As they come off the wire: an event that is verified already is not verified again.
    unverified = [Event(**{name: getattr(e, name) for name in e.__struct_fields__}) for e in (short, batch)]
    bits = share_bits_from_difficulty(512)
    bound = BoundWork(job, KEY.pubkey, bits, bytes(4))
    header, extranonce2, id_bytes, miner = bytes(80), bytes(8), bytes.fromhex(job.id), bytes.fromhex(KEY.pubkey)
    calls: dict[str, Callable[[], object]] = {
        BASE: lambda: sha256d(header),
        "share: coinbase, 12 branches, header, hash": lambda: bound.hash(extranonce2, 1, 2, 3),
        "session: binding and kept coinbase": lambda: BoundWork(job, KEY.pubkey, bits, bytes(4)),
        "binding": lambda: binding(id_bytes, miner, bits),
        "event: id": lambda: event_id(short.pubkey, short.created_at, short.kind, short.tags, short.content),
        "event: id and signature": lambda: KEY.sign(note),
        "event: verify": lambda: verify(unverified[0]),
        "event: decode and verify": lambda: verify(decode_event(texts[0])),
        "job: build and sign": lambda: KEY.sign(job_event()),
        "job: parse": lambda: parse_job(signed),
        f"receipt of {SHARES}: verify": lambda: verify(unverified[1]),
        f"receipt of {SHARES}: parse": lambda: parse_receipt(batch),
    }
    return {name: rate(call, seconds) for name, call in calls.items()} | lane_rows(seconds)


def main() -> None:
    """Print the table, and the same as one line of JSON."""
    found = rows(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
    print(f"Shares are hashed by: {lanes.implementation()}\n")
    print(f"{'':44}{'a second':>12}{'sha256d each':>14}")
    for name, value in found.items():
        print(f"{name:44}{value:12,.0f}{found[BASE] / value:14.1f}")
    print(json.dumps({name: round(value, 1) for name, value in found.items()}))


if __name__ == "__main__":
    main()
