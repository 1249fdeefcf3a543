"""Operations at a mint and their ends, each written down before the mint is asked and brought to a sure end.

An operation ends in one of three ways. Done: the mint's signatures on its outputs are here (asked again it gives
them again, NUT-09). Void: its inputs were swapped into outputs of our own, after which it can never happen any more.
Or they were spent by somebody who has a copy of our store. Until then it is begun, and asking the same again is
harmless: the same inputs for the same outputs are one payment, however often the mint is asked.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from nips.keys import SecretKey
from nips.nut00 import Proof, proof_y, total
from nips.nut02 import input_fee
from nips.nut03 import InvalidSignature, Output, Signed, unblind
from zapper.ecash import (
    Kind,
    Operation,
    OpState,
    ProofState,
    change_outputs,
)
from zapper.ecash_ports import Mint, ProofStore
from zapper.errors import MintFailed, MintRefused

log = logging.getLogger("zapper")


class Swaps:
    """What the treasury's dealings have in common: inputs swapped for outputs, or swapped back.

    `key` signs refunds and mint quotes; `random(n)` gives n bytes nobody knows; `one_at_a_time`: an async lock, so
    that one operation's change is there before the next one chooses.
    """

    def __init__(
        self,
        mint: Mint,
        store: ProofStore,
        *,
        key: SecretKey,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        one_at_a_time: AbstractAsyncContextManager[object],
    ) -> None:
        self.mint = mint
        self.store = store
        self._key = key
        self._clock = clock
        self._random = random
        self._lock = one_at_a_time

    @property
    def url(self) -> str:
        """The mint's address in its normal form."""
        return self.mint.url

    @property
    def refund_key(self) -> str:
        """The key (33 bytes in hex) that may take locked ecash back after its locktime."""
        return "02" + self._key.pubkey

    async def _swap(self, operation: Operation) -> Operation:
        try:
            signed = await self.mint.swap(operation.inputs, operation.outputs)
        except MintRefused as error:
            log.info("the mint does not swap: %s", error)
            return await self._conclude_swap(operation)
        return await self._done(operation, operation.outputs, signed)

    async def _conclude_swap(self, operation: Operation) -> Operation:
        ended = await self._ended(operation)
        if ended is not None:
            return ended
        given_up = await self.store.abandoned(operation.reference)
        if operation.cancel or given_up is not None:
            return await self._cancel(operation, given_up or "the mint did not swap")
        try:
            signed = await self.mint.swap(operation.inputs, operation.outputs)
        except MintRefused as error:
            return await self._cancel(operation, str(error))
        return await self._done(operation, operation.outputs, signed)

    async def _ended(self, operation: Operation) -> Operation | None:
        """The end the operation has had at the mint; None if it has had none."""
        if operation.kind is not Kind.MELT:
            signed = await self.mint.restore(operation.outputs)
            if any(signed):
                return await self._done(operation, operation.outputs, signed)
        if operation.cancel:
            signed = await self.mint.restore(operation.cancel)
            if any(signed):
                return await self._cancelled(operation, signed, "cancelled")
        return None

    async def _done(
        self, operation: Operation, outputs: Sequence[Output], signed: Sequence[Signed | None]
    ) -> Operation:
        proofs = await self.proofs(outputs, signed)
        fee = total(operation.inputs) - total(proofs) if operation.inputs else 0
        own, sent = proofs[operation.sent :], proofs[: operation.sent]
        return await self.store.finish(operation.reference, own, sent, fee=fee)

    async def _cancel(self, operation: Operation, reason: str) -> Operation:
        """Make sure that the operation never happens: swap its inputs into outputs of our own.

        Raises MintError when the mint takes neither the one nor the other: the operation stays begun.
        """
        if not operation.cancel:
            keysets = await self.mint.keysets(fresh=True)
            rest = total(operation.inputs) - input_fee(operation.inputs, keysets)
            outputs = await self._change(rest)
            await self.store.set_cancel(operation.reference, outputs)
            operation = replace(operation, cancel=outputs)
        try:
            signed: Sequence[Signed | None] = await self.mint.swap(operation.inputs, operation.cancel)
        except MintRefused:
            ended = await self._ended(operation)
            if ended is not None:
                return ended
            return await self._lost(operation, reason)
        return await self._cancelled(operation, signed, reason)

    async def _cancelled(self, operation: Operation, signed: Sequence[Signed | None], reason: str) -> Operation:
        proofs = await self.proofs(operation.cancel, signed)
        if operation.kind is Kind.RECLAIM:
            # Taken back is taken back, by whichever outputs.
            fee = total(operation.inputs) - total(proofs)
            return await self.store.finish(operation.reference, proofs, fee=fee)
        return await self.store.void(operation.reference, reason, back=proofs)

    async def _lost(self, operation: Operation, reason: str) -> Operation:
        """Neither happened: were the inputs spent by others? Raises MintRefused when they were not."""
        states = await self.mint.states([proof_y(proof) for proof in operation.inputs])
        spent = [y for y, state in states.items() if state is ProofState.SPENT]
        if operation.kind is Kind.MELT or not spent or ProofState.PENDING in states.values():
            raise MintRefused(self.url, reason, 0)
        if operation.kind is not Kind.RECLAIM:
            log.error("%d proofs of the treasury were spent by somebody else: is its store an old copy?", len(spent))
        return await self.store.void(operation.reference, reason, lost=spent)

    def _operation(
        self,
        reference: str,
        kind: Kind,
        inputs: tuple[Proof, ...],
        *,
        outputs: tuple[Output, ...],
        amount: int,
        sent: int = 0,
        quote: str = "",
    ) -> Operation:
        return Operation(
            reference=reference,
            kind=kind,
            mint=self.url,
            state=OpState.BEGUN,
            created_ms=self._clock(),
            outputs=outputs,
            sent=sent,
            inputs=inputs,
            quote=quote,
            amount=amount,
        )

    async def _change(self, amount: int) -> tuple[Output, ...]:
        """Outputs of our own worth the amount."""
        keyset = await self.mint.active_keyset()
        return change_outputs(keyset.id, amount, await self.mint.keys(keyset.id), self._random)

    async def proofs(self, outputs: Sequence[Output], signed: Sequence[Signed | None]) -> tuple[Proof, ...]:
        """The proofs, each judged by its DLEQ. Raises MintFailed when the mint did not sign what it was to sign."""
        proofs: list[Proof] = []
        for output, each in zip(outputs, signed, strict=True):
            if each is None:
                raise MintFailed(self.url, "it has signed only a part of what belongs together")
            keys = await self.mint.keys(output.id)
            try:
                proofs.append(unblind(output, each, keys.get(each.amount, "")))
            except InvalidSignature as error:
                raise MintFailed(self.url, str(error)) from None
        return tuple(proofs)
