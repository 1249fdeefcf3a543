"""How the pool does against chance, and what a block now would bring: effort, luck, expected times, estimates.

Definitions in docs/accounting.md, "Luck, effort, expectations". Money in integer msat, times in Unix ms, work (hashes)
as decimal strings, shares of something in millionths.
"""

from collections.abc import Mapping
from typing import Any

from accounting.book_pages import BookPages, block_bits
from accounting.schemes import pplns
from accounting.schemes.estimates import chance_ppm, daily_msat, effort_ppm, expected_ms, luck_ppm, pending_msat
from accounting.selection import Counted, Selection
from accounting.service import Accounting
from accounting.window import count_window
from nips.errors import InvalidPoolEvent
from nips.pool.job import Job
from nips.pool.summary import HOUR_MS
from nips.pool.targets import work_from_bits
from nips.pool.terms import Limits

DAY_MS = 24 * HOUR_MS
# Counting a window walks its batches: 2 s of a pool of 100,000 miners, milliseconds of a small one.
WINDOW_KEPT_MS = 15_000
# Luck over so many blocks.
LUCK_BLOCKS = (10, 100)


class Odds:
    """What chance has in store for a running Accounting."""

    def __init__(self, accounting: Accounting, pages: BookPages) -> None:
        self._accounting = accounting
        self._pages = pages
        self._windows: tuple[int, dict[str, Counted]] | None = None

    def of_pool(self) -> dict[str, Any]:
        """Effort of this round, luck of the last blocks, mean time to a block and the chance of one within a day, by
        the hashrate of an hour. None where there is nothing to reckon from.
        """
        fold, now = self._accounting.fold, self._accounting.clock.now_ms()
        job = self._job()
        rate = fold.statistics.pool_statistics(now, blocks=0, height=0).hashrate["1h"]
        newest = self._pages.newest_blocks(max(LUCK_BLOCKS) + 1)
        work = self._pages.rounds().since(newest[0].found_ms if newest else 0)
        bits = None if job is None else block_bits(job, self._limits(job))
        luck: dict[str, int | None] = {}
        for count in LUCK_BLOCKS:
            blocks = newest[:count]
            efforts = self._pages.efforts(blocks, newest[count] if len(newest) > count else None)
            known = [effort for effort in efforts if effort is not None]
            whole = bool(blocks) and len(known) == len(efforts)
            luck[str(count)] = luck_ppm(len(known), sum(known)) if whole else None
        return {
            "effort_ppm": None if bits is None or work is None else effort_ppm([(work, bits)]),
            "luck_ppm": luck,
            "block_work": None if bits is None else str(work_from_bits(bits)),
            "expected_ms": None if bits is None else expected_ms(rate, bits),
            "chance_day_ppm": None if bits is None else chance_ppm(rate, bits, DAY_MS),
        }

    def estimates(self, pubkey: str, rate: int) -> list[dict[str, Any]]:
        """By offer: the miner's part if a block were found now, and what its hashrate `rate` earns a day on average."""
        job, terms = self._job(), self._accounting.fold.terms
        if job is None or terms is None:
            return []
        bits = block_bits(job, self._limits(job))
        gross = _gross_msat(job)
        estimates = []
        for name, counted in self._count_windows(job).items():
            offer, work = terms.body.offers[name], counted.work.get(pubkey, 0)
            estimates.append(
                {
                    "offer": name,
                    "height": job.height,
                    "gross_msat": gross,
                    "fee_ppm": offer.fee_ppm,
                    "work": str(work),
                    "window_work": str(counted.total),
                    "window_full": counted.full,
                    "msat": pending_msat(gross, offer.fee_ppm, work, counted.total),
                    "daily_msat": daily_msat(rate, bits, gross, offer.fee_ppm),
                }
            )
        return estimates

    def now(self) -> tuple[Mapping[str, Counted], int]:
        """What a block found now would be split by: the work in each offer's window, and its reward's msat."""
        job = self._job()
        return ({}, 0) if job is None else (self._count_windows(job), _gross_msat(job))

    def _job(self) -> Job | None:
        """The newest good job under the terms in force, or under any while these have none."""
        mining, terms = self._accounting.fold.log.mining, self._accounting.fold.terms
        if terms is None or not mining.newest_job:
            return None
        newest = mining.newest_job.get(terms.id) or max(mining.newest_job.values())
        return mining.read_jobs.get(newest[1])

    def _limits(self, job: Job) -> Limits:
        return self._accounting.fold.log.terms_by_id[job.terms].body.limits

    def _count_windows(self, job: Job) -> dict[str, Counted]:
        now = self._accounting.clock.now_ms()
        if self._windows is None or not self._windows[0] <= now < self._windows[0] + WINDOW_KEPT_MS:
            fold = self._accounting.fold
            assert fold.terms is not None
            lanes = fold.log.lanes
            cuts = {key: lane.batches[-1] for key, lane in lanes.in_order()}
            counted = {}
            for name, offer in sorted(fold.terms.body.offers.items()):
                if offer.scheme == "pplns":
                    by_worker = offer.loyalty is not None
                    oldest = pplns.oldest_ms(offer, now)
                    wanted = Selection(name, now, job.height, oldest, by_worker=by_worker)
                    counted[name] = count_window(lanes, cuts, wanted, pplns.window_work(offer, job.nbits))
            self._windows = (now, counted)
        return self._windows[1]


def _gross_msat(job: Job) -> int:
    try:
        return job.coinbase().value_sat * 1000
    except InvalidPoolEvent:
        return 0
