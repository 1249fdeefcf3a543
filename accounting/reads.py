"""What the read API shows beyond the summary of `accounting.readmodel`: series, estimates, every miner and list.

JSON-ready: money in integer msat, times in Unix ms, hashrates (hashes a second) and work (hashes) as decimal strings.
Everything here can be computed from the log by anybody; history begins where our hourly summaries (4221) do.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from accounting.book_pages import BookPages, RewardHistory, block_bits
from accounting.entries import BookEntries, read_entries
from accounting.hours import Hours, MinerCount, uncounted
from accounting.ledger import miner_account
from accounting.paging import Page, Place
from accounting.readmodel import AccountingReadModel, shown_workers
from accounting.schemes import pplns
from accounting.schemes.estimates import chance_ppm, daily_msat, effort_ppm, expected_ms, luck_ppm, pending_msat
from accounting.service import Accounting
from accounting.settings_book import told
from accounting.standing_view import StandingView
from accounting.statistics import BUCKET_MS, SHORTEST_MS, SPANS_MS
from accounting.tax_csv import tax_csv, year_bounds
from accounting.window import Counted, Selection, count_window
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.nip19 import encode_npub
from nips.pool.job import Job
from nips.pool.summary import HOUR_MS
from nips.pool.targets import bits_at_least, difficulty_from_bits, work_from_bits

DAY_MS = 24 * HOUR_MS
# Counting a window walks its batches: 2 s of a pool of 100,000 miners, milliseconds of a small one.
WINDOW_KEPT_MS = 15_000
# Batches of summaries taken in for one answer: after a restart a long chain comes with the first few.
MAX_STEPS = 5
# Luck over so many blocks.
LUCK_BLOCKS = (10, 100)
# Flat lists end after so many miners, those with the most first: some 3 MB of JSON.
MAX_FLAT = 20_000
# Writing an npub takes 0.1 ms: so many rows of a flat list are made before others have their turn.
ROWS_AT_ONCE = 100
# npubs remembered, for as many flat rows and as many again; some 300 bytes each.
MAX_NPUBS = 40_000

_npub = lru_cache(MAX_NPUBS)(encode_npub)


class History(RewardHistory, Protocol):
    """The stored log and books."""

    @property
    def entries(self) -> BookEntries:
        """The books entry by entry."""

    async def summaries_after(self, seq: int) -> list[tuple[int, VerifiedEvent]]:
        """The next summaries and parts of our chain by their numbers, some at a time."""


class Span(NamedTuple):
    """How far back a series goes, and how wide a point is; ms."""

    back_ms: int
    step_ms: int


# Steps of half a minute come from the counts of the last hour, longer ones from the hourly summaries.
SPANS: dict[str, Span] = {
    "1h": Span(HOUR_MS, BUCKET_MS),
    "24h": Span(DAY_MS, HOUR_MS),
    "7d": Span(7 * DAY_MS, HOUR_MS),
    "31d": Span(31 * DAY_MS, HOUR_MS),
    "400d": Span(400 * DAY_MS, DAY_MS),
}


class _Stretch(NamedTuple):
    from_ms: int
    to_ms: int
    work: int


def _point(from_ms: int, to_ms: int, work: int) -> dict[str, Any]:
    rate = work * 1000 // max(to_ms - from_ms, SHORTEST_MS if to_ms - from_ms < BUCKET_MS else 1)
    return {"from_ms": from_ms, "to_ms": to_ms, "hashrate_hs": str(rate), "work": str(work)}


def _merged(stretches: Iterable[_Stretch], step_ms: int) -> list[dict[str, Any]]:
    """Points of a step each; a stretch counts where it ends, one longer than a step stays whole."""
    points: dict[int, _Stretch] = {}
    for stretch in stretches:
        at = (stretch.to_ms - 1) // step_ms
        known = points.get(at)
        points[at] = (
            stretch
            if known is None
            else _Stretch(
                min(known.from_ms, stretch.from_ms), max(known.to_ms, stretch.to_ms), known.work + stretch.work
            )
        )
    return [_point(*points[at]) for at in sorted(points)]


async def _go_on() -> None:
    return


class Reads:
    """Everything the read API asks of a running Accounting."""

    def __init__(
        self, accounting: Accounting, history: History, pause: Callable[[], Awaitable[object]] = _go_on
    ) -> None:
        """`pause`: gives others their turn amid a long answer."""
        self._pause = pause
        self._accounting = accounting
        self._history = history
        self._books = AccountingReadModel(accounting)
        self._hours = Hours()
        self._uncounted: tuple[tuple[int, int, int], tuple[int, dict[str, MinerCount]]] | None = None
        self._windows: tuple[int, dict[str, Counted]] | None = None
        self.pages = BookPages(accounting, history, self._hours.hours)
        self._standings = StandingView(accounting, pause)

    async def pool(self) -> dict[str, Any]:
        """The pool as a whole, and how it does against chance."""
        await self._read_hours()
        return {**await self._books.pool(), **self.odds()}

    async def health(self) -> dict[str, Any]:
        """See `accounting.readmodel`."""
        return await self._books.health()

    def odds(self) -> dict[str, Any]:
        """Effort of this round, luck of the last blocks, mean time to a block and the chance of one within a day, by
        the hashrate of an hour. None where there is nothing to reckon from.
        """
        fold, now = self._accounting.fold, self._accounting.clock.now_ms()
        job = self._job()
        rate = fold.statistics.pool_statistics(now, blocks=0, height=0).hashrate["1h"]
        newest = self.pages.newest_blocks(max(LUCK_BLOCKS) + 1)
        work = self.pages.rounds().since(newest[0].found_ms if newest else 0)
        bits = None if job is None else block_bits(job, self._limits(job))
        luck: dict[str, int | None] = {}
        for count in LUCK_BLOCKS:
            blocks = newest[:count]
            efforts = self.pages.efforts(blocks, newest[count] if len(newest) > count else None)
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

    async def miner(self, pubkey: str) -> dict[str, Any] | None:
        """One miner: the books, a day's hashrate, rejects by code, the best share, and what it may expect."""
        found = await self._books.miner(pubkey)
        if found is None:
            return None
        await self._read_hours()
        now = self._accounting.clock.now_ms()
        count = self._count(pubkey)
        best = None if not count.best else difficulty_from_bits(bits_at_least(count.best))
        stats = self._accounting.fold.statistics.miner_statistics(pubkey, now)
        rate = 0 if stats is None else stats.hashrate["1h"]
        return {
            **found,
            "hashrate_hs": self._rates(pubkey, now),
            "rejects_by_code": {str(code): times for code, times in sorted(count.rejects.items()) if times},
            "best_share_difficulty": None if best is None else f"{float(best):.10g}",
            "estimates": self.estimates(pubkey, rate),
            "loyalty": await self.loyalty(pubkey),
            "settings": told(self._accounting.settings.of(pubkey)),
        }

    async def loyalty(self, pubkey: str) -> list[dict[str, Any]]:
        """By offer that pays it: what a bonus of the miner goes by (accounting.standing_view)."""
        job = self._job()
        windows = {} if job is None else self._count_windows(job)
        return await self._standings.of(pubkey, windows, 0 if job is None else _gross_msat(job))

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

    async def miners(self, before: Place | None, limit: int) -> Page[dict[str, Any]]:
        """Everybody who ever sent a share or was owed, by key from the highest down."""
        await self._read_hours()
        names = sorted(self._names(), reverse=True)
        below = [name for name in names if before is None or name < before.id][: limit + 1]
        items = [self._listed(name) for name in below[:limit]]
        return Page(items, Place(0, below[limit - 1]) if len(below) > limit else None)

    def workers(self, pubkey: str) -> list[dict[str, Any]] | None:
        """A miner's active workers by name; None if nobody has heard of the miner."""
        fold, now = self._accounting.fold, self._accounting.clock.now_ms()
        if not self.knows(pubkey):
            return None
        return shown_workers(self._accounting.settings.of(pubkey), pubkey, fold.statistics.workers(pubkey, now))

    def knows(self, pubkey: str) -> bool:
        """Whether this miner ever sent a share or has a place in the books."""
        fold = self._accounting.fold
        in_books = any(miner_account(pubkey, part) in fold.ledger.accounts for part in ("pending", "owed", "paid"))
        return in_books or pubkey in fold.statistics.miners()

    async def hashrate(self, pubkey: str | None, span: str) -> list[dict[str, Any]]:
        """The hashrate over a time, oldest point first; of the pool, or of a miner (which has no "1h"). Raises KeyError
        for a span that is none of SPANS.
        """
        asked, now = SPANS[span], self._accounting.clock.now_ms()
        since = now - asked.back_ms
        if asked.step_ms < HOUR_MS:
            return self._last_hour(since) if pubkey is None else []
        await self._read_hours()
        hours = [stretch for stretch in self._stretches(pubkey) if stretch.to_ms > since]
        return _merged(hours, asked.step_ms)

    async def balances(self) -> list[dict[str, Any]]:
        """What is owed and pending, the largest first; miners with nothing are left out."""
        rows = []
        for name in self._accounting.fold.ledger.miners():
            balance = self._accounting.balance(name)
            if balance.owed_msat or balance.pending_msat:
                rows.append((balance.owed_msat, balance.pending_msat, name))
        return await self._flat(rows, "owed_msat", "pending_msat")

    def taxes(self, pubkey: str, year: int) -> AsyncIterator[str]:
        """A miner's year as CSV (accounting.tax_csv). Raises ValueError for a year that is none."""
        from_s, before_s = year_bounds(year)
        entries = read_entries(self._history.entries, miner=pubkey, from_s=from_s, before_s=before_s)
        return tax_csv(entries, pubkey)

    async def totals(self) -> list[dict[str, Any]]:
        """What matured for each miner, ever, and what was paid, the most first."""
        balances = [self._accounting.balance(name) for name in self._accounting.fold.ledger.miners()]
        rows = [(each.earned_msat, each.paid_msat, each.miner) for each in balances]
        return await self._flat(rows, "earned_msat", "paid_msat")

    async def _flat(self, rows: Sequence[tuple[int, int, str]], first: str, second: str) -> list[dict[str, Any]]:
        flat: list[dict[str, Any]] = []
        for one, two, name in sorted(rows, reverse=True)[:MAX_FLAT]:
            if len(flat) % ROWS_AT_ONCE == 0:
                await self._pause()
            flat.append({"pubkey": name, "npub": _npub(name), first: one, second: two})
        return flat

    def terms(self) -> dict[str, Any] | None:
        """The terms in force, whole; None before the first were read."""
        terms = self._accounting.fold.terms
        if terms is None:
            return None
        return {
            "id": terms.id,
            "seq": terms.link.seq,
            "created_ms": terms.created_at * 1000,
            "signer": terms.signer,
            "content": {"v": 1, **terms.body.to_json()},
        }

    # The parts

    def _names(self) -> set[str]:
        fold = self._accounting.fold
        return {*fold.statistics.miners(), *fold.ledger.miners()}

    def _listed(self, name: str) -> dict[str, Any]:
        fold, now = self._accounting.fold, self._accounting.clock.now_ms()
        stats = fold.statistics.miner_statistics(name, now)
        balance = self._accounting.balance(name)
        return {
            "pubkey": name,
            "npub": _npub(name),
            "hashrate_hs": self._rates(name, now),
            "workers": 0 if stats is None else len(stats.workers),
            "shares": 0 if stats is None else stats.shares,
            "rejects": 0 if stats is None else stats.rejects,
            "last_share_ms": 0 if stats is None else stats.last_share_ms,
            "pending_msat": balance.pending_msat,
            "owed_msat": balance.owed_msat,
            "paid_msat": balance.paid_msat,
        }

    def _rates(self, name: str, now: int) -> dict[str, str]:
        stats = self._accounting.fold.statistics.miner_statistics(name, now)
        rates = dict.fromkeys(SPANS_MS, "0") if stats is None else {key: str(v) for key, v in stats.hashrate.items()}
        end = self._accounting.fold.statistics.end_ms(now)
        day = [stretch for stretch in self._stretches(name) if stretch.to_ms > end - DAY_MS]
        begun = min((stretch.from_ms for stretch in day), default=end)
        work = sum(stretch.work for stretch in day)
        return {**rates, "24h": str(work * 1000 // max(end - begun, SHORTEST_MS))}

    def _stretches(self, pubkey: str | None) -> list[_Stretch]:
        """Work by the hours that were summed up, and the time since; of the pool, or from a miner's first work on."""
        since, open_hours = self._open_hours()
        end = max(self._accounting.fold.statistics.log_ms, since)
        if pubkey is None:
            found = [_Stretch(hour.from_ms, hour.to_ms, hour.work) for hour in self._hours.hours]
            work = sum(count.work for count in open_hours.values())
        else:
            kept = list(self._hours.of_miners)
            first = next((at for at, hours in enumerate(kept) if pubkey in hours.work), len(kept))
            found = [_Stretch(hours.from_ms, hours.to_ms, hours.work.get(pubkey, 0)) for hours in kept[first:]]
            work = open_hours[pubkey].work if pubkey in open_hours else 0
        if since and (found or work):
            found.append(_Stretch(since, end, work))
        return found

    def _last_hour(self, since: int) -> list[dict[str, Any]]:
        statistics = self._accounting.fold.statistics
        # The first line that statistics dump is the pool's, its buckets last.
        *_, (_, _, buckets) = json.loads(next(statistics.dump()))
        return [
            _point(number * BUCKET_MS, (number + 1) * BUCKET_MS, int(work))
            for number, work in buckets
            if (number + 1) * BUCKET_MS > since
        ]

    def _open_hours(self) -> tuple[int, dict[str, MinerCount]]:
        fold = self._accounting.fold
        key = (id(fold), fold.statistics.log_ms, fold.summaries.taken)
        if self._uncounted is None or self._uncounted[0] != key:
            self._uncounted = (key, uncounted(fold.summaries))
        return self._uncounted[1]

    def _count(self, pubkey: str) -> MinerCount:
        total = MinerCount()
        for known in (self._hours.miners.get(pubkey), self._open_hours()[1].get(pubkey)):
            if known is not None:
                total.add(known.work, known.shares, known.rejects, known.best)
        return total

    async def _read_hours(self) -> None:
        for _ in range(MAX_STEPS):
            events = await self._history.summaries_after(self._hours.seq)
            if not events:
                return
            for seq, event in events:
                # Another answer may have read on meanwhile.
                if seq > self._hours.seq:
                    self._hours.add(seq, event)

    def _job(self) -> Job | None:
        """The newest good job under the terms in force, or under any while these have none."""
        mining, terms = self._accounting.fold.log.mining, self._accounting.fold.terms
        if terms is None or not mining.newest_job:
            return None
        newest = mining.newest_job.get(terms.id) or max(mining.newest_job.values())
        return mining.read_jobs.get(newest[1])

    def _limits(self, job: Job) -> Any:
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
