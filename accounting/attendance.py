"""Who was there, with what: the hours, days and devices that a statement's bonus goes by (SPEC.md, "Splits").

Shares are looked up hour by hour. What a lane had in an hour that is over does not change, so that it is summed once,
when a statement first asks for it: a pool whose terms pay no loyalty never does.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol

from accounting.lanes import Batch, Lane, LaneKey
from accounting.schemes import loyalty
from accounting.schemes.loyalty import DAY_MS, DAY_S, HOUR_MS, REACH_MS, Standing, Worker
from accounting.shelves import Shelf, Shelves
from nips.pool.attestation import Attestation
from nips.pool.attestation_part import AttestationPart
from nips.pool.statement import StatementBody
from nips.pool.terms import PPM, Loyalty, Offer

HOURS_A_DAY = DAY_MS // HOUR_MS
# Where what lanes had in their hours is kept, by `<edge>/<lane>/<hour>`.
SHELF = "lane hours"
Hour = tuple[tuple[str, str, int], ...]


class Kept(Protocol):
    """Where sums of hours are kept."""

    def get(self, key: str, /) -> Hour | None:
        """A lane's hour (`hour_key`), None if it is not there."""

    def __setitem__(self, key: str, value: Hour, /) -> None: ...


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
    """What miners did: the hours of each with a good share (UTC, since 1970), the work of each worker and day."""

    hours: dict[str, set[int]]
    work: dict[tuple[Worker, int], int]

    def add(self, hour: int, done: Hour, end_ms: int) -> None:
        """What was done in an hour counts, as far as it matters at `end_ms`."""
        counts, day = hour in loyalty.hours_at(end_ms), hour // HOURS_A_DAY
        if day not in loyalty.days_at(end_ms):
            day = -1
        for miner, name, work in done:
            if counts:
                self.hours.setdefault(miner, set()).add(hour)
            if day >= 0:
                place = (Worker(miner, name), day)
                self.work[place] = self.work.get(place, 0) + work

    def measured(self, worker: Worker, day: int) -> int:
        """A worker's hashrate of a day, in hashes a second, rounded down."""
        return self.work.get((worker, day), 0) // DAY_S


