"""One reward split among many miners: the split, its parts signed, and a stranger's reading of them.

Usage: python -m bench.statement [MINERS]
"""

import hashlib
import sys
import time

from accounting.apportion import split
from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent, encode_event
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head, next_link
from nips.pool.statement import (
    BlockReward,
    Statement,
    StatementBody,
    Window,
    build_statement,
    parse_statement,
    whole_statement,
)
from nips.pool.statement_rows import build_statement_part, parse_statement_part, split_statement

MINERS = 100_000
GROSS_MSAT, FEE_PPM = 312_500_000_000, 10_000
KEY = SecretKey(b"\x59" * 32)
POOL = PoolAddress(KEY.pubkey, "main")


def work_of(miners: int) -> dict[str, int]:
    """So many keys with the work of a large pool's window."""
    return {hashlib.sha256(b"miner %d" % number).hexdigest(): 10**20 + number for number in range(miners)}


def make(work: dict[str, int]) -> list[VerifiedEvent]:
    """The statement's events in their chain's order, signed."""
    parts = split(GROSS_MSAT, FEE_PPM, work)
    reward, window = BlockReward("00" * 32, 1, 1, GROSS_MSAT), Window(1, sum(work.values()), {})
    body = StatementBody(reward, "11" * 32, "main", window, parts.fee_msat, parts.rows)
    events: list[VerifiedEvent] = []
    head: Head | None = None
    held = split_statement(body.rows, body.donations)
    count = len(held) if len(held) > 1 else 0
    for number, part in enumerate(held if count else ()):
        event = KEY.sign(build_statement_part(POOL, next_link(head) if head else FIRST, number, part, 1))
        head = Head(number, event.id)
        events.append(event)
    last = build_statement(POOL, next_link(head) if head else FIRST, body, 1, "22" * 32, parts=count)
    return [*events, KEY.sign(last)]


def read(events: list[VerifiedEvent]) -> Statement:
    """The statement as a verifier has it."""
    *parts, last = events
    return whole_statement(parse_statement(last), [parse_statement_part(event) for event in parts])


def main() -> None:
    """Measure, and print."""
    work = work_of(int(sys.argv[1]) if len(sys.argv) > 1 else MINERS)
    start = time.perf_counter()
    events = make(work)
    made = time.perf_counter()
    whole = read(events)
    done = time.perf_counter()
    assert len(whole.rows) == len(work)
    largest = max(len(encode_event(event)) for event in events)
    print(f"{len(work):,} miners, {len(events) - 1} parts, the largest of {largest:,} bytes")
    print(f"split, made and signed in {made - start:.2f} s, read in {done - made:.2f} s")


if __name__ == "__main__":
    main()
