"""docs/accounting.md: every figure of its examples is made again here by the product's code, and must be what it says.

`fill` writes the examples into the text; the test fails when that would change anything.
"""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

from typer.testing import CliRunner

from accounting.apportion import Split, split
from accounting.schemes import blocks, estimates, fpps, pplns, pps
from accounting.schemes.donations import Pledge, donate
from accounting.schemes.lots import Lot, Price, settle
from accounting.schemes.loyalty import Standing, Worker, bonuses, factor
from accounting.window import Placed
from nips.pool.targets import share_bits_from_difficulty, work_from_bits
from nips.pool.terms import Loyalty, Offer
from noncestr.terms_cli import terms_app

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


def extras_example() -> str:
    loyal = Loyalty(part_ppm=250_000, full_hours=720, full_days=30)
    parts = pplns_split()
    work = {Worker(row.miner, ""): row.work for row in parts.rows}
    known = {"Alice": Standing(720, 0), "Bob": Standing(360, 15)}
    fee = GROSS_MSAT * FEE_PPM // 1_000_000
    paid = bonuses(fee, loyal, work, known, {})
    lines = [f"B = floor({fee:,} * 25 %) = {fee * loyal.part_ppm // 1_000_000:,} msat"]
    for row in parts.rows:
        m = factor(loyal, known.get(row.miner, Standing()), 1000)
        lines.append(f"{row.miner:5}  M = {Fraction(m, 10**9) * 1.0:.3f}, bonus {paid.get(row.miner, 0):,} msat")
    lines.append(f"fee    {parts.fee_msat:,} - {sum(paid.values()):,} = {parts.fee_msat - sum(paid.values()):,} msat")
    given = donate(parts.rows, {"Alice": Pledge("", 15_000)}, "the pool")
    before = {row.miner: row.msat for row in parts.rows}
    moved = [row for row in given.rows if row.msat != before.get(row.miner, 0)]
    lines += [f"{row.miner}: {before.get(row.miner, 0):,} msat become {row.msat:,} msat" for row in moved]
    return "\n".join(lines)


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
    "extras": extras_example,
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
