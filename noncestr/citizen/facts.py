"""What the pool tells of itself: facts as its books have them. Money in msat, times in Unix ms, keys in hex."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from nips.pool.hashing import from_display, hash_value
from nips.pool.targets import work_from_target


def day_name(start_ms: int) -> str:
    """The date of the day (UTC) that a time lies in: YYYY-MM-DD."""
    return datetime.fromtimestamp(start_ms / 1000, UTC).strftime("%Y-%m-%d")


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """A proven block. `event` is its 4213, `block` its hash as RPC names it, `target` what the hash had to meet."""

    event: str
    block: str
    height: int
    finder: str
    found_ms: int
    gross_msat: int
    target: int

    @property
    def value(self) -> int:
        """The hash as a number."""
        return hash_value(from_display(self.block))

    @property
    def expected(self) -> int:
        """The hashes one expects for it."""
        return work_from_target(self.target)


@dataclass(frozen=True, slots=True)
class PoolNow:
    """The pool now: hashes a second over five minutes and an hour, miners of the last ten minutes, blocks of a day."""

    hashrate_5m: int
    hashrate_1h: int
    miners: int
    blocks_24h: int


@dataclass(frozen=True, slots=True)
class MinerNow:
    """A miner now; `unpaid_because`: why its balance is not paid yet, "" when nothing is in the way."""

    hashrate_5m: int
    hashrate_1h: int
    last_share_ms: int
    pending_msat: int
    owed_msat: int
    paid_msat: int
    unpaid_because: str = ""


@dataclass(frozen=True, slots=True)
class BestShare:
    """The hardest share of a time: the target its hash meets, and whose it is."""

    target: int
    miner: str


@dataclass(frozen=True, slots=True)
class DayFacts:
    """A day in UTC. `date` as YYYY-MM-DD, `end_ms` its last midnight; `work` in hashes, over `mined_ms` of the day."""

    date: str
    end_ms: int
    blocks: tuple[BlockFacts, ...]
    work: int
    mined_ms: int
    miners: int
    best: BestShare | None
    paid_msat: int
    payees: int

    @property
    def hashrate(self) -> int:
        """Hashes a second on average."""
        return self.work * 1000 // max(self.mined_ms, 1000)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.blocks or self.work or self.payees)


class Books(Protocol):
    """What the citizen reads; the accounting stands behind it."""

    def synced(self) -> bool:
        """Whether all that the relays had at start is in the books."""

    def work(self) -> int:
        """All credited work that the books have counted."""

    def blocks(self, since_ms: int) -> Sequence[BlockFacts]:
        """Proven blocks found since then, oldest first."""

    async def in_chain(self, block: str) -> bool:
        """Whether the chain has this block."""

    def pool(self, now_ms: int) -> PoolNow:
        """The pool as a whole."""

    def miner(self, pubkey: str, now_ms: int) -> MinerNow | None:
        """One miner; None for a key the pool has never heard of."""

    async def day(self, start_ms: int) -> DayFacts | None:
        """The day that began at this midnight; None as long as the log does not have all of it."""
