"""A pool whose accounting states rounds and periods in any order, takes some back and states them again."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from tests.accounting.conftest import TERMS, Mined, Told
from tests.accounting.offers_story import OFFERS, OffersLog

# Ends of periods, ms since T0, as all of the story's times; and when work of each is done.
PERIODS = (40_000, 100_000, 160_000)
PAID_MS = (13_000, 53_000, 113_000)
BLOCKS = ("block 0", "block 1", "block 2")
ENDED_MS = 170_000
Act = tuple[str, str | int]


@dataclass
class OrdersLog(OffersLog):
    """`found` has the blocks' shares by label; `counts` the shares that each statement counts, `states` what became of
    it, by label.
    """

    found: dict[str, Mined] = field(default_factory=dict)
    clock_ms: int = ENDED_MS + 1000
    step_ms: int = 1000
    counts: dict[str, list[Told]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    def say(self, act: str, of: str | int) -> None:
        """The accounting states a block (by label) or a period (by its end), or gives a statement a status."""
        self.clock_ms += self.step_ms
        if act != "state":
            assert isinstance(of, str)
            self.status(of, act, self.clock_ms)
            self.states[of] = act
            return
        is_block = isinstance(of, str)
        kind, offer = ("statement", "round") if is_block else ("period", "steady")
        end = self.found[of].t if isinstance(of, str) else self.t0 + of
        label = f"{kind} {sum(name.startswith(f'{kind} ') for name in self.events)}"
        fitting = (told for told in self.told if told.offer == offer and told.t <= end)
        self.counts[label] = [told for told in fitting if not self.is_held(told, kind, offer, end)]
        self.states[label] = "pending" if is_block else "matured"
        if isinstance(of, str):
            self.statement(of, self.found[of], self.clock_ms)
        else:
            self.period(offer, of, self.clock_ms)

    def times_counted(self) -> dict[Told, int]:
        """How many statements that stand count each share."""
        times = dict.fromkeys((told for told in self.told if told.offer in ("round", "steady")), 0)
        for label, state in self.states.items():
            for told in self.counts[label] if state not in ("void", "orphaned") else ():
                times[told] += 1
        return times


@functools.cache
def _before(*, rounds: bool) -> OrdersLog:
    """Two lanes with work of three rounds, or of three periods, of which nothing is stated."""
    log = OrdersLog()
    alice, bob = log.keys.alice, log.keys.bob
    log.terms(0, replace(TERMS, offers=OFFERS))
    log.batch(0, 0, 10_000)
    log.batch(1, 0, 10_000)
    at = 10_000
    for number, end in enumerate((30_000, 70_000, 130_000)):
        job = log.job(f"{number}", at + 500, (0, 1), offer="round" if rounds else "steady", tip=number)
        t = at + 1000 if rounds else PAID_MS[number]
        shares = [log.mine(job, alice, t)]
        if rounds:
            log.found[BLOCKS[number]] = log.mine(job, bob, end - 1, block=True)
            shares.append(log.found[BLOCKS[number]])
        log.batch(0, at, end, shares)
        log.batch(1, at, end, [log.mine(job, bob, t + 1000)])
        if rounds:
            log.block(f"batch 0/{number + 1}", shares[-1], 1)
        at = end
    log.batch(0, at, ENDED_MS)
    log.batch(1, at, ENDED_MS)
    return log


def tell_orders(acts: Sequence[Act], step_ms: int = 1000) -> OrdersLog:
    """The acts after all the work, each so much later; only rounds have some if one is stated, else only periods."""
    before = _before(rounds=any(isinstance(of, str) and of in BLOCKS for _, of in acts))
    values = {each.name: getattr(before, each.name) for each in fields(before)}
    copied = {name: type(value)(value) for name, value in values.items() if isinstance(value, dict | list | set)}
    log = replace(before, **copied, step_ms=step_ms)
    for act, of in acts:
        log.say(act, of)
    return log
