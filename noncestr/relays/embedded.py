"""The embedded relay of a pool: its store in the data folder, its rules, its information document."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from nips.nip11 import RelayInformation
from nips.pool.address import PoolAddress
from noncestr import __version__
from noncestr.addresses import Bound
from noncestr.config.sections import Config
from noncestr.running import running
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import PoolPolicy


@dataclass(frozen=True, slots=True)
class EmbeddedRelay:
    """`store`: its events; what other relays lost is filled from it. `counts`: what happened, as it counts."""

    store: SqliteEventStore
    counts: Mapping[str, int]


async def start_relay(
    stack: AsyncExitStack,
    config: Config,
    data: Path,
    place: Bound | None,
    pool: PoolAddress,
    speakers: Callable[[], frozenset[str]],
) -> EmbeddedRelay | None:
    """Serve at `place`, None for nowhere, until the stack closes. `speakers`: whose events are the pool's."""
    if place is None:
        return None
    store = await stack.enter_async_context(SqliteEventStore(data / "relay.sqlite"))
    server = RelayServer(
        place.host,
        place.port,
        store,
        PoolPolicy(pool.pubkey, pool.network, speakers, store.is_known, mentions=config.social.replies),
        RelayInformation(
            name=f"{config.pool.name} relay",
            description="The log of a mining pool: jobs, share receipts, statements, payouts.",
            pubkey=pool.pubkey,
            software="noncestr",
            version=__version__,
        ),
        listener=place.take(),
    )
    await stack.enter_async_context(running(server.run))
    return EmbeddedRelay(store, server.stats)
