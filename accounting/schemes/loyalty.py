"""loyalty: a bonus out of the pool's fee for those who stay, attest their devices, and run what the terms favour.

A part B of the fee is shared by weights sum of work_w * (M_w - 1) over a miner's workers, M_w = min(H_w * U * A, 3):

    U  uptime: 1 up to 2, by the hours begun in the last 30 days with a good share
    A  attestations: 1 up to 1.5, by the last 30 days that are over with one (4222) that the measured hashrate bears out
    H  hardware: 1 up to 1.5, the factor of the model in the terms' table if the worker's hashrate is that model's

Invariants: bonuses and what stays of the fee are the fee, to the msat; never a msat comes out of another's row; a miner
without work, or with M = 1, gets none; nobody eligible leaves the fee as it was; more work, hours, days or hardware
never earn less; an npub split into two earns nothing more, since each part has at most its hours and days.
"""

from collections.abc import Mapping
from typing import NamedTuple

from nips.pool.terms import MAX_HARDWARE_MILLI, MILLI, PPM, Loyalty

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# What is older is forgotten: a bonus is for staying, not for having been there.
SPAN_MS = 30 * DAY_MS
# So far back begins the first of the last 30 days that are over, at most: nothing before is looked at.
REACH_MS = SPAN_MS + DAY_MS
DAY_S = DAY_MS // 1000
MAX_UPTIME_MILLI = 2 * MILLI
MAX_ATTESTED_MILLI = 3 * MILLI // 2
# M is a product of three thousandths.
ONE = MILLI**3
MAX_FACTOR = 3 * ONE
# A model's hashrate is borne out by a measured one within a quarter of it, above or below.
TOLERANCE = 4


class Worker(NamedTuple):
    """A miner's worker, by its name in the receipts."""

    miner: str
    name: str


class Standing(NamedTuple):
    """A miner's last 30 days: hours with a good share, days with an attestation that was borne out."""

    hours: int = 0
    days: int = 0


def hours_at(end_ms: int) -> range:
    """The hours (of UTC, since 1970) that count for a reward at that time: those begun in the 30 days before it."""
    return range((end_ms - SPAN_MS) // HOUR_MS + 1, end_ms // HOUR_MS + 1)


def days_at(end_ms: int) -> range:
    """The days (of UTC, since 1970) that count for a reward at that time: the last 30 that are over."""
    return range(end_ms // DAY_MS - SPAN_MS // DAY_MS, end_ms // DAY_MS)


def bears_out(measured: int, nominal: int) -> bool:
    """Whether a measured hashrate is the nominal one, give or take a quarter; both in hashes a second."""
    return TOLERANCE * abs(measured - nominal) <= nominal


def hardware_milli(loyalty: Loyalty, model: str, measured: int) -> int:
    """H in thousandths of a worker that attested `model` and was measured at so many hashes a second."""
    known = loyalty.hardware.get(model)
    if known is None or not bears_out(measured, known.hashrate):
        return MILLI
    return min(known.factor_milli, MAX_HARDWARE_MILLI)


def factor(loyalty: Loyalty, standing: Standing, hardware: int) -> int:
    """M in 10^-9, capped; `hardware` in thousandths."""
    uptime = MILLI + (MAX_UPTIME_MILLI - MILLI) * min(standing.hours, loyalty.full_hours) // loyalty.full_hours
    attested = MILLI + (MAX_ATTESTED_MILLI - MILLI) * min(standing.days, loyalty.full_days) // loyalty.full_days
    return min(hardware * uptime * attested, MAX_FACTOR)


def bonuses(
    fee_msat: int,
    loyalty: Loyalty,
    work: Mapping[Worker, int],
    standings: Mapping[str, Standing],
    hardware: Mapping[Worker, int],
) -> dict[str, int]:
    """miner -> bonus in msat, without the miners that get none.

    `fee_msat` is the fee by the terms, floor(gross * fee_ppm / 10^6), so without what rounding leaves; `work` is what
    the statement counts; `hardware` holds H in thousandths where it is not 1. Raises ValueError for a negative amount.
    """
    if fee_msat < 0 or any(part < 0 for part in work.values()):
        raise ValueError("amounts and work are not negative")
    pot = fee_msat * loyalty.part_ppm // PPM
    weights: dict[str, int] = {}
    for worker, part in work.items():
        standing = standings.get(worker.miner, Standing())
        above = factor(loyalty, standing, hardware.get(worker, MILLI)) - ONE
        weights[worker.miner] = weights.get(worker.miner, 0) + part * above
    total = sum(weights.values())
    if not total:
        return {}
    parts = {miner: pot * weight // total for miner, weight in sorted(weights.items())}
    return {miner: msat for miner, msat in parts.items() if msat}
