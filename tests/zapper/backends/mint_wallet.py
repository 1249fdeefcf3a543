"""The treasury at a mint (tests/zapper/mints.py) whose payments are a scripted ledger's."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from nips.bolt11 import decode_invoice
from nips.nut00 import Proof
from nips.nut03 import Output
from tests.zapper.backends.rigs import BALANCE_MSAT, RigClock, ScriptedRig
from tests.zapper.backends.scripted_ledger import Entry, ScriptedLedger
from tests.zapper.mints import MemoryMint
from zapper.adapters.mint_backend import MintBackend
from zapper.adapters.proof_store import open_proof_store
from zapper.ecash import MeltQuote, ProofState
from zapper.ports import LightningBackend
from zapper.treasury import Treasury


class LedgerMint(MemoryMint):
    def __init__(self, ledger: ScriptedLedger) -> None:
        super().__init__(lightning_fee=ledger.fee_msat // 1000, pays="pending")
        self._ledger = ledger
        # What each payment under way has taken.
        self._taken: dict[str, tuple[str, tuple[Proof, ...], tuple[Output, ...]]] = {}

    async def ask_melt(self, invoice: str) -> MeltQuote:
        self.amounts[invoice] = -(-(decode_invoice(invoice).amount_msat or 0) // 1000)
        return await super().ask_melt(invoice)

    async def melt(self, quote: str, inputs: Sequence[Proof], outputs: Sequence[Output]) -> MeltQuote:
        await super().melt(quote, inputs, outputs)
        self._taken[quote] = self._waiting
        answer = await self._ledger.pay(self.invoices[quote])
        if answer == "invalid":
            self._waiting = self._taken[quote]
            self.give_up()
        self._catch_up()
        return self.quotes[quote]

    def _catch_up(self) -> None:
        """Payments that have come to an end since."""
        for quote, known in list(self.quotes.items()):
            key = decode_invoice(self.invoices[quote]).payment_hash
            self._waiting = self._taken.get(quote, ("", (), ()))
            match known.state, self._ledger.payments.get(key):
                case "PENDING", Entry(state="paid"):
                    self.preimages[self.invoices[quote]] = self._ledger.preimages[key]
                    self.finish()
                case "PENDING", Entry(state="failed"):
                    self.give_up()

    async def melt_state(self, quote: str) -> MeltQuote:
        self._catch_up()
        return await super().melt_state(quote)

    async def states(self, ys: Sequence[str]) -> Mapping[str, ProofState]:
        self._catch_up()
        return await super().states(ys)


class MintRig(ScriptedRig):
    def __init__(self, folder: Path, ledger: ScriptedLedger, clock: RigClock) -> None:
        super().__init__(ledger, clock)
        self._folder = folder
        self._mint = LedgerMint(ledger)

    @asynccontextmanager
    async def treasury(self) -> AsyncIterator[Treasury]:
        async with open_proof_store(self._folder / "proofs.sqlite") as store:
            yield Treasury(
                self._mint,
                store,
                key=store.key,
                clock=lambda: self.clock() * 1000,
                random=os.urandom,
                one_at_a_time=anyio.Lock(),
            )

    @asynccontextmanager
    async def open(self, *, good: bool = True, impatient: bool = False) -> AsyncIterator[LightningBackend]:
        async with self.treasury() as treasury:
            yield MintBackend(treasury)


@asynccontextmanager
async def mint_rig(folder: Path, ledger: ScriptedLedger, clock: RigClock) -> AsyncIterator[MintRig]:
    rig = MintRig(folder, ledger, clock)
    async with rig.treasury() as treasury:
        await treasury.fund(BALANCE_MSAT // 1000)
        await treasury.recover()
    yield rig
