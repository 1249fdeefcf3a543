"""`noncestr terms show|risk`: what the pool promises, and what it takes to keep a promise to pay per share."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from accounting.schemes.risk import Margin, float_for_good, float_until, rosenfeld
from nips.errors import NipError
from nips.nip01 import decode_event, verify
from nips.pool.terms import PPM, SCHEMES, Terms, parse_terms
from noncestr.commands.options import DataOption, JsonOption
from noncestr.errors import NoncestrError
from noncestr.terms.offers import describe, describe_payouts, percent

# Where in the data folder the pool keeps its terms: signed events, one a line.
FILE = "terms.jsonl"
# Bitcoin aims at a block every ten minutes.
BLOCKS_A_DAY = 144
BTC_MSAT = 100_000_000_000
# Each float until a time takes some hundred thousand logarithms at so many blocks, seconds on one core.
MOST_BLOCKS = 5000

terms_app = typer.Typer(help="What the pool promises, and what its promises cost.", no_args_is_help=True)


def _read_terms(data: Path) -> list[Terms]:
    path = data / FILE
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        raise NoncestrError(f"{path}: no terms were issued yet") from None
    try:
        # What follows the last line's end was cut by a kill and never published.
        return [parse_terms(verify(decode_event(line))) for line in lines[:-1]]
    except NipError as error:
        raise NoncestrError(f"{path}: {error}") from None


@terms_app.command("show")
def show(
    data: DataOption = Path("data"),
    every: Annotated[bool, typer.Option("--all", help="Every terms since the first, not only those in force.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the offers that the pool's signed terms make, and when and how miners are paid."""
    issued = _read_terms(data)
    if not issued:
        raise NoncestrError(f"{data / FILE}: no terms were issued yet")
    shown = issued if every else issued[-1:]
    if as_json:
        typer.echo(msgspec.json.encode([_terms_row(terms) for terms in shown]))
        return
    for terms in shown:
        typer.echo(f"terms {terms.link.seq} of {terms.pool.network}, {terms.id}")
        for name, offer in sorted(terms.body.offers.items()):
            for line in describe(name, offer):
                typer.echo(f"  {line}")
        for line in describe_payouts(terms.body.limits.maturity_blocks, terms.body.payouts):
            typer.echo(f"  {line}")


def _terms_row(terms: Terms) -> dict[str, Any]:
    return {
        "id": terms.id,
        "seq": terms.link.seq,
        "created_at": terms.created_at,
        "network": terms.pool.network,
        **terms.body.to_json(),
    }


