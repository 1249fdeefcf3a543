"""What an honest miner, a hopper, a burst and an idler earn under each scheme, per unit of work, in the product's code.

Time goes by in steps of STEP_MS. In each step a miner does so much work as its habit says, and the pool finds a block
with the probability work / work(nbits): all from one seed, the same blocks under every scheme. What is fair is a
block's reward for a block's work, whenever it was done; fees are left out. `swing` says how far a day's earnings lie
from what is fair for that day's work, as a part of a day's fair pay: 0 for pps, whose price is fixed.

Usage: python -m bench.schemes [--blocks N] [--seed N] [--plot FILE.svg]
"""

import argparse
import random
import statistics
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, takewhile
from typing import NamedTuple

from accounting.apportion import split
from accounting.schemes import blocks, periods
from accounting.schemes.lots import Lot, settle
from accounting.selection import Placed
from nips.pool.targets import work_from_bits
from nips.pool.terms import Offer

NETWORK, HEIGHT, NBITS = "main", 840_000, 0x1D00FFFF
WORK = work_from_bits(NBITS)
SUBSIDY_MSAT = 312_500_000_000
# Transaction fees of a step's job, drawn evenly from these: 0 to 0.07 BTC.
TX_FEES_MSAT = tuple(1_000_000_000 * n for n in range(8))
MEAN_REWARD_MSAT = SUBSIDY_MSAT + sum(TX_FEES_MSAT) // len(TX_FEES_MSAT)
# The pool of constant miners alone would find a block in 50 steps, ten minutes.
STEP_MS, STEPS_A_BLOCK = 12_000, 50
STEPS_A_DAY = 144 * STEPS_A_BLOCK
# Work of a step for each hundredth of that pool.
PERCENT = WORK // (100 * STEPS_A_BLOCK)
# Where a share of a proportional round is worth less than a fair one: M. Rosenfeld, "Analysis of Bitcoin Pooled Mining
# Reward Systems" (2011), after Raulo.
HOP_EFFORT_PPM = 435_000
BURST_EVERY, BURST_STEPS = 1000, 20
IDLE_DAYS = 3
Z95 = 1.96


class Now(NamedTuple):
    """What a miner goes by: the step, and the work since the last block in millionths of a block's."""

    step: int
    effort_ppm: int


# Work in a step.
Habit = Callable[[Now], int]
MINERS: dict[str, Habit] = {
    "the rest": lambda _: 97 * PERCENT,
    "honest, 1 %": lambda _: PERCENT,
    "hopper, 10 %": lambda now: 10 * PERCENT if now.effort_ppm < HOP_EFFORT_PPM else 0,
    "burst, 50 % at times": lambda now: 50 * PERCENT if now.step % BURST_EVERY < BURST_STEPS else 0,
    "idler, 2 % every other 3 days": lambda now: 0 if now.step // (IDLE_DAYS * STEPS_A_DAY) % 2 else 2 * PERCENT,
}
OFFERS = {
    "solo": Offer("solo", 0),
    "prop": Offer("prop", 0),
    "pplns, 8 blocks": Offer("pplns", 0, 8000),
    "pplns, at most 20 minutes": Offer("pplns", 0, 8000, window_max_ms=1_200_000),
    "pps": Offer("pps", 0, period_s=3600),
    "fpps": Offer("fpps", 0, period_s=3600),
}


class Earned(NamedTuple):
    """Per unit of work, what is fair being 1: the mean, its 95 % bounds' distance, and the swing of a day."""

    mean: float
    error: float
    swing: float


@dataclass
class Daybook:
    """A miner's days: work, and msat by scheme."""

    work: list[int] = field(default_factory=list)
    msat: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in OFFERS})

    def open_day(self) -> None:
        self.work.append(0)
        for days in self.msat.values():
            days.append(0)

    def earned(self, scheme: str) -> Earned:
        """What came of it. A part of a last day counts for the mean alone."""
        fair = [work * MEAN_REWARD_MSAT / WORK for work in self.work]
        paid = self.msat[scheme]
        day = statistics.mean(fair)
        swing = statistics.stdev(have - due for have, due in zip(paid[:-1], fair[:-1], strict=True)) / day
        return Earned(sum(paid) / sum(fair), Z95 * swing / len(fair) ** 0.5, swing)


