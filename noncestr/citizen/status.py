"""The line beside the pool's name (NIP-38): its hashrate, its miners, its blocks."""

from typing import Final

from nips.nip01 import UnsignedEvent
from nips.nip38 import build_status
from noncestr.citizen.facts import PoolNow
from noncestr.citizen.words import counted, hashrate_text

# A status outlives so many turns without a new one, then it vanishes: of a pool that is off nobody reads a hashrate.
TURNS_TO_LIVE: Final = 3


def status_text(pool: PoolNow) -> str:
    """Short enough for a line."""
    if not pool.miners:
        return "no miner is working here now"
    blocks = f" · {counted(pool.blocks_24h, 'block')} in 24 h" if pool.blocks_24h else ""
    return f"⛏️ {hashrate_text(pool.hashrate_5m)} · {counted(pool.miners, 'miner')}{blocks}"


def pool_status(pool: PoolNow, *, now_ms: int, every_s: int, url: str | None) -> UnsignedEvent:
    """The 30315 of now, which the next one replaces `every_s` seconds later."""
    now_s = now_ms // 1000
    return build_status(status_text(pool), created_at=now_s, url=url, expires_at=now_s + TURNS_TO_LIVE * every_s)
