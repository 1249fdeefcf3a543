"""The bridge between one process of a pool and the relays that carry its log."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from nips.keys import Signer
from nips.pool.address import PoolAddress
from noncestr.books.archived import Archived, kept
from noncestr.config.sections import RelayConfig
from noncestr.standing import chains_of
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.limits import FOREVER_S
from relay_bridge.roles import Role
from relay_bridge.service import RelayBridge

# How long the last events may take to reach the relays when a process stops.
FLUSH_S: Final = 5.0


def log_bridge(
    config: RelayConfig,
    data: Path,
    relays: tuple[str, ...],
    *,
    pool: PoolAddress,
    signer: Signer | None,
    speakers: Callable[[], frozenset[str]],
    own: Collection[str],
    archived: Archived,
    store: SqliteEventStore | None = None,
) -> RelayBridge:
    """`signer`: who says who we are to a relay that asks. `speakers`: whose events are the pool's. `own`: whose every
    relay is to have. `store`: the embedded relay's, the first of `relays`, from which others are filled.
    """
    return RelayBridge(
        relays,
        outbox_path=data / "outbox.sqlite",
        quorum=config.quorum,
        social=config.social,
        social_quorum=config.social_quorum,
        signer=signer,
        # The terms promise the log for good.
        retention_s=FOREVER_S,
        chain_of=chains_of(pool, speakers),
        keep=kept(own, archived.periods) if own else (),
        source=None if store is None else (relays[0], store),
    )


def reaches_log(bridge: RelayBridge) -> bool:
    """Whether a relay of the log is in reach."""
    return any(relay.connected for relay in bridge.status() if Role.LOG in relay.roles)


async def flush(bridge: RelayBridge, say: Callable[[str], None]) -> None:
    """Wait a moment for the relays to take what is on its way to them; say so when they have not."""
    if not await bridge.flush(FLUSH_S):
        say("some events have not reached their relays yet: they are kept and sent at the next start")
