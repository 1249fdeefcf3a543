"""A fleet of simulated miners under vardiff: how soon each settles, and whether it is then left alone.

Shares are Poisson events of seeded chance; time is simulated, so an hour takes a moment and every run is the same. A
new difficulty reaches the miner LAG_MS later, shares found until then count at the old one, as on a real connection.

Usage: python -m bench.fleet [--hours H] [--miners N] [--plot FILE.svg]
"""

import argparse
import math
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from stratum_edge.vardiff import QUICK_SHARES, History, Policy, retarget

# The service's sweep: how often silence is looked at.
SWEEP_MS = 5_000
LAG_MS = 500
# Settled: the pace lies within this factor of the target, and goes on to.
SETTLED = 2.0
HASHES_PER_DIFFICULTY = 2**48 / 0xFFFF
POLICY = Policy()
TARGET = POLICY.shares_per_minute
# A pace of so many hashes a second makes the target at difficulty 1024.
AT_1024 = 1024 * HASHES_PER_DIFFICULTY * TARGET / 60
HOUR_MS = 3_600_000

# Hashes a second at a moment (ms).
Power = Callable[[float], float]


@dataclass(frozen=True)
class Scenario:
    """`power` of a miner (its number, and the time), from `start` difficulty; `steps`: when the power changes (ms)."""

    name: str
    start: Fraction
    power: Callable[[int], Power]
    steps: tuple[float, ...] = (0.0,)
    # Fluctuates by itself: settling is not a question, only silence and retargets are.
    restless: bool = False
    drawn: bool = True


@dataclass
class Track:
    """What one connection went through. `paces`: (ms, expected shares a minute) at each change of either."""

    shares: list[float] = field(default_factory=list)
    changes: list[tuple[float, Fraction]] = field(default_factory=list)
    paces: list[tuple[float, float]] = field(default_factory=list)
    worst_silence_ms: float = 0.0

    def settled_after(self, begin: float, end: float) -> float:
        """Ms from `begin` until the pace stays within SETTLED of the target up to `end`; infinite if it never does."""
        since = begin
        held = [pace for at, pace in self.paces if at <= begin][-1:]
        inside = bool(held) and TARGET / SETTLED <= held[0] <= TARGET * SETTLED
        for at, pace in self.paces:
            if not begin < at < end:
                continue
            within = TARGET / SETTLED <= pace <= TARGET * SETTLED
            if within and not inside:
                since = at
            inside = within
        return since - begin if inside else math.inf


def run(power: Power, start: Fraction, duration_ms: float, seed: int, policy: Policy = POLICY) -> Track:
    """One connection from its login on."""
    chance = random.Random(seed)
    history = History(start, 0)
    track = Track()
    told = start  # what the miner works at, LAG_MS behind
    news: list[tuple[float, Fraction]] = []
    now, sweep, last_share, was = 0.0, float(SWEEP_MS), 0.0, -1.0

    def look() -> None:
        wanted = retarget(history, int(now), policy)
        if wanted is None:
            return
        if wanted != history.difficulty:
            track.changes.append((now, wanted))
            news.append((now + LAG_MS, wanted))
        history.restart(wanted, int(now))

    while now < duration_ms:
        hashes_per_s = power(now)
        pace = hashes_per_s * 60 / (float(told) * HASHES_PER_DIFFICULTY)
        if pace != was:
            track.paces.append((now, pace))
            was = pace
        if hashes_per_s == 0:
            last_share = now  # who is off is not silent
        gap = chance.expovariate(pace / 60_000) if pace else math.inf
        # Power is looked at anew at each sweep; chance has no memory, so a gap may be cut there.
        until = min(sweep, news[0][0] if news else math.inf)
        if now + gap >= until:
            now = until
            if news and news[0][0] <= now:
                told = news.pop(0)[1]
            if now >= sweep:
                sweep += SWEEP_MS
                look()
            track.worst_silence_ms = max(track.worst_silence_ms, now - last_share)
            continue
        now += gap
        track.worst_silence_ms = max(track.worst_silence_ms, now - last_share)
        last_share = now
        track.shares.append(now)
        history.count(told)
        if history.shares >= QUICK_SHARES:
            look()
    return track


def steady(factor: float) -> Callable[[int], Power]:
    """A fleet whose miners differ by up to a power of two, as real ones do."""
    return lambda number: lambda _now: factor * AT_1024 * 2 ** (number / 7 % 1 - 0.5)


def intermittent(on_ms: float, off_ms: float) -> Callable[[int], Power]:
    """On and off, each miner at its own time."""
    period = on_ms + off_ms
    return lambda number: lambda now: AT_1024 if (now + number * 7919) % period < on_ms else 0.0


def proxy(number: int) -> Power:
    """Five hundred miners behind one connection: one joins every two seconds, and after forty minutes half leave."""

    def power(now: float) -> float:
        joined = min(500, 1 + int(now / 2000))
        return (joined if now < 40 * 60_000 else 250) * AT_1024 / 4 * (1 + number % 3 / 4)

    return power


