"""Shares with a price of their own: how `pps` and `fpps` pay (SPEC.md, "Splits").

Invariants: a share's value depends on the share and its job alone, never on what others mined, when, or what was found;
gross is the rows' sum, to the msat; a row is rounded down once, so that a miner loses less than one msat a period and
an npub split into two loses at most one more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
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


@lru_cache(maxsize=4096)
def value(work: int, price: Price) -> int:
    """A share's worth in 2^-64 msat: floor(work * base * (10^6 - fee_ppm) * 2^64 / (10^6 * work(nbits))).

    Raises ValueError for negative amounts, or a fee beyond a million ppm.
    """
    if work < 0 or price.base_msat < 0 or not 0 <= price.fee_ppm <= PPM:
        raise ValueError("amounts and work are not negative, a fee is at most a million ppm")
    worth = work * price.base_msat * (PPM - price.fee_ppm) << VALUE_BITS
    return worth // (PPM * work_from_bits(price.nbits))


def rows_of(work: Mapping[str, int], values: Mapping[str, int]) -> tuple[Row, ...]:
    """The rows of miners with work, sorted by miner: floor(sum of values / 2^64) each, be it 0 msat."""
    return tuple(Row(miner, part, values.get(miner, 0) >> VALUE_BITS) for miner, part in sorted(work.items()) if part)


def settle(lots: Iterable[Lot]) -> Period:
    """The period's rows: floor(sum of values / 2^64) each. A miner with work has a row, be it of 0 msat."""
    values: dict[str, int] = {}
    works: dict[str, int] = {}
    for lot in lots:
        values[lot.miner] = values.get(lot.miner, 0) + value(lot.work, lot.price) * lot.shares
        works[lot.miner] = works.get(lot.miner, 0) + lot.work * lot.shares
    rows = rows_of(works, values)
    return Period(rows, sum(row.msat for row in rows))
