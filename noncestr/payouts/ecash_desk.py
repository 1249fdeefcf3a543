"""What an operator asks of a payout of ecash whose outcome is unknown, by the mint that was to sign it."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from noncestr.errors import NoncestrError
from noncestr.payouts.ecash import FILE, Ecash
from zapper.adapters.cashu_mint import open_mint
from zapper.adapters.proof_store import open_proof_store
from zapper.ecash import decode_locked
from zapper.giving_up import ask_mint, give_up
from zapper.payout import Intent
from zapper.treasury import Treasury


@dataclass(frozen=True, slots=True)
class EcashDesk:
    """`data`: the pool's folder; `ecash`: of the pool that runs on it, None when none does."""

    data: Path
    now_ms: Callable[[], int]
    ecash: Ecash | None = None

    async def ask(self, intent: Intent, give_up_because: str) -> list[str]:
        """What the mint says, in lines; with a reason, nobody gets this payout's ecash any more when it returns.

        Raises ZapperError where that cannot be, NoncestrError without a treasury.
        """
        async with self._treasury(decode_locked(intent.payload or "").mint) as treasury:
            if not give_up_because:
                return (await ask_mint(treasury, intent)).lines()
            return (await give_up(treasury, intent, give_up_because, now_s=self.now_ms() // 1000)).lines()

    @asynccontextmanager
    async def _treasury(self, url: str) -> AsyncIterator[Treasury]:
        """The treasury at this mint, also when the pool uses the mint no more."""
        for treasury in self.ecash.treasuries if self.ecash is not None else ():
            if treasury.url == url:
                yield treasury
                return
        async with AsyncExitStack() as stack:
            store = self.ecash.store if self.ecash is not None else None
            if store is None:
                if not (self.data / FILE).exists():
                    raise NoncestrError(f"{FILE} is missing: it alone tells whether this ecash was handed over")
                store = await stack.enter_async_context(open_proof_store(self.data / FILE))
            mint = await stack.enter_async_context(open_mint(url))
            yield Treasury(mint, store, key=store.key, clock=self.now_ms, random=os.urandom, one_at_a_time=anyio.Lock())
