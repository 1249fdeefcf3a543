"""How the pool does against chance, and what a block now would bring: effort, luck, expected times, estimates.

Definitions in docs/accounting.md, "Luck, effort, expectations". Money in integer msat, times in Unix ms, work (hashes)
as decimal strings, shares of something in millionths.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from accounting.book_pages import BookPages, block_bits
from accounting.rewards import holds
from accounting.schemes import blocks, periods
from accounting.schemes.estimates import chance_ppm, daily_msat, effort_ppm, expected_ms, luck_ppm, pending_msat
from accounting.schemes.held import NOTHING_HELD, Held
from accounting.schemes.lots import VALUE_BITS
from accounting.selection import Counted, Selection
from accounting.service import Accounting
from accounting.window import count_window
from nips.errors import InvalidPoolEvent
from nips.pool.job import Job
from nips.pool.reward import BlockReward, PeriodReward
from nips.pool.summary import HOUR_MS
from nips.pool.targets import work_from_bits
from nips.pool.terms import PERIOD_SCHEMES, Limits

DAY_MS = 24 * HOUR_MS
# Counting a window walks its batches: 2 s of a pool of 100,000 miners, milliseconds of a small one.
WINDOW_KEPT_MS = 15_000
# Luck over so many blocks.
LUCK_BLOCKS = (10, 100)


class Counts(NamedTuple):
    """What was counted at a time (Unix ms), by the offers of the terms then in force (their id): for those that split
    blocks among work, what a block found now would be split by; for those that pay by share, what the next statement
    will count; and the work of the last hour by miner, where it decides anything (a solo offer, or several offers).
    """

    ms: int
    terms: str
    windows: dict[str, Counted]
    due: dict[str, Counted]
    lately: dict[str, Mapping[str, int]]


class Odds:
    """What chance has in store for a running Accounting."""

    def __init__(self, accounting: Accounting, pages: BookPages) -> None:
        self._accounting = accounting
        self._pages = pages
        self._counts: Counts | None = None

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
            counted = newest[:count]
            efforts = self._pages.efforts(counted, newest[count] if len(newest) > count else None)
            known = [effort for effort in efforts if effort is not None]
            whole = bool(counted) and len(known) == len(efforts)
            luck[str(count)] = luck_ppm(len(known), sum(known)) if whole else None
        return {
            "effort_ppm": None if bits is None or work is None else effort_ppm([(work, bits)]),
            "luck_ppm": luck,
            "block_work": None if bits is None else str(work_from_bits(bits)),
            "expected_ms": None if bits is None else expected_ms(rate, bits),
            "chance_day_ppm": None if bits is None else chance_ppm(rate, bits, DAY_MS),
        }

    def estimates(self, pubkey: str, rate: int) -> list[dict[str, Any]]:
        """By offer that the miner has work in: what it would get, and what its hashrate `rate` of the last hour earns a
        day on average, by the offer's part of its work in that hour. `msat` by scheme: pplns and prop, its row if a
        block were found now; solo, what a block that it found now would bring; pps and fpps, what its shares since the
        last statement are worth.
        """
        job, terms = self._job(), self._accounting.fold.terms
        if job is None or terms is None:
            return []
        counts = self._count(job)
        bits = block_bits(job, self._limits(job))
        lately = {name: by_miner.get(pubkey, 0) for name, by_miner in counts.lately.items()}
        hour = sum(lately.values())
        estimates = []
        for name, offer in sorted(terms.body.offers.items()):
            counted = counts.windows.get(name) or counts.due.get(name) or Counted(0, dict(counts.lately[name]))
            work = counted.work.get(pubkey, 0)
            if not (work or lately.get(name)):
                continue
            gross = _gross_msat(job)
            if name in counts.windows:
                msat = pending_msat(gross, offer.fee_ppm, work, counted.total)
            elif name in counts.due:
                msat = counted.values.get(pubkey, 0) >> VALUE_BITS
                gross = periods.price(name, offer, job.pool.network, job.height, bits, gross).base_msat
            else:
                msat = pending_msat(gross, offer.fee_ppm, 1, 1)
            here = rate if len(terms.body.offers) == 1 else rate * lately[name] // hour if hour else 0
            estimates.append(
                {
                    "offer": name,
                    "scheme": offer.scheme,
                    "height": job.height,
                    "gross_msat": gross,
                    "fee_ppm": offer.fee_ppm,
                    "work": str(work),
                    "window_work": str(counted.total),
                    "window_full": counted.full,
                    "msat": msat,
                    "daily_msat": daily_msat(here, bits, gross, offer.fee_ppm),
                }
            )
        return estimates

    def now(self) -> tuple[Mapping[str, Counted], int]:
        """What a block found now would be split by: the work in each offer's window or round, and its reward's msat."""
        job = self._job()
        return ({}, 0) if job is None else (self._count(job).windows, _gross_msat(job))

    def _job(self) -> Job | None:
        """The newest good job under the terms in force, or under any while these have none."""
        mining, terms = self._accounting.fold.log.mining, self._accounting.fold.terms
        if terms is None or not mining.newest_job:
            return None
        newest = mining.newest_job.get(terms.id) or max(mining.newest_job.values())
        return mining.read_jobs.get(newest[1])

    def _limits(self, job: Job) -> Limits:
        return self._accounting.fold.log.terms_by_id[job.terms].body.limits

    def _count(self, job: Job) -> Counts:
        fold, now, known = self._accounting.fold, self._accounting.clock.now_ms(), self._counts
        assert fold.terms is not None
        fresh = known is not None and known.ms <= now < known.ms + WINDOW_KEPT_MS
        if known is None or not fresh or known.terms != fold.terms.id:
            offers = fold.terms.body.offers
            known = Counts(now, fold.terms.id, {}, {}, {})
            for name, offer in sorted(offers.items()):
                if offer.scheme in PERIOD_SCHEMES:
                    known.due[name] = self._work(Selection(name, now, None, 0, self._held(name, PeriodReward)), None)
                elif offer.scheme != "solo":
                    held = self._held(name, BlockReward) if holds(offer.scheme) else NOTHING_HELD
                    oldest, by_worker = blocks.oldest_ms(offer, now), offer.loyalty is not None
                    wanted = Selection(name, now, job.height, oldest, held, by_worker)
                    known.windows[name] = self._work(wanted, blocks.limit(offer, job.nbits))
                if offer.scheme == "solo" or len(offers) > 1:
                    known.lately[name] = self._work(Selection(name, now, None, now - HOUR_MS), None).work
            self._counts = known
        return known

    def _work(self, wanted: Selection, limit: int | None) -> Counted:
        lanes = self._accounting.fold.log.lanes
        return count_window(lanes, {key: lane.batches[-1] for key, lane in lanes.in_order()}, wanted, limit)

    def _held(self, offer: str, reward: type[BlockReward] | type[PeriodReward]) -> Held:
        second = self._accounting.clock.now_ms() // 1000
        return self._accounting.fold.log.statements.held_so_far(offer, reward, self._accounting.pubkey, second)


def _gross_msat(job: Job) -> int:
    try:
        return job.coinbase().value_sat * 1000
    except InvalidPoolEvent:
        return 0
