"""The treasury's dealings with one mint, each written down before the mint is asked and brought to a sure end.

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
from nips.nut02 import input_fee, split
from nips.nut03 import InvalidSignature, Output, Signed, unblind
from nips.nut11 import sign_input
from nips.nut20 import sign_quote
from zapper.ecash import (
    Kind,
    MeltQuote,
    Operation,
    OpState,
    ProofState,
    blank_outputs,
    change_outputs,
    choose,
)
from zapper.ecash_ports import Mint, ProofStore, Totals
from zapper.errors import MintError, MintFailed, MintRefused, PaymentBlocked

log = logging.getLogger("zapper")


class Treasury:
    """`key` signs refunds and mint quotes; `random(n)` gives n bytes nobody knows; `one_at_a_time`: an async lock, so
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

    async def totals(self) -> Totals:
        """What it holds."""
        return await self.store.totals(self.url)

    # Paying by ecash

    async def send(self, reference: str, outputs: Sequence[Output], *, max_fee: int) -> Operation:
        """Have the payee's outputs signed, for proofs of ours: as an operation that is done, void, or still begun.

        Raises PaymentBlocked when it did not begin for want of ecash, MintError when the outcome is not known.
        """
        operation = await self.find(reference, outputs)
        if operation is not None:
            return await self.conclude(operation)
        async with self._lock:
            await self._recover()
            keysets = await self.mint.keysets()
            amount = sum(output.amount for output in outputs)
            inputs, fee = choose(await self.store.free(self.url), amount, keysets)
            if fee > max_fee:
                raise PaymentBlocked(f"the mint asks {fee} sat for it, more than the {max_fee} sat it may cost")
            change = await self._change(total(inputs) - amount - fee)
            operation = self._operation(
                reference, Kind.SEND, inputs, outputs=(*outputs, *change), sent=len(outputs), amount=amount
            )
            await self.store.begin(operation)
            return await self._swap(operation)

    async def find(self, reference: str, outputs: Sequence[Output]) -> Operation | None:
        """The operation of that reference; None when neither the store nor the mint have ever heard of it.

        A store that is older than the payout does not know it: the mint does. Raises MintError.
        """
        known = await self.store.operation(reference)
        if known is not None:
            return known
        signed = await self.mint.restore(outputs)
        if not any(signed):
            return None
        proofs = await self._proofs(outputs, signed)
        found = self._operation(
            reference, Kind.SEND, (), outputs=tuple(outputs), sent=len(outputs), amount=total(proofs)
        )
        await self.store.restored(found, proofs)
        log.warning("payout %s was found at the mint, not in the store of proofs: is it an old copy?", reference)
        return replace(found, state=OpState.DONE)

    async def reclaim(self, reference: str, proofs: Sequence[Proof]) -> Operation | None:
        """Take back locked proofs nobody claimed, all or none; None when that would cost what they are worth.

        Raises MintError, Conflict.
        """
        name = f"reclaim:{reference}"
        operation = await self.store.operation(name)
        if operation is not None:
            return await self.conclude(operation)
        async with self._lock:
            rest = total(proofs) - input_fee(proofs, await self.mint.keysets())
            if rest <= 0:
                return None
            inputs = tuple(
                Proof(proof.id, proof.amount, proof.secret, proof.C, None, sign_input(proof.secret, self._key))
                for proof in proofs
            )
            operation = self._operation(
                name, Kind.RECLAIM, inputs, outputs=await self._change(rest), amount=total(proofs)
            )
            await self.store.begin(operation)
            return await self._swap(operation)

    # Paying by Lightning

    async def melt(self, payment_hash: str, invoice: str, amount: int, *, max_fee: int) -> Operation:
        """Have the mint pay an invoice over `amount` sat. As `send`; PaymentBlocked and what mints raise before the
        operation begins mean that nothing was sent.
        """
        operation = await self.store.operation(payment_hash)
        if operation is not None:
            return await self.conclude(operation)
        try:
            quote = await self.mint.ask_melt(invoice)
        except MintError as error:
            raise PaymentBlocked(str(error)) from None
        if quote.amount != amount or quote.state != "UNPAID":
            raise PaymentBlocked(f"the mint's quote is over {quote.amount} sat and {quote.state}, asked were {amount}")
        async with self._lock:
            try:
                await self._recover()
                inputs = await self._exact(amount + quote.fee_reserve)
                fee = quote.fee_reserve + input_fee(inputs, await self.mint.keysets())
                if fee > max_fee:
                    raise PaymentBlocked(f"the mint asks for up to {fee} sat of fees, it may cost {max_fee}")
                keyset = await self.mint.active_keyset()
            except MintError as error:
                raise PaymentBlocked(str(error)) from None
            blank = blank_outputs(keyset.id, total(inputs) - amount, self._random)
            operation = self._operation(
                payment_hash, Kind.MELT, inputs, outputs=blank, amount=amount, quote=quote.quote
            )
            await self.store.begin(operation)
        try:
            answer = await self.mint.melt(quote.quote, inputs, blank)
        except MintRefused as error:
            log.info("payment %s is not made: %s", payment_hash, error)
            return await self.conclude(operation)
        return await self._melted(operation, answer)

    async def _exact(self, amount: int) -> tuple[Proof, ...]:
        """Free proofs worth the amount and their fee and, if it can be, no more: what is over is not free meanwhile.

        The lock is held. Raises PaymentBlocked, MintError.
        """
        keysets = await self.mint.keysets()
        chosen, fee = choose(await self.store.free(self.url), amount, keysets)
        if total(chosen) == amount + fee:
            return chosen
        active = await self.mint.active_keyset()
        amounts = await self.mint.keys(active.id)
        # The fee of spending the parts is part of what they must be worth.
        target = amount
        while target - (-(-len(split(target, amounts)) * active.fee_ppk // 1000)) < amount:
            target += 1
        chosen, fee = choose(await self.store.free(self.url), target, keysets)
        outputs = change_outputs(active.id, target, amounts, self._random)
        change = await self._change(total(chosen) - target - fee)
        operation = self._operation(
            f"split:{self._random(16).hex()}", Kind.SPLIT, chosen, outputs=(*outputs, *change), amount=target
        )
        await self.store.begin(operation)
        if (await self._swap(operation)).state is not OpState.DONE:
            raise PaymentBlocked("the mint did not split our ecash")
        wanted = {output.secret for output in outputs}
        return tuple(proof for proof in await self.store.free(self.url) if proof.secret in wanted)

    # Filling the treasury

    async def fund(self, amount: int) -> tuple[str, str]:
        """Ask for ecash: the operation's reference and the invoice to be paid for it. Raises MintError."""
        quote = await self.mint.ask_mint(amount, self.refund_key)
        outputs = await self._change(amount)
        operation = self._operation(
            f"mint:{quote.quote}", Kind.MINT, (), outputs=outputs, amount=amount, quote=quote.quote
        )
        await self.store.begin(operation)
        return operation.reference, quote.request

    async def recover(self) -> None:
        """Bring on what nobody else asks about: paid mint quotes, and splits that a crash left."""
        async with self._lock:
            await self._recover()

    async def _recover(self) -> None:
        for operation in await self.store.open_operations(self.url):
            if operation.kind in (Kind.SPLIT, Kind.MINT):
                try:
                    await self.conclude(operation)
                except MintError as error:
                    log.warning("%s is not brought on: %s", operation.reference, error)

    # The ends of operations

    async def conclude(self, operation: Operation) -> Operation:
        """Bring a begun operation to its end, if it has one yet; one that has ended is given back. Raises MintError."""
        if operation.state is not OpState.BEGUN:
            return operation
        match operation.kind:
            case Kind.MELT:
                return await self._conclude_melt(operation)
            case Kind.MINT:
                return await self._conclude_mint(operation)
            case Kind.SEND | Kind.SPLIT | Kind.RECLAIM:
                return await self._conclude_swap(operation)

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
        if operation.cancel:
            return await self._cancel(operation, "the mint did not swap")
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
        proofs = await self._proofs(outputs, signed)
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
        proofs = await self._proofs(operation.cancel, signed)
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

    async def _conclude_melt(self, operation: Operation) -> Operation:
        ended = await self._ended(operation)
        if ended is not None:
            return ended
        return await self._melted(operation, await self.mint.melt_state(operation.quote))

    async def _melted(self, operation: Operation, quote: MeltQuote) -> Operation:
        """What the mint's answer makes of the payment."""
        if quote.state == "PENDING":
            return operation
        if quote.state == "UNPAID":
            # A request of ours may still be on its way to the mint: with its inputs gone it can do nothing.
            return await self._cancel(operation, "the mint could not pay")
        signed: Sequence[Signed | None] = quote.change or await self.mint.restore(operation.outputs)
        change = [(output, each) for output, each in zip(operation.outputs, signed, strict=False) if each is not None]
        proofs = await self._proofs([output for output, _ in change], [each for _, each in change])
        fee = total(operation.inputs) - operation.amount - total(proofs)
        return await self.store.finish(operation.reference, proofs, fee=fee, preimage=quote.preimage)

    async def _conclude_mint(self, operation: Operation) -> Operation:
        signed: Sequence[Signed | None] = await self.mint.restore(operation.outputs)
        if not any(signed):
            if (await self.mint.mint_state(operation.quote)).state != "PAID":
                return operation
            signature = sign_quote(operation.quote, operation.outputs, self._key)
            signed = await self.mint.mint(operation.quote, operation.outputs, signature)
        return await self._done(operation, operation.outputs, signed)

    # Small parts

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

    async def _proofs(self, outputs: Sequence[Output], signed: Sequence[Signed | None]) -> tuple[Proof, ...]:
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
