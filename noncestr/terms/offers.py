"""What an offer says to people, and which fees an operator must mean."""

from collections.abc import Iterator, Mapping

from nips.pool.terms import PERIOD_SCHEMES, PPM, Loyalty, Offer, PayoutTerms
from noncestr.errors import NoncestrError
from zapper.plan import sat_text

# The protocol allows any fee up to all of it; whoever takes more than 5 % has to say so twice.
MAX_FEE_PPM = 50_000
_SECOND_MS = 1000
_SPANS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


class FeeTooHigh(NoncestrError):
    """An offer's fee is above MAX_FEE_PPM and nobody has forced it."""

    def __init__(self, offer: str, fee_ppm: int) -> None:
        super().__init__(offer, fee_ppm)
        self.offer = offer
        self.fee_ppm = fee_ppm

    def __str__(self) -> str:
        most = percent(MAX_FEE_PPM)
        return f"offer {self.offer} takes a fee of {percent(self.fee_ppm)}, above {most}: force it, or lower it"


def percent(ppm: int) -> str:
    """Millionths as a percentage, exactly: 12500 is `1.25 %`."""
    whole, rest = divmod(ppm, PPM // 100)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".") + " %"


def span(seconds: int) -> str:
    """A time in its largest whole unit: 7200 is `2 hours`."""
    name, size = next(unit for unit in _SPANS if seconds % unit[1] == 0)
    count = seconds // size
    return f"{count} {name}{'' if count == 1 else 's'}"


def check_fees(offers: Mapping[str, Offer], *, forced: bool) -> None:
    """Refuse what an operator hardly means. Raises FeeTooHigh."""
    for name, offer in offers.items():
        if offer.fee_ppm > MAX_FEE_PPM and not forced:
            raise FeeTooHigh(name, offer.fee_ppm)


def describe(name: str, offer: Offer) -> Iterator[str]:
    """An offer in a few lines: its name, scheme and fee, then how a miner is paid under it."""
    yield f"{name}: {offer.scheme}, fee {percent(offer.fee_ppm)}"
    if offer.scheme == "pplns":
        yield f"  A block pays the newest work, {_thousandths(offer.window_milli)} blocks' worth."
        if offer.window_min_work:
            yield f"  The window holds {offer.window_min_work} hashes of work at least."
        if offer.window_max_ms:
            age = f"{offer.window_max_ms} ms" if offer.window_max_ms % _SECOND_MS else span(offer.window_max_ms // 1000)
            yield f"  No share in it is older than {age}."
    elif offer.scheme == "prop":
        yield "  A block pays all work since the one before. Hoppers gain here, at the cost of who stays."
    elif offer.scheme == "solo":
        yield "  A block pays its finder alone."
    if offer.scheme in PERIOD_SCHEMES:
        base = "the block subsidy" if offer.scheme == "pps" else "its block's whole reward"
        yield f"  Each share is paid its part of {base}, block or no block, every {span(offer.period_s)}."
        yield "  The pool carries the luck: see `noncestr terms risk`."
    if offer.loyalty is not None:
        yield from _describe_loyalty(offer.loyalty)


def describe_payouts(maturity_blocks: int, payouts: PayoutTerms) -> Iterator[str]:
    """When miners are paid, how, and who bears what it costs, in a few lines."""
    when = (
        f'at "{payouts.schedule}" (cron, UTC)'
        if payouts.schedule
        else f"every {span(payouts.interval_s).removeprefix('1 ')}"
    )
    yield f"paid {when}, from {sat_text(payouts.minimum_msat)} on"
    yield f"  A block's reward is owed after {maturity_blocks} confirmations."
    if payouts.idle_days:
        yield f"  Less is paid after {payouts.idle_days} days without earnings."
    if payouts.methods:
        yield f"  Ways, best first, where a miner's settings say nothing: {', '.join(payouts.methods)}."
    if payouts.onchain_msat:
        yield f"  On chain goes {sat_text(payouts.onchain_msat)} at least."
    most = ""
    if payouts.max_fee is not None:
        ppm, msat = payouts.max_fee
        most = f", {percent(ppm)} or {sat_text(msat)} at most, whichever is more"
    yield f"  The {payouts.network_fee} bears what a payment costs{most}."
    if payouts.per_day_msat is not None:
        yield f"  {sat_text(payouts.per_day_msat)} leave in 24 hours at most."
    if payouts.give_up_days is not None:
        yield f"  Who can't be paid for {payouts.give_up_days} days is tried again on news alone, and still owed."


def _describe_loyalty(loyalty: Loyalty) -> Iterator[str]:
    hours, days = loyalty.full_hours, loyalty.full_days
    yield f"  Of the fee up to {percent(loyalty.part_ppm)} is a bonus for loyalty, in full for {hours} hours"
    yield f"  with a share and {days} days with an attestation in 30 days."
    for model, known in sorted(loyalty.hardware.items()):
        factor = _thousandths(known.factor_milli)
        yield f"    {model} at {known.hashrate} hashes a second counts {factor} times."


def _thousandths(milli: int) -> str:
    whole, rest = divmod(milli, 1000)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".")
