"""Flat lists of everybody, for other programs: what is owed, what was earned. Money in integer msat."""

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any

from accounting.service import Accounting
from nips.nip19 import encode_npub

# Flat lists end after so many miners, those with the most first: some 3 MB of JSON.
MAX_FLAT = 20_000
# Writing an npub takes 0.1 ms: so many rows are made before others have their turn.
ROWS_AT_ONCE = 100
# npubs remembered, for as many rows and as many again; some 300 bytes each.
MAX_NPUBS = 40_000

npub_of = lru_cache(MAX_NPUBS)(encode_npub)


class FlatLists:
    """The lists of a running Accounting."""

    def __init__(self, accounting: Accounting, pause: Callable[[], Awaitable[object]]) -> None:
        """`pause`: gives others their turn amid a long answer."""
        self._accounting = accounting
        self._pause = pause

    async def balances(self) -> list[dict[str, Any]]:
        """What is owed and pending, the largest first; miners with nothing are left out."""
        rows = []
        for name in self._accounting.fold.ledger.miners():
            balance = self._accounting.balance(name)
            if balance.owed_msat or balance.pending_msat:
                rows.append((balance.owed_msat, balance.pending_msat, name))
        return await self._flat(rows, "owed_msat", "pending_msat")

    async def totals(self) -> list[dict[str, Any]]:
        """What matured for each miner, ever, and what was paid, the most first."""
        balances = [self._accounting.balance(name) for name in self._accounting.fold.ledger.miners()]
        rows = [(each.earned_msat, each.paid_msat, each.miner) for each in balances]
        return await self._flat(rows, "earned_msat", "paid_msat")

    async def _flat(self, rows: Sequence[tuple[int, int, str]], first: str, second: str) -> list[dict[str, Any]]:
        flat: list[dict[str, Any]] = []
        for one, two, name in sorted(rows, reverse=True)[:MAX_FLAT]:
            if len(flat) % ROWS_AT_ONCE == 0:
                await self._pause()
            flat.append({"pubkey": name, "npub": npub_of(name), first: one, second: two})
        return flat
