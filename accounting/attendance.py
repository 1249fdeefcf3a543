"""Who was there, with what: the hours, days and devices that a statement's bonus goes by (SPEC.md, "Splits").

What a lane had in hours and days that are over does not change: it is summed once, as they end or when it is first
asked for (accounting.turnout), and all lanes together are a running sum (accounting.presence). A pool whose terms pay
no loyalty has neither.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from accounting.lanes import Batch, Lane, LaneKey
from accounting.measured import Measured
from accounting.open_hours import OpenHours
from accounting.presence import Presence, Reach, reach_of
from accounting.schemes import loyalty
from accounting.schemes.loyalty import DAY_MS, DAY_S, HOUR_MS, REACH_MS, Standing, Worker
from accounting.shares import CheckedShares
from accounting.shelves import Shelf, Shelves
from accounting.turnout import HOURS_A_DAY, Turnouts, miners_of
from nips.pool.attestation import Attestation
from nips.pool.attestation_part import AttestationPart
from nips.pool.statement import StatementBody
from nips.pool.terms import PPM, Loyalty, Offer

# Workers and the days (UTC, since 1970) of which their work is wanted.
Asked = Iterable[tuple[Worker, int]]

# Attestations of the last month at hand, some 350 bytes each: as many as the relays' are kept.
MAX_PLACED = 100_000


class Attested(NamedTuple):
    """An attestation that stands in the log: whose, of which worker, what it says; when (Unix s)."""

    miner: str
    worker: str
    model: str
    nominal_hs: int
    created_at: int


class Standings(NamedTuple):
    """What weighs the work of a statement: each miner's standing, H in thousandths of workers that have attested."""

    miners: Mapping[str, Standing]
    hardware: Mapping[Worker, int]


class Worked(NamedTuple):
    """What miners did: in how many of the hours that count each had a good share; of the workers and days that were
    asked for the work.
    """

    hours: Mapping[str, int]
    work: Mapping[tuple[Worker, int], int]

    def measured(self, worker: Worker, day: int) -> int:
        """A worker's hashrate of a day, in hashes a second, rounded down."""
        return self.work.get((worker, day), 0) // DAY_S


def reaches_ms(offer: Offer, from_ms: int, end_ms: int) -> int:
    """Since when a statement's lanes matter: from its window's beginning, or what its bonus looks back to."""
    return from_ms if offer.loyalty is None else min(from_ms, max(0, end_ms - REACH_MS))


def nominal(rules: Loyalty, told: Attested) -> int:
    """The hashrate that bears an attestation out: the terms' of that model, else what it says itself."""
    known = rules.hardware.get(told.model)
    return told.nominal_hs if known is None else known.hashrate