def hour_key(lane: LaneKey, hour: int) -> str:
    """Where an hour of a lane is kept. Keys sort by hour."""
    return f"{lane}/{hour:09d}"


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
        self._hours: Shelf[Hour] = shelves.open(SHELF)
        # By `<signer>/<created_at>/<id>`.
        self._attested: Shelf[Attested] = shelves.open("attested")

    def add(self, part: AttestationPart) -> None:
        """Attestations took their place in a chain."""
        for told in part.attestations:
            self._attested[_attested_key(part.signer, told.created_at, told.id)] = _attested(told)

    def has(self, signer: str, created_at: int, attestation: str) -> bool:
        """Whether an attestation, by date and id, stands in a key's chain."""
        return _attested_key(signer, created_at, attestation) in self._attested

    def worked(self, lanes: Mapping[LaneKey, Lane], cuts: Mapping[LaneKey, Batch], end_ms: int) -> Worked:
        """What was done in the hours and days that count at `end_ms`, in the lanes up to the cuts."""
        found = Worked({}, {})
        first = loyalty.days_at(end_ms).start * HOURS_A_DAY
        for key in cuts:
            self._forget(key, first)
        for hour, done in self.hours(lanes, cuts, end_ms, self._hours):
            found.add(hour, done, end_ms)
        return found

    def hours(
        self, lanes: Mapping[LaneKey, Lane], cuts: Mapping[LaneKey, Batch], end_ms: int, kept: Kept | None = None
    ) -> Iterator[tuple[int, Hour]]:
        """What each lane has in the hours that matter at `end_ms`. `kept`: where the sums of hours that are over are
        put; without one they are only looked for where they are.
        """
        for key, cut in cuts.items():
            lane = lanes[key]
            first = max(loyalty.days_at(end_ms).start * HOURS_A_DAY, lane.first.from_ms // HOUR_MS)
            for hour in range(first, min(cut.to_ms // HOUR_MS, end_ms // HOUR_MS) + 1):
                yield hour, self._hour(lane, hour, cut, end_ms, kept)

    def attested(self, signer: str, days: range, more: Iterable[Attestation] = ()) -> list[Attested]:
        """The attestations of some days in a key's chain, and `more` that may come into it, by date, then id."""
        found = dict(self._placed(signer, days))
        for told in more:
            if told.created_at // DAY_S in days:
                found[_attested_key(signer, told.created_at, told.id)] = _attested(told)
        return [found[place] for place in sorted(found)]

    def standings(self, rules: Loyalty, worked: Worked, signer: str, end_ms: int) -> Standings:
        """What the work done, and the attestations in a key's chain, give at `end_ms`."""
        return standings_of(rules, worked, self._in_chain(signer, loyalty.days_at(end_ms)))

    def wanting(
        self, rules: Loyalty, worked: Worked, signer: str, end_ms: int, known: Iterable[Attestation]
    ) -> list[Attestation]:
        """Those that a bonus at `end_ms` should rest on and that are not in a key's chain: of each miner one a day, of
        each worker the newest if its model makes a difference. Newest first.
        """
        days = loyalty.days_at(end_ms)
        covered: set[tuple[str, int]] = set()
        newest: dict[Worker, int] = {}
        for told in self._in_chain(signer, days):
            if is_borne_out(rules, told, worked):
                covered.add((told.miner, told.created_at // DAY_S))
                newest[Worker(told.miner, told.worker)] = told.created_at
        found = []
        for event in sorted(known, key=lambda each: (-each.created_at, each.id)):
            told, day = _attested(event), event.created_at // DAY_S
            if day not in days or self.has(signer, event.created_at, event.id) or not is_borne_out(rules, told, worked):
                continue
            worker = Worker(told.miner, told.worker)
            models = (told.model in rules.hardware or worker in newest) and newest.get(worker, -1) < told.created_at
            if models or (told.miner, day) not in covered:
                found.append(event)
                covered.add((told.miner, day))
                newest[worker] = max(newest.get(worker, -1), told.created_at)
        return found

    def _in_chain(self, signer: str, days: range) -> Iterator[Attested]:
        """The attestations of some days in a key's chain, by date, then id."""
        return (told for _, told in self._placed(signer, days))

    def _placed(self, signer: str, days: range) -> Iterator[tuple[str, Attested]]:
        start, end = (f"{signer}/{max(0, day) * DAY_S:012d}/" for day in (days.start, days.stop))
        return self._attested.scan(start, end)

    def _hour(self, lane: Lane, hour: int, cut: Batch, end_ms: int, kept: Kept | None) -> Hour:
        """What a lane has in an hour, up to the cut and `end_ms`."""
        over = (hour + 1) * HOUR_MS <= min(end_ms + 1, cut.to_ms)
        key = hour_key(lane.key, hour)
        known = self._hours.get(key) if over else None
        if known is None and over and kept is not None:
            known = kept.get(key)
        if known is None:
            known = _summed(lane, hour * HOUR_MS, min((hour + 1) * HOUR_MS, end_ms + 1), cut)
            if over and kept is not None:
                kept[key] = known
        return known

    def _forget(self, lane: LaneKey, first: int) -> None:
        """Let go what is too old for any reward to come."""
        gone = [key for key, _ in self._hours.scan(f"{lane}/", hour_key(lane, max(0, first)))]
        for key in gone:
            del self._hours[key]


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
        miner: Standing(len(worked.hours.get(miner, ())), len(attested.get(miner, ())))
        for miner in {*worked.hours, *attested}
    }
    hardware = {
        worker: loyalty.hardware_milli(rules, each.model, worked.measured(worker, each.created_at // DAY_S))
        for worker, each in newest.items()
    }
    return Standings(miners, hardware)


def is_borne_out(rules: Loyalty, told: Attested, worked: Worked) -> bool:
    """Whether the worker's measured hashrate of its day is what an attestation says, give or take a quarter."""
    measured = worked.measured(Worker(told.miner, told.worker), told.created_at // DAY_S)
    return loyalty.bears_out(measured, nominal(rules, told))


def _attested(told: Attestation) -> Attested:
    body = told.body
    return Attested(told.miner, body.worker, body.model, body.nominal_hs, told.created_at)


def _attested_key(signer: str, created_at: int, attestation: str) -> str:
    return f"{signer}/{created_at:012d}/{attestation}"


def _summed(lane: Lane, from_ms: int, to_ms: int, cut: Batch) -> Hour:
    """The work of a lane's shares with from_ms <= t < to_ms, by worker."""
    works: dict[tuple[str, str], int] = {}
    for position in range(lane.position_past(from_ms), lane.position_of(cut.seq) + 1):
        tally = lane.batches.tally(position)
        if tally.from_ms >= to_ms:
            break
        if from_ms <= tally.from_ms and tally.to_ms <= to_ms and all(row.by_worker for row in tally.rows):
            for miner, worker, work in (each for row in tally.rows for each in row.by_worker):
                works[miner, worker] = works.get((miner, worker), 0) + work
            continue
        shares = lane.batches[position].shares
        for t, session in zip(shares.t, shares.session, strict=True):
            if from_ms <= t < to_ms:
                who = shares.sessions[session]
                works[who.miner, who.worker] = works.get((who.miner, who.worker), 0) + who.work
    return tuple((miner, worker, work) for (miner, worker), work in sorted(works.items()))


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
