"""What the read API asks: the books' lists and series, the live numbers, the metrics (`client_web.ports.ReadModel`)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from accounting.paging import Page, Place
from accounting.reads import Reads
from client_web.doors import DoorTally
from noncestr.disk_watch import Disk
from noncestr.edge.orders import LaneReport
from noncestr.web.metrics import Facts, PayoutCount, metrics
from noncestr.web.readmodel import PoolReadModel
from relay_bridge.status import RelayStatus
from stratum_edge.status import EdgeStatus
from zapper.config import ZapperStatus

# Of each list a live reader is told what came since it last looked, which is seconds ago.
MAX_LIVE: Final = 20
_LIVE_POOL: Final = ("hashrate_hs", "miners", "workers", "height", "blocks_found", "effort_ppm", "shares", "rejects")


async def no_treasury() -> dict[str, Any] | None:
    """Of a process that does not ask wallets."""
    return None


def no_disk() -> None:
    """Of a process without a data folder."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The running parts of a pool, each as a question. `payouts`: the zapper's payouts by state; `lanes`: the
    watermarks of all lanes; `reports`: the lanes of this pool's own edge; `advice`: what to tell a miner (hex key) that
    can't be paid (`stratum_edge.ports.Payability`); `alarms`: forks and gaps of chains that the bridge told readers of;
    `treasury`: debts and funds (`accounting.treasury.to_json`); `disk`: the data folder's, None if it can't be read.
    """

    edge: Callable[[], EdgeStatus]
    reports: Callable[[], list[LaneReport]]
    relays: Callable[[], list[RelayStatus]]
    relay_counts: Callable[[], Mapping[str, int]]
    zapper: Callable[[], ZapperStatus]
    payouts: Callable[[], Awaitable[Mapping[str, PayoutCount]]]
    lanes: Callable[[], list[dict[str, Any]]]
    advice: Callable[[str], Awaitable[str | None]]
    now_ms: Callable[[], int]
    alarms: Callable[[], Mapping[str, int]] = dict
    treasury: Callable[[], Awaitable[dict[str, Any] | None]] = no_treasury
    disk: Callable[[], Disk | None] = no_disk


class ReadApi(PoolReadModel):
    """A `client_web.ports.ReadModel`, whole."""

    def __init__(self, reads: Reads, parts: Parts) -> None:
        super().__init__(
            reads,
            parts.edge,
            parts.relays,
            parts.zapper,
            parts.relay_counts,
            parts.advice,
            lanes=parts.lanes,
            alarms=parts.alarms,
            now_ms=parts.now_ms,
        )
        self._reads = reads
        self._parts = parts
        # What the web server counts, for the metrics.
        self.doors = DoorTally()

    async def knows(self, pubkey_hex: str) -> bool:
        """See `ReadModel`."""
        return self._reads.knows(pubkey_hex)

    async def hashrate(self, pubkey_hex: str | None, span: str) -> Sequence[dict[str, Any]]:
        """See `ReadModel`."""
        return await self._reads.hashrates.series(pubkey_hex, span)

    async def miners(self, before: tuple[int, str] | None, limit: int) -> Page[dict[str, Any]]:
        """See `ReadModel`."""
        return await self._reads.miners(_place(before), limit)

    async def workers(self, pubkey_hex: str) -> Sequence[dict[str, Any]]:
        """See `ReadModel`."""
        return self._reads.workers(pubkey_hex) or ()

    async def blocks(self, before: tuple[int, str] | None, limit: int) -> Page[dict[str, Any]]:
        """See `ReadModel`."""
        return self._reads.pages.blocks(_place(before), limit)

    async def rewards(self, pubkey_hex: str | None, before: tuple[int, str] | None, limit: int) -> Page[dict[str, Any]]:
        """See `ReadModel`."""
        pages = self._reads.pages
        if pubkey_hex is None:
            return pages.rewards(_place(before), limit)
        return await pages.rewards_of(pubkey_hex, _place(before), limit)

    async def payouts(self, pubkey_hex: str | None, before: tuple[int, str] | None, limit: int) -> Page[dict[str, Any]]:
        """See `ReadModel`."""
        pages, place = self._reads.pages, _place(before)
        return pages.payouts(place, limit) if pubkey_hex is None else pages.payouts_of(pubkey_hex, place, limit)

    async def statements(self, before: tuple[int, str] | None, limit: int) -> Page[dict[str, Any]]:
        """See `ReadModel`."""
        return self._reads.pages.statements(_place(before), limit)

    async def statement(self, name: str) -> dict[str, Any] | None:
        """See `ReadModel`."""
        return self._reads.pages.statement(name)

    async def terms(self) -> dict[str, Any] | None:
        """See `ReadModel`."""
        return self._reads.terms()

    async def treasury(self) -> dict[str, Any] | None:
        """See `ReadModel`."""
        return await self._parts.treasury()

    async def balances(self) -> Sequence[dict[str, Any]]:
        """See `ReadModel`."""
        return await self._reads.flat.balances()

    def taxes(self, pubkey_hex: str, year: int) -> AsyncIterator[str]:
        """See `ReadModel`."""
        return self._reads.taxes(pubkey_hex, year)

    async def totals(self) -> Sequence[dict[str, Any]]:
        """See `ReadModel`."""
        return await self._reads.flat.totals()

    async def live(self) -> dict[str, Any]:
        """See `ReadModel`."""
        pool, pages = await self._reads.pool(), self._reads.pages
        return {
            "pool": {name: pool[name] for name in _LIVE_POOL},
            "blocks": pages.blocks(None, MAX_LIVE).items,
            "statements": pages.statements(None, MAX_LIVE).items,
            "payouts": pages.payouts(None, MAX_LIVE).items,
        }

    async def metrics(self) -> str:
        """See `ReadModel`."""
        statements, payout_records = self._reads.pages.counts()
        parts = self._parts
        return metrics(
            Facts(
                now_ms=parts.now_ms(),
                pool=await self._reads.pool(),
                health=await self.health(),
                statements=statements,
                payout_records=payout_records,
                lanes=parts.reports(),
                relays=parts.relays(),
                relay_counts=parts.relay_counts(),
                alarms=parts.alarms(),
                zapper=parts.zapper(),
                payouts=await parts.payouts(),
                treasury=await parts.treasury(),
                disk=parts.disk(),
                doors=self.doors,
            )
        )


def _place(before: tuple[int, str] | None) -> Place | None:
    return None if before is None else Place(*before)