class Attendance:
    """The hours of lanes, and the attestations in the accounting chains."""

    def __init__(self, shelves: Shelves) -> None:
        self._turnouts = Turnouts(shelves)
        # By `<signer>/<created_at>/<id>`.
        self._attested: Shelf[Attested] = shelves.open("attested")
        # By key and day what stands there, in that order, of the days asked for last.
        self._placed: dict[tuple[str, int], list[Attested]] = {}
        self._running: Presence | None = None
        self._measured = Measured()
        self._open = OpenHours()

    def add(self, part: AttestationPart) -> None:
        """Attestations took their place in a chain."""
        for told in part.attestations:
            self._attested[_attested_key(part.signer, told.created_at, told.id)] = _attested(told)
            self._placed.pop((part.signer, told.created_at // DAY_S), None)

    def has(self, signer: str, created_at: int, attestation: str) -> bool:
        """Whether an attestation, by date and id, stands in a key's chain."""
        return _attested_key(signer, created_at, attestation) in self._attested

    def passed(self, lane: Lane, shares: CheckedShares | None) -> None:
        """A batch of a lane took its place, under terms that pay a bonus: what it ended is summed at once. `shares`:
        those of the batch, if somebody has looked at them.
        """
        self._turnouts.passed(lane)
        self._open.take(lane, shares)

    def drop(self, lane: LaneKey, from_ms: int, to_ms: int) -> None:
        """A batch of a lane has changed: all sums of its window are to be made anew."""
        self._turnouts.drop(lane, from_ms, to_ms)
        self._measured.drop(range(from_ms // DAY_MS, to_ms // DAY_MS + 1))
        self._open.drop()
        self._running = None

    def worked(
        self, lanes: Mapping[LaneKey, Lane], cuts: Mapping[LaneKey, Batch], end_ms: int, asked: Asked = ()
    ) -> Worked:
        """What was done in the hours and days that count at `end_ms`, in the lanes up to the cuts; `asked`: the workers
        and days whose work is wanted.
        """
        steps = self.walk(lanes, cuts, end_ms, asked)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                worked: Worked = done.value
                return worked

    def walk(
        self,
        lanes: Mapping[LaneKey, Lane],
        cuts: Mapping[LaneKey, Batch],
        end_ms: int,
        asked: Asked = (),
        *,
        keep: bool = True,
    ) -> Generator[None, None, Worked]:
        """`worked` in small steps, between which others may go on; unless `keep`, the shelves are left as they are."""
        days, hours = loyalty.days_at(end_ms), loyalty.hours_at(end_ms)
        reaches = {key: reach_of(lanes[key], cut, end_ms) for key, cut in cuts.items()}
        open_hours = yield from self._open_hours(lanes, reaches, end_ms)
        by_day: dict[int, set[Worker]] = {}
        for worker, day in asked:
            if day in days:
                by_day.setdefault(day, set()).add(worker)
        work: dict[tuple[Worker, int], int] = {}
        first = days.start * HOURS_A_DAY
        while True:
            shared = self._running = self._running or Presence(first)
            # Of other lanes than before, or of an older reward: it is summed apart.
            running = shared if shared.serves(lanes, reaches, end_ms) else Presence(first)
            # Day by day: what is read of a day serves both.
            for day in range(days.start, days.stop + 1):
                workers = by_day.pop(day, None)
                if workers:
                    found = yield from self._measured.walk(lanes, reaches, day, workers, self._turnouts, keep=keep)
                    work.update(((worker, day), found[worker]) for worker in workers)
                for key, reach in reaches.items():
                    while running.extend(
                        lanes[key], min(reach.hour, (day + 1) * HOURS_A_DAY), self._turnouts, keep=keep
                    ):
                        yield
            self._turnouts.rest()
            # Others may have gone on with the running sum meanwhile, or let go of it.
            if running is not shared or (shared is self._running and shared.serves(lanes, reaches, end_ms)):
                break
        shared.forget(first)
        more: dict[str, int] = {}
        for hour, miners in open_hours:
            if hour in hours:
                bit = 1 << hour - running.first
                for miner in miners:
                    more[miner] = more.get(miner, 0) | bit
        return Worked(running.counts(range(hours.start, (end_ms + 1) // HOUR_MS), more), work)

    def attested(self, signer: str, days: range) -> list[Attested]:
        """The attestations of some days in a key's chain, by date, then id."""
        found = [told for day in days for told in self._of(signer, day)]
        room = MAX_PLACED - sum(map(len, self._placed.values()))
        for place in sorted(self._placed, key=lambda each: (each[1] in days, each[1])):
            if room >= 0 and place[1] in days:
                break
            room += len(self._placed.pop(place))
        return found

    def shown(self, signer: str, days: range, more: Iterable[Attestation]) -> list[Attested]:
        """The same, and `more` that may come into it."""
        start, end = (_attested_key(signer, max(0, day) * DAY_S, "") for day in (days.start, days.stop))
        found = dict(self._attested.scan(start, end))
        for told in more:
            if told.created_at // DAY_S in days:
                found[_attested_key(signer, told.created_at, told.id)] = _attested(told)
        return [found[place] for place in sorted(found)]

    def standings(
        self, rules: Loyalty, lanes: Mapping[LaneKey, Lane], cuts: Mapping[LaneKey, Batch], signer: str, end_ms: int
    ) -> Standings:
        """What the work done in the lanes up to the cuts, and the attestations in a key's chain, give at `end_ms`."""
        told = self.attested(signer, loyalty.days_at(end_ms))
        return standings_of(rules, self.worked(lanes, cuts, end_ms, map(asked_of, told)), told)

    def wanting(
        self,
        rules: Loyalty,
        lanes: Mapping[LaneKey, Lane],
        cuts: Mapping[LaneKey, Batch],
        signer: str,
        end_ms: int,
        known: Iterable[Attestation],
    ) -> list[Attestation]:
        """Those that a bonus at `end_ms` should rest on and that are not in a key's chain: of each miner one a day, of
        each worker the newest if its model makes a difference. Newest first.
        """
        days = loyalty.days_at(end_ms)
        placed = self.attested(signer, days)
        new = [
            event
            for event in known
            if event.created_at // DAY_S in days and not self.has(signer, event.created_at, event.id)
        ]
        if not new:
            return []
        asked = (asked_of(told) for told in (*placed, *map(_attested, new)))
        worked = self.worked(lanes, cuts, end_ms, asked)
        covered: set[tuple[str, int]] = set()
        newest: dict[Worker, int] = {}
        for told in placed:
            if is_borne_out(rules, told, worked):
                covered.add((told.miner, told.created_at // DAY_S))
                newest[Worker(told.miner, told.worker)] = told.created_at
        found = []
        for event in sorted(new, key=lambda each: (-each.created_at, each.id)):
            told, day = _attested(event), event.created_at // DAY_S
            if not is_borne_out(rules, told, worked):
                continue
            worker = Worker(told.miner, told.worker)
            models = (told.model in rules.hardware or worker in newest) and newest.get(worker, -1) < told.created_at
            if models or (told.miner, day) not in covered:
                found.append(event)
                covered.add((told.miner, day))
                newest[worker] = max(newest.get(worker, -1), told.created_at)
        return found

    def _of(self, signer: str, day: int) -> list[Attested]:
        known = self._placed.get((signer, day))
        if known is None:
            start, end = (_attested_key(signer, max(0, each) * DAY_S, "") for each in (day, day + 1))
            known = self._placed[signer, day] = [told for _, told in self._attested.scan(start, end)]
        return known

    def _open_hours(
        self, lanes: Mapping[LaneKey, Lane], reaches: Mapping[LaneKey, Reach], end_ms: int
    ) -> Generator[None, None, list[tuple[int, set[str]]]]:
        """Who was there, by hour, after the hours that are whole."""
        served, miners = self._open.served(lanes, reaches, end_ms)
        found = [(end_ms // HOUR_MS, miners)] if (end_ms + 1) % HOUR_MS else []
        for key, reach in reaches.items():
            lane, start = lanes[key], reach.hour * HOUR_MS
            end = min(end_ms + 1, lane.watermark_ms)
            if start < end and key not in served:
                found.append((reach.hour, miners_of(lane, start, end, reach.position)))
                yield
        return found


def standings_of(rules: Loyalty, worked: Worked, told: Iterable[Attested]) -> Standings:
    """What the work done, and attestations by date, then id, give."""
    attested: dict[str, set[int]] = {}
    newest: dict[Worker, Attested] = {}
    for each in told:
        if not is_borne_out(rules, each, worked):
            continue
        worker = Worker(each.miner, each.worker)
        attested.setdefault(each.miner, set()).add(each.created_at // DAY_S)
        # Of equal dates the lowest id is the first.
        if worker not in newest or newest[worker].created_at < each.created_at:
            newest[worker] = each
    miners = {
        miner: Standing(worked.hours.get(miner, 0), len(attested.get(miner, ())))
        for miner in {*worked.hours, *attested}
    }
    hardware = {
        worker: loyalty.hardware_milli(rules, each.model, worked.measured(worker, each.created_at // DAY_S))
        for worker, each in newest.items()
    }
    return Standings(miners, hardware)


def asked_of(told: Attested) -> tuple[Worker, int]:
    """The worker and day by which an attestation is borne out or not."""
    return Worker(told.miner, told.worker), told.created_at // DAY_S


def is_borne_out(rules: Loyalty, told: Attested, worked: Worked) -> bool:
    """Whether the worker's measured hashrate of its day is what an attestation says, give or take a quarter."""
    measured = worked.measured(Worker(told.miner, told.worker), told.created_at // DAY_S)
    return loyalty.bears_out(measured, nominal(rules, told))


def _attested(told: Attestation) -> Attested:
    body = told.body
    return Attested(told.miner, body.worker, body.model, body.nominal_hs, told.created_at)


def _attested_key(signer: str, created_at: int, attestation: str) -> str:
    return f"{signer}/{created_at:012d}/{attestation}"


def with_bonuses(
    body: StatementBody, offer: Offer, workers: Mapping[Worker, int], standings: Standings
) -> StatementBody:
    """A statement, whose rows have none yet, with the bonuses out of its fee; `workers`: the work it counts."""
    if offer.loyalty is None:
        return body
    fee_msat = body.reward.gross_msat * offer.fee_ppm // PPM
    given = loyalty.bonuses(fee_msat, offer.loyalty, workers, standings.miners, standings.hardware)
    rows = tuple(
        replace(row, msat=row.msat + given[row.miner], bonus_msat=given[row.miner]) if row.miner in given else row
        for row in body.rows
    )
    return replace(body, rows=rows, fee_msat=body.fee_msat - sum(given.values()))