class Pool:
    """The simulated pool: steps, rounds and the window, all as the shares that the schemes' functions read."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.days = {name: Daybook() for name in MINERS}
        self.step = 0
        self.blocks = 0
        self.effort = 0
        # Newest last; as much as the longest window may hold.
        self.shares: deque[list[Placed]] = deque(maxlen=9 * STEPS_A_BLOCK)
        self.round: list[list[Placed]] = []
        self.lots: dict[str, list[Lot]] = {
            name: [] for name, offer in OFFERS.items() if offer.scheme in periods.SCHEMES
        }

    def run(self, wanted: int) -> None:
        """Mine until so many blocks are found, and settle what is open."""
        while self.blocks < wanted:
            self._step()
        self._settle()

    def _step(self) -> None:
        if self.step % STEPS_A_DAY == 0:
            for book in self.days.values():
                book.open_day()
        t = self.step * STEP_MS
        now = Now(self.step, self.effort * 1_000_000 // WORK)
        done = {name: work for name, habit in MINERS.items() if (work := habit(now))}
        shares = [Placed(t, "", 0, self.step, n, name, work) for n, (name, work) in enumerate(done.items())]
        self.shares.append(shares)
        self.round.append(shares)
        for name, work in done.items():
            self.days[name].work[-1] += work
        outputs = SUBSIDY_MSAT + self.dice.choice(TX_FEES_MSAT)
        for scheme, lots in self.lots.items():
            price = periods.price(scheme, OFFERS[scheme], NETWORK, HEIGHT, NBITS, outputs)
            lots += [Lot(name, work, price) for name, work in done.items()]
        total = sum(done.values())
        self.effort += total
        self.step += 1
        if self.dice.randrange(WORK) < total:
            finder = self.dice.choices(list(done), list(done.values()))[0]
            self._found(blocks.Solved(t, NBITS, finder, 1), outputs)
        if self.step % STEPS_A_DAY == 0:
            self._settle()

    def _found(self, solved: blocks.Solved, gross_msat: int) -> None:
        self.blocks += 1
        for scheme, offer in OFFERS.items():
            if offer.scheme not in blocks.SCHEMES:
                continue
            counted = blocks.count(scheme, offer, solved, self._shares(offer, solved.found_ms))
            parts = split(gross_msat, offer.fee_ppm, counted.work)
            for row in parts.rows:
                self.days[row.miner].msat[scheme][-1] += row.msat
        self.round, self.effort = [], 0

    def _shares(self, offer: Offer, end_ms: int) -> Iterator[Placed]:
        """S of an offer, newest first; prop's less what the statement before held."""
        held = self.round if offer.scheme == "prop" else self.shares
        oldest = blocks.oldest_ms(offer, end_ms)
        return takewhile(lambda share: share.t >= oldest, chain.from_iterable(map(reversed, reversed(held))))

    def _settle(self) -> None:
        for scheme, lots in self.lots.items():
            for row in settle(lots).rows:
                self.days[row.miner].msat[scheme][-1] += row.msat
            lots.clear()


def simulate(wanted: int, seed: int) -> dict[str, dict[str, Earned]]:
    """scheme -> miner -> what it earned per unit of work, over so many blocks."""
    pool = Pool(seed)
    pool.run(wanted)
    return {scheme: {name: book.earned(scheme) for name, book in pool.days.items()} for scheme in OFFERS}


def plot(results: dict[str, dict[str, Earned]], wanted: int, path: str) -> None:
    """Earnings per unit of work as bars with their 95 % bounds; solo's luck would hide all else and is left out."""
    import pygal
    from pygal.style import CleanStyle

    colors = ("#8a8f98", "#2b7a78", "#d1495b", "#edae49", "#5b6cb8")
    chart = pygal.Bar(
        style=CleanStyle(
            font_family="sans-serif",
            background="white",
            plot_background="white",
            colors=colors,
            ci_colors=("#333",),
            opacity="1",
            guide_stroke_color="#dddddd",
            guide_stroke_dasharray="1,0",
            major_guide_stroke_color="#999999",
            major_guide_stroke_dasharray="1,0",
        ),
        js=(),
        width=1000,
        height=480,
        no_prefix=True,
        title=f"Earned per unit of work over {wanted:,} blocks, in % of what is fair (lines: 95 % bounds)",
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        truncate_legend=-1,
        truncate_label=-1,
        range=(80, 190),
        y_labels=list(range(80, 191, 10)),
        # Bars begin at what is fair.
        zero=100,
    )
    drawn = [scheme for scheme in results if scheme != "solo"]
    chart.x_labels = drawn
    for name in MINERS:
        cells = []
        for scheme in drawn:
            got = results[scheme][name]
            low, high = 100 * (got.mean - got.error), 100 * (got.mean + got.error)
            cells.append({"value": round(100 * got.mean, 1), "ci": {"low": round(low, 1), "high": round(high, 1)}})
        chart.add(name, cells)
    with open(path, "w", encoding="utf-8") as file:
        file.write(chart.render(disable_xml_declaration=True) + "\n")


def main() -> None:
    """Print the table, and draw it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", help="write an SVG there")
    options = parser.parse_args()
    results = simulate(options.blocks, options.seed)
    print(f"Over {options.blocks:,} blocks, earned per unit of work in % of what is fair, with its 95 % bounds;")
    print("in brackets the swing of a day.")
    print(f"{'':31}" + "".join(f"{scheme:>27}" for scheme in OFFERS))
    for name in MINERS:
        cells = [results[scheme][name] for scheme in OFFERS]
        print(
            f"{name:31}"
            + "".join(f"{100 * got.mean:>10.1f} ± {100 * got.error:>4.1f} ({100 * got.swing:>5.0f} %)" for got in cells)
        )
    if options.plot:
        plot(results, options.blocks, options.plot)


if __name__ == "__main__":
    main()
