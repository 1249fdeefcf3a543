"""How fast the accounting folds and splits, in CPU seconds of one core: `python -m bench.accounting_speed [SHARES]`.

A synthetic hour of 10,000 miners at six shares a minute (3.6 million; or a part of it, SHARES): read as JSON, its ids
and signatures verified, its shares hashed and folded; then folded again from the stored checks, as a rebuild or a start
without the kept fold does. And the statement of a reward to 100,000 miners. Each beside sha256d/s of the same run.
"""

import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import anyio

from accounting.adapters.intake import STEP_EVENTS
from accounting.adapters.kept_fold import fold_path
from accounting.adapters.kept_shelves import KeptShelves, open_kept_shelves
from accounting.adapters.store import AccountingStore, open_store
from accounting.apportion import split
from accounting.chains import Chain
from accounting.fold import codec_of, form
from accounting.lanes import Batch, Batches, Lane, LaneKey, Lanes
from accounting.loading import load_fold
from accounting.selection import Selection
from accounting.shares import CheckedShares, JobRef, Session
from accounting.window import count_window
from bench.accounting import resident_mb
from bench.synthetic_log import ACCOUNTING, EDGE, LARGE, POOL, T0, payee, write_log
from nips.nip01 import VerifiedEvent, decode_event, verify
from nips.pool.chain import FIRST, Head, next_link
from nips.pool.hashing import sha256d
from nips.pool.statement import BlockReward, StatementBody, Window, build_statement
from nips.pool.statement_rows import build_statement_part, split_statement

HOUR_SHARES = 3_600_000
# What 170 miners send in a minute.
PER_BATCH = 1017
MINERS = 100_000
WINDOW_MINUTES = 63


def sha256d_rate() -> float:
    """Headers hashed a CPU second."""
    begun, header = time.process_time(), bytes(80)
    for _ in range(300_000):
        sha256d(header)
    return 300_000 / (time.process_time() - begun)


async def directly(work: Callable[[], None]) -> None:
    """In this thread: one core."""
    work()


def verified(path: Path) -> Iterator[list[VerifiedEvent]]:
    """The log's events, their ids and signatures checked, some at a time."""
    with path.open("rb") as lines:
        while group := list(islice(lines, STEP_EVENTS)):
            yield [verify(decode_event(line)) for line in group]


async def fold_hour(log: Path, ledger: Path, baseline: float) -> None:
    """First as new, then from what was stored of it."""
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        begun = time.process_time()
        for events in verified(log):
            own = [event for event in events if event.pubkey == ACCOUNTING.pubkey]
            await store.add_events(event for event in events if event.pubkey != ACCOUNTING.pubkey)
            for event in own:
                await store.add_own(event, published=True)
        read = time.process_time() - begun
        shares = await folded(store, ledger, baseline, trusted=False, before=read)
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        fold_path(ledger).unlink()
        assert await folded(store, ledger, baseline, trusted=True, before=0) == shares


async def folded(store: AccountingStore, ledger: Path, baseline: float, *, trusted: bool, before: float) -> int:
    """Fold the stored log, from its checks if `trusted`; tells how long, and how many shares that was."""
    shelves = open_kept_shelves(fold_path(ledger), codec_of, form())
    begun = time.process_time()
    loaded = await load_fold(store, POOL, trusted=trusted, in_thread=directly, shelves=shelves)
    took = time.process_time() - begun + before
    fold = loaded.fold
    assert not fold.log.findings, fold.log.findings[0]
    shares, batches = fold.statistics.shares, fold.log.mining.batches
    begun = time.process_time()
    state = fold.freeze()
    frozen = time.process_time() - begun
    shelves.close()
    name = "from stored checks" if trusted else "verified and folded"
    print(
        f"{name}: {shares} shares, {batches} batches in {took:.1f} CPU s; {shares / took:.0f} shares/s"
        f" ({shares / took / baseline:.3f} of sha256d/s), {batches / took:.0f} batches/s; {resident_mb()} MB;"
        f" its state: {len(state) / 1e6:.0f} MB in {frozen:.2f} s"
    )
    return shares


