"""The offers of the configuration: [terms] describes the one called main, each [[offers]] another."""

from collections.abc import Mapping
from dataclasses import dataclass

from nips.pool.targets import work_from_bits
from nips.pool.terms import LONGEST_PERIOD_S, MILLI, PERIOD_SCHEMES, PPM, SCHEMES, SHORTEST_PERIOD_S, Offer
from noncestr.checks import between, one_of, port_name
from noncestr.config_keys import config_key as _key
from noncestr.offers import FeeTooHigh, check_fees

MAIN = "main"
SECOND_MS = 1000


@dataclass(frozen=True, slots=True)
class OfferKeys:
    """What an offer promises; which keys mean something is its scheme's affair."""

    scheme: str = _key(
        "pplns",
        "pplns, prop, solo (a block pays its finder alone), pps or fpps (the pool pays each share and carries the luck:"
        " see `noncestr terms risk`). An offer's name keeps its scheme for good.",
        one_of(*SCHEMES),
    )
    fee_ppm: int = _key(
        10_000, "The pool's fee in millionths of a reward (10000 = 1 %); above 5 % see force_fee.", between(0, PPM - 1)
    )
    window_milli: int = _key(
        8000, "pplns: the window in thousandths of a block's work (8000: eight blocks).", between(1, 1_000_000)
    )
    window_max_seconds: int = _key(
        0, "pplns: shares older than this fall out of the window; 0: never.", between(0, 31_536_000)
    )
    period_seconds: int = _key(
        3600, "pps, fpps: shares are paid for this often.", between(SHORTEST_PERIOD_S, LONGEST_PERIOD_S)
    )


@dataclass(frozen=True, slots=True)
class OfferConfig(OfferKeys):
    """Another offer, besides that of [terms]."""

    name: str = _key("", "What ports call it; each its own.", port_name)


def offer_of(keys: OfferKeys, block_bits: int | None) -> Offer:
    """The offer as the terms have it. On regtest the network's work is next to nothing: a pplns window's floor is
    reckoned from the demo target (`block_bits`).
    """
    if keys.scheme in PERIOD_SCHEMES:
        return Offer(keys.scheme, keys.fee_ppm, period_s=keys.period_seconds)
    if keys.scheme != "pplns":
        return Offer(keys.scheme, keys.fee_ppm)
    return Offer(
        scheme=keys.scheme,
        fee_ppm=keys.fee_ppm,
        window_milli=keys.window_milli,
        window_min_work=0 if block_bits is None else keys.window_milli * work_from_bits(block_bits) // MILLI,
        window_max_ms=keys.window_max_seconds * SECOND_MS,
    )


def all_offers(main: OfferKeys, others: tuple[OfferConfig, ...], block_bits: int | None = None) -> dict[str, Offer]:
    """Every offer by its name."""
    return {MAIN: offer_of(main, block_bits), **{keys.name: offer_of(keys, block_bits) for keys in others}}


def offer_problems(
    main: OfferKeys, others: tuple[OfferConfig, ...], ports: Mapping[str, str], *, force_fee: bool
) -> list[str]:
    """What single keys cannot show to be wrong. `ports`: the offer that each port names."""
    names = [MAIN, *(keys.name for keys in others)]
    problems = [f"[[offers]] {name}: there are two offers of this name" for name in names if names.count(name) > 1]
    problems += [
        f"[[ports]] {port} offer = {offer!r}: there is no such offer; known: {', '.join(names)}"
        for port, offer in ports.items()
        if offer not in names
    ]
    try:
        check_fees(all_offers(main, others), forced=force_fee)
    except FeeTooHigh as error:
        problems.append(f"{error} ([terms] force_fee = true says that it is meant)")
    return list(dict.fromkeys(problems))
