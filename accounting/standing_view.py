"""What a miner's bonus would go by if a block were found now: hours, days, devices, and why something does not count.

JSON-ready. What stands in statements is `accounting.attendance`'s; here is the same reckoning at this moment, with the
attestations that the relays have and the next statement would put into the log.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from accounting.attendance import Attested, Standings, Worked, asked_of, is_borne_out, nominal, standings_of
from accounting.schemes import loyalty
from accounting.schemes.loyalty import DAY_S, ONE, Standing, Worker
from accounting.selection import Counted
from accounting.service import Accounting
from accounting.settings_book import shown_worker
from nips.pool.terms import MILLI, PPM, Loyalty, Offer, Terms, TermsBody

# A month of a large pool takes seconds to walk: so much of the time at most, and not more often than a minute.
PART_OF_TIME = 100
SHORTEST_MS = 60_000
# Of one miner; who has more workers sees the first by name.
MAX_WORKERS = 128


class Moment(NamedTuple):
    """What was done up to a time (Unix ms), what miners attested, and what both give by offer; until when that is
    shown, and by which fold and terms.
    """

    end_ms: int
    worked: Worked
    attested: Mapping[str, list[Attested]]
    standings: Mapping[str, Standings]
    until_ms: int
    of: tuple[int, str]


class StandingView:
    """The standings of a running Accounting."""

    def __init__(self, accounting: Accounting, pause: Callable[[], Awaitable[object]]) -> None:
        """`pause`: gives others their turn amid a long walk."""
        self._accounting = accounting
        self._pause = pause
        self._moment: Moment | None = None
        self._walking = False
        # By offer: the window and moment that the bonuses were reckoned for, and these.
        self._bonuses: dict[str, tuple[Counted, Moment, dict[str, int]]] = {}

    async def of(self, miner: str, windows: Mapping[str, Counted], gross_msat: int) -> list[dict[str, Any]]:
        """By offer that pays loyalty: what counts for a miner, and its bonus if a block were found now; `windows`: the
        work that such a block's reward of `gross_msat` would be split by, where that is reckoned.
        """
        terms = self._accounting.fold.terms
        rules = {} if terms is None else _loyal(terms.body)
        if terms is None or not rules:
            return []
        moment = await self._now(terms)
        found = []
        for name in sorted(rules.keys() & moment.standings.keys()):
            bonus = None
            if name in windows:
                bonus = self._bonus(name, terms.body.offers[name], windows[name], gross_msat, moment).get(miner, 0)
            found.append(self._told(name, terms.body.offers[name], rules[name], miner, moment, bonus))
        return found

    async def _now(self, terms: Terms) -> Moment:
        """How all stand; as of some time ago while that is long to find out."""
        fold, now, known = self._accounting.fold, self._accounting.clock.now_ms(), self._moment
        of = (id(fold), terms.id)
        if known is not None and known.of == of and (now < known.until_ms or self._walking):
            return known
        self._walking = True
        try:
            lanes, attendance = fold.log.lanes, fold.log.statements.attendance
            days = loyalty.days_at(now)
            # What was attested today is shown; it does not count yet.
            shown = range(days.start, days.stop + 1)
            seen = self._accounting.attestations.of(set(fold.statistics.miners()), shown)
            told = attendance.shown(self._accounting.pubkey, shown, (each.told for each in seen))
            counting = [each for each in told if each.created_at // DAY_S in days]
            cuts = {key: lane.batches[-1] for key, lane in lanes.in_order()}
            steps = attendance.walk(lanes, cuts, now, map(asked_of, counting), keep=False)
            while True:
                try:
                    next(steps)
                except StopIteration as done:
                    worked: Worked = done.value
                    break
                await self._pause()
            attested: dict[str, list[Attested]] = {}
            for each in told:
                attested.setdefault(each.miner, []).append(each)
            standings = {name: standings_of(rules, worked, counting) for name, rules in _loyal(terms.body).items()}
            took = max(0, self._accounting.clock.now_ms() - now)
            until = now + max(SHORTEST_MS, PART_OF_TIME * took)
            self._moment = Moment(now, worked, attested, standings, until, of)
            return self._moment
        finally:
            self._walking = False

    def _bonus(self, name: str, offer: Offer, counted: Counted, gross_msat: int, moment: Moment) -> Mapping[str, int]:
        known = self._bonuses.get(name)
        if known is None or known[0] is not counted or known[1] is not moment:
            assert offer.loyalty is not None
            fee, standings = gross_msat * offer.fee_ppm // PPM, moment.standings[name]
            paid = loyalty.bonuses(fee, offer.loyalty, counted.workers, standings.miners, standings.hardware)
            known = self._bonuses[name] = (counted, moment, paid)
        return known[2]

    def _told(
        self, name: str, offer: Offer, rules: Loyalty, miner: str, moment: Moment, bonus: int | None
    ) -> dict[str, Any]:
        standing = moment.standings[name].miners.get(miner, Standing())
        names = self._accounting.fold.statistics.worker_names(miner)
        names |= {each.worker for each in moment.attested.get(miner, ())}
        return {
            "offer": name,
            "ms": moment.end_ms,
            "part_ppm": rules.part_ppm,
            "fee_ppm": offer.fee_ppm,
            "hours": standing.hours,
            "full_hours": rules.full_hours,
            "days": standing.days,
            "full_days": rules.full_days,
            "factor_ppm": loyalty.factor(rules, standing, MILLI) * PPM // ONE,
            "bonus_msat": bonus,
            "because": _why_none(offer, rules, standing),
            "workers": [self._worker(name, rules, miner, worker, moment) for worker in sorted(names)[:MAX_WORKERS]],
        }

    def _worker(self, offer: str, rules: Loyalty, miner: str, worker: str, moment: Moment) -> dict[str, Any]:
        """One worker: its newest attestation that counts, else the newest at all, and what is amiss with that."""
        days, standings = loyalty.days_at(moment.end_ms), moment.standings[offer]
        own = [each for each in moment.attested.get(miner, ()) if each.worker == worker]
        past = [each for each in own if each.created_at // DAY_S in days]
        good = [each for each in past if is_borne_out(rules, each, moment.worked)]
        # Of equal dates the first is the one that counts.
        newest = max(good or own, key=lambda each: each.created_at, default=None)
        hardware = standings.hardware.get(Worker(miner, worker), MILLI)
        measured = because = None
        if newest is None:
            because = "no attestation (kind 4222) in the last 30 days"
        elif newest not in past:
            because = "attested today: a day counts when it is over"
        else:
            measured = str(moment.worked.measured(Worker(miner, worker), newest.created_at // DAY_S))
            if not good:
                because = "the hashrate measured that day is more than a quarter off"
            elif newest.model not in rules.hardware:
                because = "its days count; the terms' table of devices has no such model"
        return {
            **shown_worker(self._accounting.settings.of(miner), miner, worker)._asdict(),
            "model": "" if newest is None else newest.model,
            "attested_ms": 0 if newest is None else newest.created_at * 1000,
            "asked_hs": None if newest is None else str(nominal(rules, newest)),
            "measured_hs": measured,
            "hardware_milli": hardware,
            "factor_ppm": loyalty.factor(rules, standings.miners.get(miner, Standing()), hardware) * PPM // ONE,
            "because": because or "",
        }


def _loyal(terms: TermsBody) -> dict[str, Loyalty]:
    return {name: offer.loyalty for name, offer in terms.offers.items() if offer.loyalty is not None}


def _why_none(offer: Offer, rules: Loyalty, standing: Standing) -> str:
    """Why there can be no bonus, "" if there can."""
    if not offer.fee_ppm or not rules.part_ppm:
        return "the terms set nothing aside for it"
    if not standing.hours and not standing.days:
        return "no hour with a good share in the last 30 days"
    return ""
