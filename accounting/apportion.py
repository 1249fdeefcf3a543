"""Splitting a reward by work, in integers (SPEC.md, "4214 reward statement").

Rows + fee = gross, exactly, in each statement by itself: nothing is carried, and splitting a key earns nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from nips.pool.statement import Row
from nips.pool.terms import PPM


@dataclass(frozen=True, slots=True)
class Split:
    """`rows`, sorted by miner, and the pool's part; both in msat."""

    rows: tuple[Row, ...]
    fee_msat: int


def split(gross_msat: int, fee_ppm: int, work: Mapping[str, int]) -> Split:
    """pot = gross - floor(gross * fee_ppm / 10^6), msat_i = floor(pot * work_i / total work), the rest is the fee.

    `work` by miner (hex). Without work the reward is the pool's. Raises ValueError for a negative amount, or a fee
    beyond a million.
    """
    if gross_msat < 0 or not 0 <= fee_ppm <= PPM or any(part < 0 for part in work.values()):
        raise ValueError("amounts and work are not negative, a fee is at most a million ppm")
    pot = gross_msat - gross_msat * fee_ppm // PPM
    total = sum(work.values())
    rows = tuple(Row(miner, part, pot * part // total) for miner, part in sorted(work.items()) if part)
    return Split(rows, gross_msat - sum(row.msat for row in rows))
