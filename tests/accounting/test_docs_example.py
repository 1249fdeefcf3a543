"""docs/accounting.md: every figure of its examples is made again here by the product's code, and must be what it says.

`fill` writes the examples into the text; the test fails when that would change anything.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from accounting.apportion import Split, split
from accounting.attendance import Attested, Standings, Worked, standings_of, with_bonuses
from accounting.schemes import blocks, estimates, fpps, pplns, pps
from accounting.schemes.donations import Pledge, donate
from accounting.schemes.lots import Lot, Price, settle
from accounting.schemes.loyalty import DAY_MS, DAY_S, HOUR_MS, Standing, Worker, factor
from accounting.selection import Placed
from nips.pool.statement import BlockReward, Row, StatementBody, Window
from nips.pool.targets import share_bits_from_difficulty, work_from_bits
from nips.pool.terms import Loyalty, Model, Offer
from noncestr.commands.terms import terms_app
from tests.accounting.plain_attendance import Done, worked_by

DOCS = Path(__file__).parents[2] / "docs" / "accounting.md"
EXAMPLE = re.compile(r"<!-- example: (\w+) -->\n```\n(.*?)\n```", re.DOTALL)

NBITS, HEIGHT = share_bits_from_difficulty(Fraction(512)), 900_000
GROSS_MSAT, FEE_PPM = 314_500_000_000, 10_000
# Seconds after twelve, miner, difficulty; the second one found the block before, the last one this block.
MINED = (
    (10, "Carol", 256),
    (20, "Alice", 128),
    (30, "Bob", 256),
    (40, "Alice", 32),
    (50, "Carol", 128),
    (60, "Bob", 64),
)
LAST_BLOCK, FOUND_MS = 1, 60_000


def work_of(difficulty: int) -> int:
    return work_from_bits(share_bits_from_difficulty(Fraction(difficulty)))


SHARES = [Placed(s * 1000, "", 0, 0, n, who, work_of(d)) for n, (s, who, d) in enumerate(MINED)]
SOLVED = blocks.Solved(FOUND_MS, NBITS, SHARES[-1].miner, SHARES[-1].work)
PPLNS = Offer("pplns", FEE_PPM, window_milli=1200)


def pplns_split() -> Split:
    return split(GROSS_MSAT, FEE_PPM, blocks.count("main", PPLNS, SOLVED, reversed(SHARES)).work)


def shares() -> str:
    lines = [
        f"a block's work          {work_from_bits(NBITS):>16,}",
        "share  time      miner  difficulty              work",
    ]
    for number, ((second, miner, difficulty), share) in enumerate(zip(MINED, SHARES, strict=True), 1):
        found = {LAST_BLOCK + 1: "  the block before", len(MINED): "  the block"}.get(number, "")
        time = f"12:0{second // 60}:{second % 60:02d}"
        lines.append(f"{number:>5}  {time}  {miner:5}  {difficulty:>10}  {share.work:>16,}{found}")
    return "\n".join(lines)


def of_split(parts: Split) -> list[str]:
    total = sum(row.work for row in parts.rows)
    pot = GROSS_MSAT - GROSS_MSAT * FEE_PPM // 1_000_000
    lines = [f"reward {GROSS_MSAT:,} msat, pot {pot:,} msat"]
    lines += [f"{r.miner:5}  floor({pot:,} * {r.work:,} / {total:,}) = {r.msat:,} msat" for r in parts.rows]
    given = sum(row.msat for row in parts.rows)
    return [*lines, f"fee    {GROSS_MSAT:,} - {given:,} = {parts.fee_msat:,} msat"]


def pplns_example() -> str:
    room = pplns.window_work(PPLNS, NBITS)
    lines = [f"W = floor(1200 * {work_from_bits(NBITS):,} / 1000) = {room:,}"]
    for number, share in reversed(list(enumerate(SHARES, 1))):
        part = min(share.work, room)
        room -= part
        lines.append(f"share {number} of {share.miner:5} counts {part:>17,}, {room:>17,} left")
        if not room:
            break
    return "\n".join([*lines, *of_split(pplns_split())])


def prop_example() -> str:
    counted = blocks.count("main", Offer("prop", FEE_PPM), SOLVED, SHARES[LAST_BLOCK + 1 :])
    return "\n".join(of_split(split(GROSS_MSAT, FEE_PPM, counted.work)))


def solo_example() -> str:
    return "\n".join(of_split(split(GROSS_MSAT, FEE_PPM, blocks.count("main", Offer("solo"), SOLVED, ()).work)))


def period_example() -> str:
    lines = []
    offers = {
        "pps": pps.price(Offer("pps", 20_000, period_s=3600), "main", HEIGHT, NBITS),
        "fpps": fpps.price(Offer("fpps", 40_000, period_s=3600), GROSS_MSAT, NBITS),
    }
    for scheme, price in offers.items():
        period = settle(Lot(share.miner, share.work, price) for share in SHARES)
        lines.append(f"{scheme}, base {price.base_msat:,} msat, fee {price.fee_ppm // 10_000} %")
        lines += [f"  {row.miner:5}  {exact(row.work, price)} = {row.msat:,} msat" for row in period.rows]
        lines.append(f"  paid   {period.gross_msat:,} msat")
    return "\n".join(lines)


def exact(work: int, price: Price) -> str:
    part = f"{price.base_msat:,} * {(1_000_000 - price.fee_ppm) // 10_000} %"
    return f"{work:,} / {work_from_bits(price.nbits):,} * {part}"


# A month's end, for the bonus: a midnight, so that its last 30 days are over.
MONTH_END_MS = 20_000 * DAY_MS
LOYAL = Loyalty(250_000, 720, 30, {"Bitaxe Gamma": Model(1_200_000_000_000, 1250)})
LOYAL_OFFER = replace(PPLNS, loyalty=LOYAL)


class Stay(NamedTuple):
    """A miner's month: how many of its last hours, on how many of its last days attested; the device and its H/s."""

    miner: str
    hours: int
    days: int
    model: str
    rate: int
    says: int


