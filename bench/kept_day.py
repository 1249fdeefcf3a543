"""How fast a day of already verified batches is folded, in CPU seconds of one core: `python -m bench.kept_day [HOURS]`.

The log of 10,000 miners at six shares a minute, straight into a store, each batch with the check that an accounting
would have kept of it. The shares themselves are made up: nothing hashes them but the last ten minutes', at the end. It
is folded twice: the first time sums of many batches are made and kept, the second time they are there, as after a run.
"""

import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import anyio

from accounting.adapters.kept_fold import fold_path
from accounting.adapters.kept_shelves import open_kept_shelves
from accounting.adapters.store import open_store
from accounting.checks import pack_check
from accounting.fold import codec_of, form
from accounting.loading import load_fold
from accounting.shares import CheckedShares, JobRef, Session
from bench.accounting import resident_mb
from bench.accounting_speed import HOUR_SHARES, PER_BATCH, directly, sha256d_rate
from bench.synthetic_log import ACCOUNTING, BITS, LARGE, POOL, Maker
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.chain import Head, next_link
from nips.pool.job import Job
from nips.pool.receipt import Session as ReceiptSession
from nips.pool.receipt import ShareRecord, parse_receipt
from nips.pool.targets import work_from_bits

DAY_HOURS = 24
GROUP = 500
MEAN_RATIO = 1 << 15


@cache
def records(shares: int, sessions: int, batch_ms: int, ntime: int, version: int) -> list[bytes]:
    """Share records of no work."""
    return [
        ShareRecord(n % sessions, 0, 0, n * batch_ms // shares, ntime, n, version, n.to_bytes(8, "big")).pack()
        for n in range(shares)
    ]


class KnownMaker(Maker):
    """Makes the log with checks instead of work. `checks` by receipt."""

    def __init__(self, hours: int) -> None:
        super().__init__(hours * HOUR_SHARES, 0, PER_BATCH, LARGE)
        self.checks: dict[str, bytes | None] = {}

    def _sign(self, signer: SecretKey, unsigned: UnsignedEvent, chain: str = "") -> VerifiedEvent:
        event = signer.sign(unsigned)
        if chain:
            self.heads[chain] = Head(next_link(self.heads.get(chain)).seq, event.id)
            self.newest[chain] = event.created_at
        return event

    def _records(
        self,
        job: Job,
        sessions: tuple[ReceiptSession, ...],
        miners: list[str],  # noqa: ARG002  whose they are makes no difference to what nobody hashes
        shares: int,
    ) -> Iterator[bytes]:
        yield from records(shares, len(sessions), self.shape.batch_ms, job.ntime, job.version)

    def _receipt(self, lane: int, from_ms: int, job: Job, shares: int) -> VerifiedEvent:
        event = super()._receipt(lane, from_ms, job, shares)
        receipt = parse_receipt(event)
        count, work = len(receipt.sessions), work_from_bits(BITS)
        checked = CheckedShares(
            t=array("q", [from_ms + n * self.shape.batch_ms // shares for n in range(shares)]),
            index=array("I", range(shares)),
            session=array("H", [n % count for n in range(shares)]),
            job=array("B", bytes(shares)),
            sessions=tuple(Session(receipt.miners[who.miner], who.worker, work) for who in receipt.sessions),
            jobs=(JobRef(job.id, job.height, "main"),),
            ratios=tuple(MEAN_RATIO * shares // count + n for n in range(count)),
            best=(BITS,) * count,
            told=receipt.work,
        )
        self.checks[event.id] = pack_check(receipt, checked.pack())
        self.book.add(receipt, checked)
        return event

    def _settle(self) -> None:
        """Nothing is folded."""

    def _sum_up(self, now: int) -> Iterator[VerifiedEvent]:
        # No lane lags behind another.
        self.fold.ready = lambda end_ms: end_ms < now  # type: ignore[method-assign]  # the fold reads nothing here
        yield from super()._sum_up(now)


async def make(ledger: Path, hours: int) -> None:
    """Write the store."""
    maker, held = KnownMaker(hours), list[VerifiedEvent]()
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        for event in maker.events():
            if event.pubkey == ACCOUNTING.pubkey:
                await store.add_own(event, published=True)
                continue
            held.append(event)
            if len(held) == GROUP:
                await store.add_events(held)
                await store.add_checked(maker.checks)
                held.clear()
                maker.checks.clear()
        await store.add_events(held)
        await store.add_checked(maker.checks)


async def fold(ledger: Path, name: str) -> None:
    """From the stored checks, without the kept fold."""
    baseline = sha256d_rate()
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        shelves = open_kept_shelves(fold_path(ledger), codec_of, form())
        shelves.clear()
        begun = time.process_time()
        loaded = await load_fold(store, POOL, trusted=True, in_thread=directly, shelves=shelves)
        took = time.process_time() - begun
        shelves.close()
    log = loaded.fold.log
    assert not log.findings, log.findings[0]
    assert not loaded.fold.violations
    batches = log.mining.batches
    print(
        f"{name}: {loaded.fold.statistics.shares} shares, {batches} batches in {took:.1f} CPU s"
        f" ({1000 * took / batches:.2f} ms a batch, {took * baseline / 1e6:.1f} million sha256d); {resident_mb()} MB"
    )


def main() -> None:
    """Make it, and fold it twice."""
    hours = int(sys.argv[1]) if len(sys.argv) > 1 else DAY_HOURS
    with tempfile.TemporaryDirectory() as scratch:
        ledger = Path(scratch) / "ledger.sqlite"
        anyio.run(make, ledger, hours)
        for name in ("sums made", "sums kept"):
            anyio.run(fold, ledger, name)


if __name__ == "__main__":
    main()