def large_window(shelves: KeptShelves) -> tuple[Lanes, int]:
    """63 minutes of 100,000 miners' batches, each with its six shares; and their work. The newest three minutes of a
    lane stand in no span yet, as it may be when a block is found; what is older than ten minutes lies in a file.
    """
    lanes, seconds = Lanes(), WINDOW_MINUTES
    for number in range(-(-MINERS // LARGE.sessions)):
        key = LaneKey(EDGE.pubkey, number)
        lane = lanes[key] = Lane(key, Chain(str(key), lambda _: None), Batches(str(key), shelves))
        first = number * LARGE.sessions
        sessions = tuple(Session(payee(n), "rig", 1 << 32) for n in range(first, min(first + LARGE.sessions, MINERS)))
        count = 6 * len(sessions)
        for seq in range(seconds):
            start = T0 + seq * LARGE.batch_ms
            shares = CheckedShares(
                t=array("q", [start + n * LARGE.batch_ms // count for n in range(count)]),
                index=array("I", range(count)),
                session=array("H", [n % len(sessions) for n in range(count)]),
                job=array("B", bytes(count)),
                sessions=sessions,
                jobs=(JobRef("00" * 32, 100, "main"),),
            )
            end = start + LARGE.batch_ms
            batch = Batch(seq, f"{number}/{seq}", start, end, end // 1000, shares.pack())
            batch.take(shares)
            lane.add(batch, follows=True)
        shelves.flush()
    return lanes, seconds * 6 * MINERS << 32


def state_reward(baseline: float, scratch: Path) -> None:
    """Count the window, split the reward, sign the parts and the statement."""
    shelves = open_kept_shelves(scratch / "fold", codec_of, form())
    lanes, work = large_window(shelves)
    end_ms = T0 + WINDOW_MINUTES * LARGE.batch_ms - 1
    cuts = {key: lane.batches[-1] for key, lane in lanes.items()}
    begun = time.process_time()
    counted = count_window(lanes, cuts, Selection("main", end_ms, 100), work * 3 // 4)
    window = time.process_time() - begun
    parts = split(312_500_000_000, 10_000, counted.work)
    heads = {str(key): Head(batch.seq, "00" * 32) for key, batch in cuts.items()}
    body = StatementBody(
        reward=BlockReward("00" * 32, 100, end_ms, 312_500_000_000),
        terms="11" * 32,
        offer="main",
        window=Window(counted.from_ms, counted.total, heads),
        fee_msat=parts.fee_msat,
        rows=parts.rows,
    )
    held = split_statement(body.rows, body.donations)
    link, second = FIRST, end_ms // 1000
    for number, rows in enumerate(held):
        event = ACCOUNTING.sign(build_statement_part(POOL, link, number, rows, second))
        link = next_link(Head(link.seq, event.id))
    ACCOUNTING.sign(build_statement(POOL, link, body, second, "22" * 32, parts=len(held)))
    took = time.process_time() - begun
    shelves.close()
    assert len(body.rows) == MINERS
    assert sum(row.msat for row in body.rows) + body.fee_msat == 312_500_000_000
    print(
        f"statement of {len(body.rows)} rows in {len(held)} parts: {took:.2f} CPU s ({window:.2f} to count the window,"
        f" {took * baseline / 1e6:.2f} million sha256d)"
    )


def main() -> None:
    """All of it."""
    baseline = sha256d_rate()
    print(f"sha256d of a header: {baseline:.0f} a CPU second")
    shares = int(sys.argv[1]) if len(sys.argv) > 1 else HOUR_SHARES
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(scratch) / "log.jsonl"
        write_log(log, shares, 12, PER_BATCH, LARGE)
        anyio.run(lambda: fold_hour(log, Path(scratch) / "ledger.sqlite", baseline))
        state_reward(baseline, Path(scratch))


if __name__ == "__main__":
    main()
