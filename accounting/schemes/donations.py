"""Donations: a part of a miner's row moved to the row of the terms' `donate_to`, as that miner's settings ask.

Invariants: the rows' sum stays what it was, to the msat; no row but the donors' gets less and none but the receiver's
more; nobody gives more than the row; who has set no donation gives nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from nips.pool.statement import Donation, Row
from nips.pool.terms import PPM


class Pledge(NamedTuple):
    """What a miner's settings say: `settings` is the event's id (34216), `ppm` the part of each row, in millionths."""

    settings: str
    ppm: int


@dataclass(frozen=True, slots=True)
class Donated:
    """The rows after donations, sorted by miner, and what was moved."""

    rows: tuple[Row, ...]
    donations: tuple[Donation, ...]


def donate(rows: Iterable[Row], pledges: Mapping[str, Pledge], receiver: str) -> Donated:
    """Move floor(msat * ppm / 10^6) of each donor's row to the receiver's, which is made (of no work) if it has none.

    `receiver` is the terms' donate_to, "" if they name none: then nothing moves. Raises ValueError for a pledge beyond
    the row.
    """
    if any(not 0 <= pledge.ppm <= PPM for pledge in pledges.values()):
        raise ValueError("a donation is at most a million ppm")
    by_miner = {row.miner: row for row in rows}
    moved = {}
    for miner, row in by_miner.items():
        pledge = pledges.get(miner)
        part = 0 if pledge is None or not receiver or miner == receiver else row.msat * pledge.ppm // PPM
        if part:
            moved[miner] = part
            by_miner[miner] = replace(row, msat=row.msat - part)
    if moved:
        own = by_miner.get(receiver, Row(receiver, 0, 0))
        by_miner[receiver] = replace(own, msat=own.msat + sum(moved.values()))
    after = tuple(by_miner[miner] for miner in sorted(by_miner))
    donations = tuple(
        Donation(index, pledges[row.miner].settings, moved[row.miner])
        for index, row in enumerate(after)
        if row.miner in moved
    )
    return Donated(after, donations)
