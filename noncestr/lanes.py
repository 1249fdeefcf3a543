"""After a lost journal: which lanes the edge has used, so that it opens a new one and the terms close the old.

Going on in a lane without its journal would fork it: two batches with one number. And a lane that is neither continued
nor closed would hold up every statement, which wait for all open lanes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nips.errors import InvalidPoolEvent
from nips.nip01 import Filter, VerifiedEvent, make_filter
from nips.pool.address import PoolAddress
from nips.pool.chain import Head
from nips.pool.kinds import RECEIPT
from nips.pool.receipt import parse_receipt


class Feed(Protocol):
    """The relay bridge, as far as this goes."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """Stored events of the relays."""


@dataclass(frozen=True, slots=True)
class LanePlan:
    """`lane`: the number for a journal that is new. `closed`: `<edge>/<lane>` -> last batch, of lanes given up."""

    lane: int
    closed: Mapping[str, Head]


def has_journal(journal_dir: Path) -> bool:
    """Whether an edge has left a journal there."""
    return any(journal_dir.glob("*.journal"))


async def plan_lane(feed: Feed, edge: str, pool: PoolAddress, journal_dir: Path) -> LanePlan:
    """Ask the relays for the edge's lanes, if its journal is not there; with a journal there is nothing to plan."""
    if has_journal(journal_dir):
        return LanePlan(0, {})
    wanted = make_filter(kinds=[RECEIPT], authors=[edge], tags={"a": [str(pool)]})
    heads: dict[int, Head] = {}
    finished: set[int] = set()
    for event in await feed.fetch([wanted]):
        try:
            receipt = parse_receipt(event)
        except InvalidPoolEvent:
            continue
        known = heads.get(receipt.lane)
        if known is None or receipt.link.seq > known.seq:
            heads[receipt.lane] = Head(receipt.link.seq, receipt.id)
        if receipt.fin:
            finished.add(receipt.lane)
    closed = {f"{edge}/{lane}": head for lane, head in heads.items() if lane not in finished}
    return LanePlan(max(heads, default=-1) + 1, closed)