def _decimal(text: str, name: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise NoncestrError(f"{name}: {text!r} is no number") from None
    if not value.is_finite() or value < 0:
        raise NoncestrError(f"{name}: {text} must be 0 or more")
    return value


def _whole(text: str, factor: int, name: str) -> int:
    """A decimal times a factor, which must come out whole."""
    value = _decimal(text, name) * factor
    if value != value.to_integral_value():
        raise NoncestrError(f"{name}: {text} has too many decimals")
    return int(value)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked: fees in ppm, shares of the network's hashrate in percent, for so many days."""

    scheme: str
    fees: list[int]
    hashrates: list[Decimal]
    probability: Decimal
    days: Decimal
    subsidy_msat: int
    extra_msat: int
    orphan_ppm: int

    @property
    def reward_msat(self) -> int:
        return self.subsidy_msat + self.extra_msat

    def margin(self, fee_ppm: int) -> Margin:
        base = self.subsidy_msat if self.scheme == "pps" else self.reward_msat
        return Margin(base, self.reward_msat, fee_ppm, self.orphan_ppm)

    def expected(self, hashrate: Decimal) -> Decimal:
        """Blocks that a hashrate finds in the days asked about, on average."""
        return hashrate * BLOCKS_A_DAY * self.days / 100


def _answer(question: _Question) -> list[dict[str, Any]]:
    rows = []
    for fee in question.fees:
        margin = question.margin(fee)
        cost = margin.cost()
        until = []
        for hashrate in question.hashrates:
            blocks = question.expected(hashrate)
            needed = float_until(cost, question.probability, margin.found(blocks))
            until.append({"hashrate_percent": str(hashrate), "blocks": str(blocks), **_amount(needed, question)})
        rows.append(
            {
                "fee_ppm": fee,
                "margin": str(1 - cost),
                "for_good": _amount(float_for_good(cost, question.probability), question),
                "rosenfeld": _amount(rosenfeld(cost, question.probability), question),
                "until": until,
            }
        )
    return rows


def _amount(rewards: Decimal | None, question: _Question) -> dict[str, Any]:
    """A float in rewards and msat; both None where no float is enough."""
    if rewards is None:
        return {"rewards": None, "msat": None}
    return {"rewards": str(rewards), "msat": int((rewards * question.reward_msat).to_integral_value(ROUND_CEILING))}


def _cell(amount: dict[str, Any]) -> str:
    return "none is enough" if amount["msat"] is None else f"{_btc(amount['msat'])} ({amount['rewards']})"


def _btc(msat: int) -> str:
    return f"{-(-msat // (BTC_MSAT // 1000)) / 1000:,.3f}"


def _table(question: _Question, rows: list[dict[str, Any]]) -> list[str]:
    heads = [("ever, at any hashrate", "for_good"), ("  by Rosenfeld's formula", "rosenfeld")]
    lines = [[name, *(_cell(row[key]) for row in rows)] for name, key in heads]
    for at, hashrate in enumerate(question.hashrates):
        blocks = question.expected(hashrate)
        name = f"in {question.days} days with {hashrate} % ({blocks.normalize():f} blocks)"
        lines.append([name, *(_cell(row["until"][at]) for row in rows)])
    lines.insert(0, ["float in BTC (in rewards)", *(f"fee {percent(row['fee_ppm'])}" for row in rows)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(text.ljust(width) if not at else text.rjust(width) for at, (text, width) in enumerate(pairs)).rstrip()
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]


@terms_app.command("risk")
def risk(
    scheme: Annotated[str, typer.Option("--scheme", help="pps or fpps.")] = "fpps",
    fees: Annotated[str, typer.Option("--fees", help="Fees in percent, with commas.")] = "0,1,2,4",
    hashrates: Annotated[
        str, typer.Option("--hashrates", help="The pool's parts of the network's hashrate in percent, with commas.")
    ] = "0.001,0.01,0.1,1",
    probability: Annotated[str, typer.Option("--probability", help="Probability of ruin to allow, in percent.")] = "1",
    days: Annotated[str, typer.Option("--days", help="For how many days the hashrates are reckoned.")] = "365",
    subsidy: Annotated[str, typer.Option("--subsidy", help="New coins of a block, BTC.")] = "3.125",
    extra: Annotated[str, typer.Option("--tx-fees", help="Transaction fees of a block, BTC.")] = "0.02",
    orphans: Annotated[str, typer.Option("--orphans", help="Blocks lost to others, in percent.")] = "0.1",
    as_json: JsonOption = False,
) -> None:
    """How much money a pool needs in hand to pay per share, block or no block: its float.

    Luck comes and goes as a Poisson process; the float is what bad luck uses up with at most the probability asked for.
    """
    if scheme not in SCHEMES:
        raise NoncestrError(f"--scheme {scheme!r}: there is no such scheme; ask for pps or fpps")
    if scheme not in ("pps", "fpps"):
        raise NoncestrError(f"--scheme: {scheme} pays when blocks are found, and needs no float; ask for pps or fpps")
    chance = _decimal(probability, "--probability") / 100
    if not 0 < chance < 1:
        raise NoncestrError("--probability must lie between 0 and 100")
    question = _Question(
        scheme=scheme,
        fees=[_whole(fee, PPM // 100, "--fees") for fee in fees.split(",")],
        hashrates=[_decimal(hashrate, "--hashrates") for hashrate in hashrates.split(",")],
        probability=chance,
        days=_decimal(days, "--days"),
        subsidy_msat=_whole(subsidy, BTC_MSAT, "--subsidy"),
        extra_msat=_whole(extra, BTC_MSAT, "--tx-fees"),
        orphan_ppm=_whole(orphans, PPM // 100, "--orphans"),
    )
    if any(fee >= PPM for fee in question.fees) or question.orphan_ppm >= PPM or not question.subsidy_msat:
        raise NoncestrError("fees and orphans must be below 100 %, and a block worth something")
    for hashrate in question.hashrates:
        if question.expected(hashrate) > MOST_BLOCKS:
            raise NoncestrError(f"{hashrate} % over {days} days are more than {MOST_BLOCKS} blocks: ask for fewer days")
    rows = _answer(question)
    if as_json:
        typer.echo(msgspec.json.encode(rows))
        return
    typer.echo(f"{scheme}: the float that runs out with a probability of {probability} % at most")
    typer.echo(f"A block brings {_btc(question.reward_msat)} BTC, {orphans} % of blocks are lost.")
    typer.echo("")
    for line in _table(question, rows):
        typer.echo(line)
    typer.echo("")
    typer.echo(
        "The luck account starts with the float, pays every share, and takes in every block. Its margin (the fee,"
    )
    typer.echo(
        "for pps the transaction fees too, less orphans) is all that draws it upwards: without one no float lasts."
    )
