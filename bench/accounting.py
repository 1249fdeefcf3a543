"""The accounting's memory against the log's length, and how long it takes to start: `python -m bench.accounting`.

Each step is a process of its own: one that folds a synthetic log as a running accounting does, one that starts from the
fold it kept, one that starts without it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from accounting.adapters.intake import STEP_EVENTS
from accounting.adapters.kept_fold import KEEP_EVENTS, fold_path
from accounting.adapters.kept_shelves import open_kept_shelves
from accounting.adapters.store import open_store
from accounting.fold import codec_of, form
from accounting.loading import load_fold
from bench.synthetic_log import ACCOUNTING, POOL, write_log
from nips.nip01 import VerifiedEvent

# 10 shares a batch: what costs memory is events, not shares.
PER_BATCH = 10
SHARES = (60_000, 240_000, 960_000)


def resident_mb() -> int:
    """What this process holds now, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000


async def fold(log: Path, ledger: Path) -> None:
    """As the service does it, less the relays."""
    begun, before, read = time.perf_counter(), resident_mb(), 0
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        shelves = open_kept_shelves(fold_path(ledger), codec_of, form())
        books = (await load_fold(store, POOL, trusted=True, in_thread=anyio.to_thread.run_sync, shelves=shelves)).fold
        with log.open("rb") as lines:
            while group := list(islice(lines, STEP_EVENTS)):
                # Made by bench.synthetic_log: its signatures are good.
                events = [msgspec.json.decode(line, type=VerifiedEvent) for line in group]
                await store.add_events(events)
                for event in events:
                    books.add(event)
                books.settle()
                changes = books.take_changes()
                await store.add_checked(changes.checked)
                await store.add_books(changes.transactions, books.ledger)
                if (read + len(events)) // KEEP_EVENTS > read // KEEP_EVENTS:
                    position, newest = await store.newest()
                    shelves.keep(position, newest, books.freeze())
                read += len(events)
        position, newest = await store.newest()
        kept = time.perf_counter()
        state = books.freeze()
        shelves.keep(position, newest, state)
        kept = time.perf_counter() - kept
        assert not [text for text in books.violations if "matured" not in text], list(books.violations)[:3]
        took = time.perf_counter() - begun
        print(
            f"{read} events folded in {took:.1f} s ({read / took:.0f}/s); {before} MB before, {resident_mb()} MB after;"
            f" kept in {kept:.2f} s, state {len(state) / 1e6:.1f} MB; {len(books.ledger.payouts)} payouts"
        )
        shelves.close()


async def start(ledger: Path) -> None:
    """A start: from the kept fold if it is there."""
    begun, before = time.perf_counter(), resident_mb()
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        opened = time.perf_counter() - begun
        shelves = open_kept_shelves(fold_path(ledger), codec_of, form())
        way = "the kept fold" if shelves.kept() else "the log"
        loaded = await load_fold(store, POOL, trusted=True, in_thread=anyio.to_thread.run_sync, shelves=shelves)
        took = time.perf_counter() - begun
        print(
            f"started from {way} in {took:.2f} s (opening {opened:.2f}); {before} MB before, {resident_mb()} MB after,"
            f" {loaded.fold.log.read} events read"
        )
        shelves.close()


def main() -> None:
    """All sizes; or one step, in a process of its own."""
    if len(sys.argv) > 2:
        paths = [Path(path) for path in sys.argv[2:]]
        anyio.run(lambda: fold(*paths) if sys.argv[1] == "fold" else start(*paths))
        return
    kept_logs = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as scratch:
        for shares in SHARES:
            log = (kept_logs or Path(scratch)) / f"log_{shares}.jsonl"
            write_log(log, shares, 2, PER_BATCH)
            ledger = Path(scratch) / f"ledger_{shares}.sqlite"
            for asked in (["fold", str(log), str(ledger)], ["start", str(ledger)]):
                subprocess.run([sys.executable, "-m", "bench.accounting", *asked], check=True)
            fold_path(ledger).unlink()
            subprocess.run([sys.executable, "-m", "bench.accounting", "start", str(ledger)], check=True)
            print(f"{log.stat().st_size / 1e6:.0f} MB of JSON, {ledger.stat().st_size / 1e6:.0f} MB ledger,", end=" ")
            print(f"{fold_path(ledger).stat().st_size / 1e6:.0f} MB kept fold")
            shutil.rmtree(ledger, ignore_errors=True)


if __name__ == "__main__":
    main()
