"""The treasury's dealings with one mint (see `zapper.swaps`): paying by ecash and by Lightning, and being filled."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from nips.nut00 import Proof, total
from nips.nut02 import input_fee, split
from nips.nut03 import Output, Signed
from nips.nut11 import InvalidLock, parse_secret, sign_input
from nips.nut20 import sign_quote
from zapper.ecash import (
    Kind,
    MeltQuote,
    Operation,
    OpState,
    blank_outputs,
    change_outputs,
    choose,
    is_ours_again,
)
from zapper.ecash_ports import Totals
from zapper.errors import MintError, MintRefused, PaymentBlocked
from zapper.swaps import Swaps

log = logging.getLogger("zapper")


class Treasury(Swaps):
    """The pool's ecash at one mint. Made as `Swaps`."""

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
        proofs = await self.proofs(outputs, signed)
        found = self._operation(
            reference, Kind.SEND, (), outputs=tuple(outputs), sent=len(outputs), amount=total(proofs)
        )
        await self.store.restored(found, proofs)
        log.warning("payout %s was found at the mint, not in the store of proofs: is it an old copy?", reference)
        return replace(found, state=OpState.DONE)

    async def reclaim(self, reference: str, proofs: Sequence[Proof]) -> Operation | None:
        """Take back proofs nobody claimed, all or none, once they can be (`is_ours_again`); None when that would cost
        what they are worth.

        Raises MintError, Conflict.
        """
        async with self._lock:
            return await self._reclaim(reference, proofs)

    async def _reclaim(self, reference: str, proofs: Sequence[Proof]) -> Operation | None:
        name = f"reclaim:{reference}"
        operation = await self.store.operation(name)
        if operation is not None:
            return await self.conclude(operation)
        rest = total(proofs) - input_fee(proofs, await self.mint.keysets())
        if rest <= 0:
            return None
        inputs = tuple(Proof(each.id, each.amount, each.secret, each.C, None, self._witness(each)) for each in proofs)
        operation = self._operation(name, Kind.RECLAIM, inputs, outputs=await self._change(rest), amount=total(proofs))
        await self.store.begin(operation)
        return await self._swap(operation)

    def _witness(self, proof: Proof) -> str | None:
        try:
            parse_secret(proof.secret)
        except InvalidLock:
            return None
        return sign_input(proof.secret, self._key)

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
        """Bring on what nobody else asks about: paid mint quotes, splits that a crash left, what was given up."""
        async with self._lock:
            await self._recover()

    async def _recover(self) -> None:
        for operation in await self.store.open_operations(self.url):
            given_up = await self.store.abandoned(operation.reference) is not None
            if given_up or operation.kind in (Kind.SPLIT, Kind.MINT):
                try:
                    await self.conclude(operation)
                except MintError as error:
                    log.warning("%s is not brought on: %s", operation.reference, error)
        for reference in await self.store.left_by_abandoned(self.url):
            proofs = [proof for proof, _ in await self.store.sent_proofs(reference)]
            if is_ours_again(proofs, now_s=self._clock() // 1000):
                try:
                    await self._reclaim(reference, proofs)
                except MintError as error:
                    log.warning("what was given up of %s is not back yet: %s", reference, error)

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
        proofs = await self.proofs([output for output, _ in change], [each for _, each in change])
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
