"""The offers of the configuration: [terms] describes the one called main, each [[offers]] another."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from nips.pool.targets import work_from_bits
from nips.pool.terms import (
    LONGEST_PERIOD_S,
    LOYALTY_DAYS,
    LOYALTY_HOURS,
    MAX_HARDWARE_MILLI,
    MAX_LOYALTY_PPM,
    MILLI,
    PERIOD_SCHEMES,
    PPM,
    SCHEMES,
    SHORTEST_PERIOD_S,
    Loyalty,
    Model,
    Offer,
)
from noncestr.config.checks import between, one_of, port_name
from noncestr.config.key import config_key as _key
from noncestr.terms.offers import FeeTooHigh, check_fees

MAIN = "main"
SECOND_MS = 1000
_MODEL = re.compile(r"(?P<name>[^\x00-\x1f\x7f:]{1,64}): ?(?P<hashrate>[0-9]{1,24}), ?(?P<factor>[0-9]{4})", re.ASCII)


def parse_model(text: str) -> tuple[str, Model]:
    """`MODEL: HASHES A SECOND, THOUSANDTHS`. Raises ValueError for anything else, or beyond what the protocol has."""
    found = _MODEL.fullmatch(text)
    if found is None:
        raise ValueError(text)
    model = Model(int(found["hashrate"]), int(found["factor"]))
    if not model.hashrate or not MILLI <= model.factor_milli <= MAX_HARDWARE_MILLI:
        raise ValueError(text)
    return found["name"], model


def hardware(values: tuple[str, ...]) -> str | None:
    """Models, each once."""
    names = []
    for value in values:
        try:
            names.append(parse_model(value)[0])
        except ValueError:
            return f'must hold texts such as "Bitaxe Gamma: 1200000000000, 1250" (1000 to 1500), {value!r} is none'
    return None if len(set(names)) == len(names) else "must name each model once"


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
    loyalty_ppm: int = _key(
        0,
        "pplns, prop, solo: up to so much of the fee (250000 = 25 %, the most) goes to those who stay and attest their"
        " devices; 0: nothing.",
        between(0, MAX_LOYALTY_PPM),
    )
    loyalty_hours: int = _key(
        LOYALTY_HOURS, "Hours of 30 days with a share that make it full.", between(1, LOYALTY_HOURS)
    )
    loyalty_days: int = _key(LOYALTY_DAYS, "Days of 30 with an attestation that do.", between(1, LOYALTY_DAYS))
    loyalty_hardware: tuple[str, ...] = _key(
        (),
        'Models that count for more, as "MODEL: HASHES A SECOND, THOUSANDTHS": "Bitaxe Gamma: 1200000000000, 1250".',
        hardware,
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
        return Offer(keys.scheme, keys.fee_ppm, loyalty=_loyalty(keys))
    return Offer(
        scheme=keys.scheme,
        fee_ppm=keys.fee_ppm,
        window_milli=keys.window_milli,
        window_min_work=0 if block_bits is None else keys.window_milli * work_from_bits(block_bits) // MILLI,
        window_max_ms=keys.window_max_seconds * SECOND_MS,
        loyalty=_loyalty(keys),
    )


def _loyalty(keys: OfferKeys) -> Loyalty | None:
    if not keys.loyalty_ppm:
        return None
    models = dict(parse_model(text) for text in keys.loyalty_hardware)
    return Loyalty(keys.loyalty_ppm, keys.loyalty_hours, keys.loyalty_days, models)


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
    for name, keys in ((MAIN, main), *((keys.name, keys) for keys in others)):
        if keys.loyalty_ppm and keys.scheme in PERIOD_SCHEMES:
            problems.append(
                f"offer {name}: {keys.scheme} takes no fee out of a reward, of which loyalty_ppm could be paid"
            )
    try:
        check_fees(all_offers(main, others), forced=force_fee)
    except FeeTooHigh as error:
        problems.append(f"{error} ([terms] force_fee = true says that it is meant)")
    return list(dict.fromkeys(problems))