START = Fraction(1024)
SCENARIOS = (
    Scenario("steady, start is right", START, steady(1), drawn=False),
    Scenario("steady, 3x above", START, steady(3), drawn=False),
    Scenario("steady, 3x below", START, steady(1 / 3)),
    Scenario("CPU miner, 1/2^14", Fraction(1, 1 << 14), steady(1 / (1024 << 14)), drawn=False),
    Scenario("100x too fast", START, steady(100)),
    Scenario("100x too slow", START, steady(0.01)),
    Scenario("10,000x too fast", START, steady(10_000)),
    Scenario("on 10 min, off 5 min", START, intermittent(600_000, 300_000), restless=True),
    Scenario("on 60 s, off 60 s", START, intermittent(60_000, 60_000), restless=True, drawn=False),
    Scenario("proxy of 500", START, proxy, (1_000_000.0, 2_400_000.0)),
)


@dataclass(frozen=True)
class Figures:
    """What a fleet of one scenario went through; times in seconds, rates per minute once settled.

    `settled_s`: the slowest miner's, of the slowest step; `usual_s`: the median.
    """

    name: str
    usual_s: float
    settled_s: float
    retargets_per_hour: float
    p5: float
    p50: float
    p95: float
    silence_s: float


def measure(scenario: Scenario, miners: int, hours: float) -> tuple[Figures, list[Track]]:
    """Run a scenario's fleet."""
    end = hours * HOUR_MS
    tracks = [run(scenario.power(number), scenario.start, end, 1000 + number) for number in range(miners)]
    settled: list[float] = []
    retargets, rates, calm_ms, silence = 0, [], 0.0, 0.0
    for number, track in enumerate(tracks):
        power = scenario.power(number)
        last = 0.0
        steps = [step for step in scenario.steps if step < end]
        for step, until in zip(steps, [*steps[1:], end], strict=True):
            took = 0.0 if scenario.restless else track.settled_after(step, until)
            settled.append(took / 1000)
            last = step + (took if math.isfinite(took) else 0)
        # Ten minutes more, for the fine tuning.
        calm = last + 600_000
        retargets += sum(at > calm for at, _ in track.changes)
        calm_ms += max(0.0, end - calm)
        minutes = [0] * int(end // 60_000)
        for at in track.shares:
            if int(at // 60_000) < len(minutes):
                minutes[int(at // 60_000)] += 1
        rates += [
            count
            for minute, count in enumerate(minutes)
            if minute * 60_000 >= calm and power(minute * 60_000.0) and power(minute * 60_000.0 + 59_999)
        ]
        silence = max(silence, track.worst_silence_ms)
    if not rates:
        raise SystemExit("too short: nothing has settled")
    cuts = statistics.quantiles(rates, n=20)
    hours_calm = calm_ms / HOUR_MS
    figures = Figures(
        name=scenario.name,
        usual_s=statistics.median(settled),
        settled_s=max(settled),
        retargets_per_hour=retargets / hours_calm,
        p5=cuts[0],
        p50=statistics.median(rates),
        p95=cuts[-1],
        silence_s=silence / 1000,
    )
    return figures, tracks


def draw(path: str, drawn: list[tuple[Scenario, Track]]) -> None:
    """The pace of one miner of each drawn scenario over the first minutes, as an SVG."""
    import pygal
    from pygal.style import CleanStyle

    minutes = 30
    chart = pygal.XY(
        style=CleanStyle(font_family="sans-serif", background="white", plot_background="white", stroke_width=2.5),
        js=(),
        width=900,
        height=480,
        show_dots=False,
        no_prefix=True,
        allow_interruptions=True,
        title=f"Expected shares a minute after login (target {TARGET}), one miner of each kind",
        x_title="minutes",
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        truncate_legend=-1,
        stroke_style={"width": 2.5},
        # XY's own logarithm would bend the time, too.
        y_labels=[{"value": log2, "label": f"{float(f'{TARGET * 2.0**log2:.2g}'):,g}"} for log2 in range(-8, 15, 2)],
        x_labels=list(range(0, minutes + 1, 5)),
    )
    for scenario, track in drawn:
        if not scenario.drawn:
            continue
        points: list[tuple[float, float] | None] = []
        before = 0.0
        for at, pace in [*track.paces, (minutes * 60_000.0, -1.0)]:
            minute = round(min(at / 60_000, minutes), 2)
            if before:
                points.append((minute, round(math.log2(before / TARGET), 2)))
            if at >= minutes * 60_000:
                break
            points.append((minute, round(math.log2(pace / TARGET), 2)) if pace else None)
            before = pace
        chart.add(scenario.name, points)
    with open(path, "w", encoding="utf-8") as file:
        file.write(chart.render(disable_xml_declaration=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="simulated hours of each miner")
    parser.add_argument("--miners", type=int, default=14, help="miners of each kind")
    parser.add_argument("--plot", help="write an SVG there")
    arguments = parser.parse_args()
    print(f"{arguments.miners} miners of each kind for {arguments.hours:g} h, target {TARGET} shares/min")
    heads = ("usual s", "settled s", "retargets/h", "p5", "p50", "p95", "silence s")
    print(f"{'scenario':24}" + "".join(f"{head:>12}" for head in heads))
    drawn = []
    for scenario in SCENARIOS:
        found, tracks = measure(scenario, arguments.miners, arguments.hours)
        print(
            f"{found.name:24}{found.usual_s:12.0f}{found.settled_s:12.0f}{found.retargets_per_hour:12.3f}"
            f"{found.p5:12.0f}{found.p50:12.0f}{found.p95:12.0f}{found.silence_s:12.0f}"
        )
        drawn.append((scenario, tracks[0]))
    if arguments.plot:
        draw(arguments.plot, drawn)


if __name__ == "__main__":
    main()
