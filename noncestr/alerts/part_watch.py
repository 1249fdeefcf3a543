"""The watch over a part of a pool that runs by itself: what no other host sees. The rest the accounting's host tells.

Each part tells of its own disk and of the relays as it reaches them; the zapper of payouts, the pool's process of
silent lanes, an edge of its node and its lanes. Books, treasury and the chains of the log are the accounting's to tell.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from noncestr.alerts.parts import make_watch
from noncestr.clock import WallClock
from noncestr.config.sections import Config
from noncestr.relays.health import relay_health
from noncestr.running import looping
from relay_bridge.service import RelayBridge
from relay_bridge.status import RelayStatus
from stratum_edge.status import EdgeStatus
from zapper.config import ZapperStatus


class PartModel:
    """`alert_watch.Model` of one part. `edge`: None where none runs; `now_ms`: Unix ms."""

    def __init__(
        self,
        relays: Callable[[], list[RelayStatus]],
        now_ms: Callable[[], int],
        *,
        zapper: Callable[[], ZapperStatus] = ZapperStatus,
        edge: Callable[[], EdgeStatus] | None = None,
        lanes: Callable[[], list[dict[str, Any]]] = list,
    ) -> None:
        self._relays = relays
        self._now_ms = now_ms
        self._zapper = zapper
        self._edge = edge
        self._lanes = lanes

    async def pool(self) -> dict[str, Any]:
        """The lanes; of the rest a part by itself tells nothing."""
        return {"lanes": self._lanes()}

    async def treasury(self) -> dict[str, Any] | None:
        """Nothing: the accounting tells of it."""
        return None

    async def health(self) -> dict[str, Any]:
        """As `readmodel.PoolReadModel.health`, as far as `alerts.conditions` reads it."""
        zapper = self._zapper()
        return {
            "parts": {
                "accounting": {"ok": True},
                "edge": {"stalled": self._edge is not None and self._edge().stalled},
                "relays": relay_health(self._relays(), {}, self._now_ms()),
                "zapper": {"blocked": zapper.blocked, "alerts": list(zapper.alerts)},
            }
        }


async def watch_part(
    stack: AsyncExitStack,
    part: str,
    config: Config,
    data: Path,
    bridge: RelayBridge,
    clock: WallClock,
    *,
    zapper: Callable[[], ZapperStatus] = ZapperStatus,
    edge: Callable[[], EdgeStatus] | None = None,
    lanes: Callable[[], list[dict[str, Any]]] = list,
) -> None:
    """Watch until the stack closes, by the part's own [alerts]. Raises NoncestrError for a bad file of services."""
    watch = make_watch(
        config,
        data,
        model=PartModel(bridge.status, clock.now_ms, zapper=zapper, edge=edge, lanes=lanes),
        edge=edge,
        zapper=zapper,
        # Where no zapper runs there is none.
        payouts=data / "payouts.sqlite",
        clock=clock,
        part=part,
    )
    await stack.enter_async_context(looping(watch.run))