STAYED = (
    Stay("Alice", 720, 15, "Bitaxe Gamma", 1_150_000_000_000, 1_200_000_000_000),
    Stay("Bob", 360, 15, "Antminer S9", 13_200_000_000_000, 13_500_000_000_000),
    Stay("Carol", 6, 1, "Bitaxe Gamma", 1_200_000_000_000, 1_200_000_000_000),
)


def month() -> tuple[Worked, Standings]:
    """What the receipts and attestations of that month give."""
    done, told, last = list[Done](), list[Attested](), MONTH_END_MS // HOUR_MS - 1
    for stay in STAYED:
        for hour in range(last + 1 - stay.hours, last + 1):
            # The hour that began just 30 days ago is not in them; the one that begins now is.
            at = last + 1 if hour == last + 1 - 720 else hour
            done.append(Done(at * HOUR_MS, Worker(stay.miner, ""), stay.rate * 3600))
        for day in range(stay.days):
            second = MONTH_END_MS // 1000 - (day + 1) * DAY_S
            told.append(Attested(stay.miner, "", stay.model, stay.says, second))
    worked = worked_by(done, MONTH_END_MS)
    return worked, standings_of(LOYAL, worked, sorted(told, key=lambda each: each.created_at))


def bonus_split() -> StatementBody:
    """The pplns example's statement with its bonuses."""
    parts = pplns_split()
    rows = tuple(Row(row.miner, row.work, row.msat) for row in parts.rows)
    window = Window(0, sum(row.work for row in rows), {})
    body = StatementBody(BlockReward("", HEIGHT, FOUND_MS, GROSS_MSAT), "", "main", window, parts.fee_msat, rows)
    return with_bonuses(body, LOYAL_OFFER, {Worker(row.miner, ""): row.work for row in rows}, month()[1])


