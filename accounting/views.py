"""Which balances (34214) and statistics (34215) are due: on change, and for each miner at most once an interval."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol

from accounting.fold import Fold
from accounting.settings_book import MinersSettings, NoSettings, shown_worker
from nips.nip01 import UnsignedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import Head
from nips.pool.kinds import BALANCE, STATISTICS
from nips.pool.views import MinerStatistics, build_balance, build_miner_statistics, build_pool_statistics

# Signing takes a tenth of a millisecond or so: this many at once don't hold the loop, the rest goes with the next tick.
MAX_AT_ONCE = 100


# The more miners are busy, the rarer each one is told of, up to this: so that a pool of 10,000 publishes as many events
# a second (67) as one of 500.
SLOWEST_MS = 300_000
MS_A_MINER = 30


def interval_ms(fastest_ms: int, miners: int) -> int:
    """How often a miner is told of at most, when so many are busy."""
    return max(fastest_ms, min(SLOWEST_MS, MS_A_MINER * miners))


class Said(Protocol):
    """What was published last at an address: when (Unix seconds), and what it said as far as it matters."""

    @property
    def created_at(self) -> int:
        """Unix seconds."""

    @property
    def content(self) -> str:
        """What it said."""


class View(NamedTuple):
    """A view to sign and publish: `address` is `kind:d`, `says` what of it must change for it to be due again."""

    address: str
    created_at: int
    says: str
    unsigned: UnsignedEvent


class Views:
    """Keeps what was said when. Times are Unix ms."""

    def __init__(
        self, pool: PoolAddress, balance_ms: int, statistics_ms: int, settings: MinersSettings | None = None
    ) -> None:
        """`settings`: what miners ask for, nothing when not given."""
        self._settings: MinersSettings = NoSettings() if settings is None else settings
        # Of two events at one address and second the lower id wins (NIP-01): so never two within one second.
        self._balance_ms = max(balance_ms, 1000)
        self._statistics_ms = max(statistics_ms, 1000)
        self._pool = pool
        self._said: dict[str, tuple[int, str]] = {}
        self._balances: dict[str, None] = {}
        # Miners whose rates may still move: since their last share, until a rate of 0 was said.
        self._lively: dict[str, None] = {}

    def known(self, views: Mapping[str, Said]) -> None:
        """What was published before a restart."""
        for address, view in views.items():
            self._said[address] = (view.created_at, view.content)

    def touched(self, balances: Iterable[str], statistics: Iterable[str]) -> None:
        """These miners' books or shares changed."""
        self._balances.update(dict.fromkeys(sorted(balances)))
        self._lively.update(dict.fromkeys(sorted(statistics)))

    def due(self, fold: Fold, now_ms: int, *, head: Head | None, height: int) -> list[View]:
        """What is to be published now; it counts as said."""
        views: list[View] = []
        self._add_pool(views, fold, now_ms, height)
        for miner in list(self._balances):
            if len(views) >= MAX_AT_ONCE:
                break
            self._add_balance(views, fold, now_ms, miner, head)
        for miner in list(self._lively):
            if len(views) >= MAX_AT_ONCE:
                break
            self._add_miner(views, fold, now_ms, miner)
        return views

    def _is_due(self, address: str, every_ms: int, now_ms: int) -> bool:
        said = self._said.get(address)
        return said is None or now_ms >= said[0] * 1000 + every_ms

    def _say(self, views: list[View], address: str, says: str, unsigned: UnsignedEvent) -> None:
        said = self._said.get(address)
        if said is None or said[1] != says:
            self._said[address] = (unsigned.created_at, says)
            views.append(View(address, unsigned.created_at, says, unsigned))

    def _add_pool(self, views: list[View], fold: Fold, now_ms: int, height: int) -> None:
        address = f"{STATISTICS}:pool"
        if self._is_due(address, self._statistics_ms, now_ms):
            stats = fold.statistics.pool_statistics(now_ms, blocks=len(fold.blocks), height=height)
            says = f"{sorted(stats.hashrate.items())} {stats.shares} {stats.rejects} {stats.blocks} {stats.height}"
            self._say(views, address, says, build_pool_statistics(self._pool, stats, now_ms // 1000))

    def _add_balance(self, views: list[View], fold: Fold, now_ms: int, miner: str, head: Head | None) -> None:
        address = f"{BALANCE}:{miner}"
        if self._is_due(address, interval_ms(self._balance_ms, len(self._lively)), now_ms):
            del self._balances[miner]
            balance = fold.ledger.balance(miner, head)
            known = self._settings.of(miner)
            settings = None if known is None else (known.settings.id, known.destination_ms)
            says = f"{balance.pending_msat} {balance.earned_msat} {balance.paid_msat}"
            says = says if settings is None else f"{says} {settings[0]}"
            self._say(views, address, says, build_balance(self._pool, balance, now_ms // 1000, settings))

    def _add_miner(self, views: list[View], fold: Fold, now_ms: int, miner: str) -> None:
        address = f"{STATISTICS}:{miner}"
        if not self._is_due(address, interval_ms(self._statistics_ms, len(self._lively)), now_ms):
            return
        stats = fold.statistics.miner_statistics(miner, now_ms)
        if stats is None or not any(stats.hashrate.values()):
            del self._lively[miner]
        if stats is not None:
            stats = _shown(stats, self._settings)
            workers = f"{sorted(stats.workers.items())} {sorted(stats.aliases.items())}"
            says = f"{sorted(stats.hashrate.items())} {workers} {stats.shares} {stats.rejects}"
            self._say(views, address, says, build_miner_statistics(self._pool, stats, now_ms // 1000))


def _shown(stats: MinerStatistics, settings: MinersSettings) -> MinerStatistics:
    """With workers named as their owner wants them to be."""
    known = settings.of(stats.miner)
    if known is None:
        return stats
    workers: dict[str, int] = {}
    aliases: dict[str, str] = {}
    for name, rate in stats.workers.items():
        shown = shown_worker(known, stats.miner, name)
        workers[shown.name] = workers.get(shown.name, 0) + rate
        if shown.alias:
            aliases[shown.name] = shown.alias
    return replace(stats, workers=workers, aliases=aliases)
