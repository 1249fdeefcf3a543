"""The addressable events: conveniences that repeat what the log says (SPEC.md, "Views"). Never evidence.

34210 announcement, d = network; 34214 balance, d = miner; 34215 statistics, d = "pool", a miner, or "miner/worker".
Hashrates are decimal strings of hashes per second, since a large pool's pass 2^53.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.chain import Head
from nips.pool.content import decode_content, encode_content, parse_id, read_int, read_list, require_kind
from nips.pool.kinds import ANNOUNCEMENT, BALANCE, STATISTICS


def build_announcement(
    pool: PoolAddress,
    *,
    name: str,
    terms: str,
    stratum: tuple[str, ...],
    relays: tuple[str, ...],
    web: str,
    created_at: int,
) -> UnsignedEvent:
    """34210, signed by the pool: where to mine, where to read, and the terms in force (the 4210's id)."""
    tags = (
        ("d", pool.network),
        pool.tag(),
        ("e", terms, "", "terms"),
        *(("relay", relay) for relay in relays),
        ("alt", f"Mining pool {name} on {pool.network}"),
    )
    fields = {
        "name": name,
        "network": pool.network,
        "terms": terms,
        "stratum": list(stratum),
        "relays": list(relays),
        "web": web,
    }
    return UnsignedEvent(ANNOUNCEMENT, created_at, tags, encode_content(fields))


@dataclass(frozen=True, slots=True)
class Balance:
    """What the ledger says of a miner, in msat, as of the accounting chain's head `as_of`.

    `pending`: in statements that have not matured. `earned`: matured, ever. `paid`: by payout records, ever.
    `owed` = earned - paid.
    """

    miner: str
    pending_msat: int
    earned_msat: int
    paid_msat: int
    as_of: Head | None

    @property
    def owed_msat(self) -> int:
        """Matured and not yet paid."""
        return self.earned_msat - self.paid_msat


def build_balance(
    pool: PoolAddress, balance: Balance, created_at: int, settings: tuple[str, int] | None = None
) -> UnsignedEvent:
    """34214, signed by the accounting. `settings`: the miner's in force (34216), by id, and since when (Unix ms)
    payouts newly created go where they say.
    """
    tags = (("d", balance.miner), pool.tag(), ("p", balance.miner), ("alt", "Balance of a miner at a mining pool"))
    fields: dict[str, Any] = {
        "miner": balance.miner,
        "pending_msat": balance.pending_msat,
        "earned_msat": balance.earned_msat,
        "paid_msat": balance.paid_msat,
        "owed_msat": balance.owed_msat,
        "as_of": [] if balance.as_of is None else [balance.as_of.seq, balance.as_of.id],
    }
    if settings is not None:
        fields["settings"], fields["destination_ms"] = settings
    return UnsignedEvent(BALANCE, created_at, tags, encode_content(fields))


def parse_balance(event: VerifiedEvent) -> tuple[PoolAddress, Balance]:
    """Raises InvalidPoolEvent."""
    require_kind(event, BALANCE)
    fields = decode_content(event.content)
    as_of = read_list(fields, "as_of")
    if len(as_of) not in (0, 2):
        raise InvalidPoolEvent("as_of must be [seq, id], or [] before the chain has begun")
    head = Head(read_int({"as_of": as_of[0]}, "as_of"), parse_id(as_of[1], "as_of")) if as_of else None
    return address_of(event), Balance(
        miner=parse_id(fields.get("miner"), "miner"),
        pending_msat=read_int(fields, "pending_msat"),
        earned_msat=read_int(fields, "earned_msat"),
        paid_msat=read_int(fields, "paid_msat"),
        as_of=head,
    )


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """34215 with d = "pool": hashes per second over a span ("5m", "1h"), and counts since the log began."""

    ms: int
    hashrate: Mapping[str, int]
    miners: int
    workers: int
    shares: int
    rejects: int
    blocks: int
    height: int


def build_pool_statistics(pool: PoolAddress, stats: PoolStatistics, created_at: int) -> UnsignedEvent:
    """34215 of the pool, signed by the accounting; miners and workers are those of the last 10 minutes."""
    tags = (("d", "pool"), pool.tag(), ("alt", "Statistics of a mining pool"))
    fields = {
        "ms": stats.ms,
        "hashrate": {span: str(rate) for span, rate in stats.hashrate.items()},
        "miners": stats.miners,
        "workers": stats.workers,
        "shares": stats.shares,
        "rejects": stats.rejects,
        "blocks": stats.blocks,
        "height": stats.height,
    }
    return UnsignedEvent(STATISTICS, created_at, tags, encode_content(fields))


@dataclass(frozen=True, slots=True)
class MinerStatistics:
    """34215 with d = a miner: as the pool's, and hashes per second of each worker over 5 minutes; `aliases`: what the
    miner calls some of them.
    """

    miner: str
    ms: int
    hashrate: Mapping[str, int]
    workers: Mapping[str, int]
    shares: int
    rejects: int
    work: int
    last_share_ms: int
    aliases: Mapping[str, str] = field(default_factory=dict)


def build_miner_statistics(pool: PoolAddress, stats: MinerStatistics, created_at: int) -> UnsignedEvent:
    """34215 of a miner, signed by the accounting."""
    tags = (("d", stats.miner), pool.tag(), ("p", stats.miner), ("alt", "Statistics of a miner at a mining pool"))
    fields: dict[str, Any] = {
        "miner": stats.miner,
        "ms": stats.ms,
        "hashrate": {span: str(rate) for span, rate in stats.hashrate.items()},
        "workers": {name: str(rate) for name, rate in sorted(stats.workers.items())},
        "shares": stats.shares,
        "rejects": stats.rejects,
        "work": str(stats.work),
        "last_share_ms": stats.last_share_ms,
    }
    if stats.aliases:
        fields["aliases"] = dict(sorted(stats.aliases.items()))
    return UnsignedEvent(STATISTICS, created_at, tags, encode_content(fields))