def milli(thousandths: int) -> str:
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def bonus_example() -> str:
    worked, standings = month()
    body, before = bonus_split(), {row.miner: row for row in pplns_split().rows}
    fee = GROSS_MSAT * FEE_PPM // 1_000_000
    pot = fee * LOYAL.part_ppm // 1_000_000
    lines = [
        f"B = floor({fee:,} * 25 %) = {pot:,} msat",
        "       hours      U  days      A  device, as measured           H      M",
    ]
    weights: dict[str, int] = {}
    for stay in STAYED:
        miner, standing = stay.miner, standings.miners[stay.miner]
        hardware = standings.hardware.get(Worker(miner, ""), 1000)
        uptime, attested = (
            factor(LOYAL, each, 1000) // 1_000_000 for each in (Standing(standing.hours, 0), Standing(0, standing.days))
        )
        m = factor(LOYAL, standing, hardware)
        measured = Fraction(worked.measured(Worker(miner, ""), MONTH_END_MS // DAY_MS - 1), 10**12)
        weights[miner] = before[miner].work * (m - 10**9)
        device = f"{stay.model}, {measured * 1.0:.2f} TH/s"
        lines.append(
            f"{miner:5}  {standing.hours:>5}  {milli(uptime)}  {standing.days:>4}  {milli(attested)}  {device:24}  "
            f"{milli(hardware)}  {milli(m // 1_000_000)}"
        )
    lines += [
        f"{miner:5}  {before[miner].work:>17,} * {milli(weight // before[miner].work // 1_000_000)}"
        for miner, weight in weights.items()
    ]
    for row in body.rows:
        part = 100 * Fraction(weights[row.miner], sum(weights.values()))
        lines.append(
            f"{row.miner:5}  {part * 1.0:6.3f} % of B = {row.bonus_msat:>11,} msat: "
            f"{before[row.miner].msat:,} + {row.bonus_msat:,} = {row.msat:,} msat"
        )
    given = sum(row.bonus_msat for row in body.rows)
    lines.append(f"fee    {body.fee_msat + given:,} - {given:,} = {body.fee_msat:,} msat")
    return "\n".join(lines)


def donation_example() -> str:
    parts = pplns_split()
    given = donate(parts.rows, {"Alice": Pledge("", 15_000)}, "the pool")
    before = {row.miner: row.msat for row in parts.rows}
    moved = [row for row in given.rows if row.msat != before.get(row.miner, 0)]
    return "\n".join(f"{row.miner}: {before.get(row.miner, 0):,} msat become {row.msat:,} msat" for row in moved)


def estimates_example() -> str:
    nbits, hashrate, pool = 0x1702905C, 1_200_000_000_000, 2_000_000_000_000_000
    block = work_from_bits(nbits)
    day = 86_400_000
    done = sum(share.work for share in SHARES[LAST_BLOCK + 1 :])
    effort = estimates.effort_ppm([(done, NBITS)])
    mean = estimates.expected_ms(pool, nbits)
    assert mean is not None
    daily = estimates.daily_msat(hashrate, nbits, GROSS_MSAT, FEE_PPM)
    share = parts_of("Bob")
    lines = [
        f"effort of the example's round         {done:,} / {work_from_bits(NBITS):,} = {effort / 10_000:.2f} %",
        f"luck of its block                     1 / effort = {(estimates.luck_ppm(1, effort) or 0) / 10_000:.2f} %",
        f"Bob's part if a block were found now  {share:,} msat",
        f"work of a block at nbits {nbits:08x}     {block:,}",
        f"mean time to a block at 2 PH/s        {mean // day:,} days",
        f"chance of a block in 365 days         {estimates.chance_ppm(pool, nbits, 365 * day) / 10_000:.2f} %",
        f"1.2 TH/s earn a day, on average       {daily:,} msat",
    ]
    return "\n".join(lines)


def parts_of(miner: str) -> int:
    work = blocks.count("main", PPLNS, SOLVED, reversed(SHARES)).work
    return estimates.pending_msat(GROSS_MSAT, FEE_PPM, work[miner], sum(work.values()))


def risk_example() -> str:
    result = CliRunner().invoke(terms_app, ["risk", "--hashrates", "0.001,0.01,0.1"], catch_exceptions=False)
    return "\n".join(result.output.splitlines()[:-2]).rstrip()


EXAMPLES: Mapping[str, Callable[[], str]] = {
    "shares": shares,
    "pplns": pplns_example,
    "prop": prop_example,
    "solo": solo_example,
    "period": period_example,
    "risk": risk_example,
    "bonus": bonus_example,
    "donation": donation_example,
    "estimates": estimates_example,
}


def fill(text: str) -> str:
    """The text with its examples put in."""
    return EXAMPLE.sub(lambda match: f"<!-- example: {match[1]} -->\n```\n{EXAMPLES[match[1]]()}\n```", text)


def test_the_examples_are_what_the_code_makes() -> None:
    text = DOCS.read_text("utf-8")
    assert [match[1] for match in EXAMPLE.finditer(text)] == list(EXAMPLES)
    assert fill(text) == text


def test_the_example_adds_up() -> None:
    parts = pplns_split()
    assert sum(row.msat for row in parts.rows) + parts.fee_msat == GROSS_MSAT
    assert {row.miner for row in parts.rows} == {"Alice", "Bob", "Carol"}


def test_the_bonus_example_is_what_its_text_says() -> None:
    body, plain = bonus_split(), pplns_split()
    assert sum(row.msat for row in body.rows) + body.fee_msat == GROSS_MSAT
    pot = GROSS_MSAT * FEE_PPM // 1_000_000 * LOYAL.part_ppm // 1_000_000
    assert pot - len(body.rows) < sum(row.bonus_msat for row in body.rows) <= pot
    # Never a msat out of another's row.
    assert all(row.msat - row.bonus_msat == own.msat for row, own in zip(body.rows, plain.rows, strict=True))
    _, standings = month()
    assert dict(standings.miners) == {
        "Alice": Standing(720, 15), "Bob": Standing(360, 15), "Carol": Standing(6, 0),
    }  # fmt: skip
    # The terms know Alice's model, not Bob's; Carol's ran a quarter of the day.
    assert standings.hardware == {Worker("Alice", ""): 1250, Worker("Bob", ""): 1000}
