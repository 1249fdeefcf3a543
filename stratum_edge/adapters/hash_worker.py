"""The CPU miner's hashing, as a process of its own: orders on standard input, reports on standard output.

An order is a JSON line, `{"id", "header", "target"}`: 76 bytes of header and a target in hex, or the id alone to rest;
the newest order is the one that counts. A report is a JSON line, `{"id", "hashes", "found", "done"}`: nonces tried
since the last report, those that meet the target, and whether all 2^32 are tried. The process ends with its standard
input, so it never outlives its parent, however that ends.
"""

import json
import os
import select
import sys
import time
from dataclasses import dataclass
from typing import Final

from stratum_edge.miner_work import NONCES, grind

# How long it hashes before it looks for orders: what a new job waits at most.
TURN_S: Final = 0.1
FIRST_TURN_HASHES: Final = 10_000
# Finds a report should hold on average, so that an absurdly easy target does not make it megabytes.
MOST_FOUND: Final = 256
# A throttled worker that was held up catches up at most this much.
MOST_DEBT_S: Final = 1
# The worker gives way to everything else on the machine, the pool above all.
NICENESS: Final = 10


@dataclass
class _Search:
    """One order and how far it is."""

    search_id: int
    header76: bytes
    target: int
    nonce: int = 0


def _read_order(line: bytes) -> _Search | None:
    order = json.loads(line)
    if "header" not in order:
        return None
    return _Search(order["id"], bytes.fromhex(order["header"]), int(order["target"], 16))


def work(max_hps: int | None) -> None:
    """Hash as ordered, at most `max_hps` hashes a second, until standard input ends."""
    search: _Search | None = None
    unread = b""
    turn = FIRST_TURN_HASHES
    due = time.monotonic()
    while True:
        timeout = None if search is None else max(0.0, due - time.monotonic())
        if select.select([sys.stdin], [], [], timeout)[0]:
            read = os.read(sys.stdin.fileno(), 1 << 16)
            if not read:
                return
            *lines, unread = (unread + read).split(b"\n")
            if lines:
                search = _read_order(lines[-1])
            continue
        if search is None:
            continue
        count = min(turn, NONCES - search.nonce, max(1, (MOST_FOUND << 256) // (search.target + 1)))
        if max_hps is not None:
            count = min(count, max(1, round(max_hps * TURN_S)))
        started = time.monotonic()
        found = grind(search.header76, search.nonce, count, search.target)
        now = time.monotonic()
        turn = max(1, round(count * TURN_S / max(now - started, 1e-6)))
        if max_hps is not None:
            due = max(due, now - MOST_DEBT_S) + count / max_hps
        search.nonce += count
        done = search.nonce == NONCES
        report = {"id": search.search_id, "hashes": count, "found": found, "done": done}
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()
        if done:
            search = None


if __name__ == "__main__":
    os.nice(NICENESS)
    try:
        work(int(sys.argv[1]) or None)
    except BrokenPipeError:
        # The parent is gone; nor may the interpreter's last flush complain of it.
        os._exit(0)
