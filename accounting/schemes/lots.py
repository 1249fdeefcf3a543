"""Shares with a price of their own: how `pps` and `fpps` pay (SPEC.md, "Splits").

Invariants: a share's value depends on the share and its job alone, never on what others mined, when, or what was found;
gross is the rows' sum, to the msat; a row is rounded down once, so that a miner loses less than one msat a period and
an npub split into two loses at most one more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from nips.pool.statement import Row
from nips.pool.targets import work_from_bits
from nips.pool.terms import PPM

# Values are summed in units of 2^-64 msat: a share of the least work at the network's greatest is still worth some.
VALUE_BITS = 64


class Price(NamedTuple):
    """What a job's work is worth: `base_msat` for a block's whole work at `nbits`, less `fee_ppm` (its terms')."""

    base_msat: int
    nbits: int
    fee_ppm: int


class Lot(NamedTuple):
    """So many shares (`shares`) of one miner and one price, each of `work`."""

    miner: str
    work: int
    price: Price
    shares: int = 1


@dataclass(frozen=True, slots=True)
class Period:
    """A period's split: rows sorted by miner, and their sum. `work`: all that was counted."""

    rows: tuple[Row, ...]
    gross_msat: int

    @property
    def work(self) -> int:
        """The sum of the rows' work."""
        return sum(row.work for row in self.rows)


def value(work: int, price: Price) -> int:
    """A share's worth in 2^-64 msat: floor(work * base * (10^6 - fee_ppm) * 2^64 / (10^6 * work(nbits))).

    Raises ValueError for negative amounts, or a fee beyond a million ppm.
    """
    if work < 0 or price.base_msat < 0 or not 0 <= price.fee_ppm <= PPM:
        raise ValueError("amounts and work are not negative, a fee is at most a million ppm")
    worth = work * price.base_msat * (PPM - price.fee_ppm) << VALUE_BITS
    return worth // (PPM * work_from_bits(price.nbits))


def settle(lots: Iterable[Lot]) -> Period:
    """The period's rows: floor(sum of values / 2^64) each. A miner with work has a row, be it of 0 msat."""
    known: dict[tuple[int, Price], int] = {}
    values: dict[str, int] = {}
    works: dict[str, int] = {}
    for lot in lots:
        key = (lot.work, lot.price)
        worth = known.get(key)
        if worth is None:
            worth = known[key] = value(lot.work, lot.price)
        values[lot.miner] = values.get(lot.miner, 0) + worth * lot.shares
        works[lot.miner] = works.get(lot.miner, 0) + lot.work * lot.shares
    rows = tuple(Row(miner, work, values[miner] >> VALUE_BITS) for miner, work in sorted(works.items()) if work)
    return Period(rows, sum(row.msat for row in rows))
