"""A payout of ecash whose outcome is not known: what its mint says of it, and giving it up so that nobody gets it.

Ecash that was not handed over is known to nobody but us, whatever its mint does later: given up before it is handed
over, it can be paid anew. What was handed over is given up once the mint has given it back to us.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from nips.nut00 import hash_to_curve, proof_y
from zapper.ecash import RETURN_MARGIN_S, OpState, ProofState, decode_locked, is_ours_again
from zapper.errors import Conflict, MintError, PaymentBlocked
from zapper.payout import Intent
from zapper.treasury import Treasury


@dataclass(frozen=True, slots=True)
class MintSaid:
    """What the mint says of a payout's ecash, and what our store knows of it.

    `silent`: why the mint says nothing, "" when it does. `outputs`: how many were made for the payee; `signed`: how
    many of them the mint has signed (NUT-09), `unsound`: why these signatures are none; `taken`: how many are spent
    (NUT-07). `inputs`: of our proofs that pay, how many in which state (NUT-07). `known`: the store has the operation;
    `handed`: what carries it to the payee was made; `delivered`: somebody took it.
    """

    mint: str
    outputs: int
    known: bool
    handed: bool
    delivered: bool
    silent: str = ""
    signed: int = 0
    unsound: str = ""
    taken: int = 0
    inputs: Mapping[ProofState, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For people."""
        if self.silent:
            said = [f"the mint says nothing: {self.silent}"]
        else:
            paying = ", ".join(f"{count} {state.value.lower()}" for state, count in self.inputs.items())
            said = [
                f"mint {self.mint}:",
                f"  our proofs that pay (NUT-07): {paying or 'none were chosen'}",
                f"  the payee's proofs: {self.signed} of {self.outputs} signed (NUT-09), {self.taken} taken (NUT-07)",
            ]
            if self.unsound:
                said.append(f"  its signatures are none: {self.unsound}")
        ours = "delivered to the payee" if self.delivered else "ready, not delivered" if self.handed else ""
        begun = "not handed over" if self.known else "not begun, as treasury.sqlite has it"
        return [*said, f"the pool: {ours or begun}"]


async def ask_mint(treasury: Treasury, intent: Intent) -> MintSaid:
    """Ask; changes nothing."""
    locked, reference = decode_locked(intent.payload or ""), intent.reference or ""
    operation = await treasury.store.operation(reference)
    handed = await treasury.store.handed(reference)
    said = MintSaid(
        mint=locked.mint,
        outputs=len(locked.outputs),
        known=operation is not None,
        handed=handed is not None,
        delivered=handed is not None and handed.delivered_ms is not None,
    )
    unsound = ""
    try:
        signed = await treasury.mint.restore(locked.outputs)
        if any(signed):
            try:
                await treasury.proofs(locked.outputs, signed)
            except MintError as error:
                unsound = error.reason
        theirs = [hash_to_curve(output.secret.encode()).format().hex() for output in locked.outputs]
        ours = [proof_y(proof) for proof in operation.inputs] if operation is not None else []
        states = await treasury.mint.states([*theirs, *ours])
    except MintError as error:
        return replace(said, silent=str(error))
    return replace(
        said,
        signed=sum(each is not None for each in signed),
        unsound=unsound,
        taken=sum(states[y] is ProofState.SPENT for y in theirs),
        inputs=Counter(states[y] for y in ours),
    )


async def give_up(treasury: Treasury, intent: Intent, reason: str, *, now_s: int) -> MintSaid:
    """See to it that nobody gets this payout's ecash, now or later. Raises PaymentBlocked where that cannot be, and the
    payout stays as it is; MintError when a mint leaves it open. May be repeated.
    """
    reference = intent.reference or ""
    said = await ask_mint(treasury, intent)
    if await treasury.store.abandoned(reference) is not None:
        return said
    if said.handed:
        await _take_back(treasury, intent, said, now_s=now_s)
    else:
        _check_not_handed(said)
    try:
        await treasury.store.abandon(reference, said.mint, reason)
    except Conflict as error:
        raise PaymentBlocked(f"it was not given up: {error}") from None
    return said


def _check_not_handed(said: MintSaid) -> None:
    if said.taken:
        raise PaymentBlocked(
            f"{said.taken} of the payee's {said.outputs} proofs are spent: it was paid; is treasury.sqlite an old copy?"
        )
    if said.signed and not said.unsound:
        raise PaymentBlocked("the mint has signed this ecash: the pool hands it over when it runs")
    if said.silent and not said.known:
        raise PaymentBlocked(
            f"treasury.sqlite knows nothing of it (is it an old copy?), and {said.silent}: it may have been handed over"
        )


async def _take_back(treasury: Treasury, intent: Intent, said: MintSaid, *, now_s: int) -> None:
    """What was handed over comes back to us, unless the payee was first."""
    reference = intent.reference or ""
    sent = await treasury.store.sent_proofs(reference)
    if sent and all(state == "returned" for _, state in sent):
        return
    if said.delivered:
        raise PaymentBlocked("the payee has it: the payout is settled when the pool runs")
    if said.taken and all(state == "out" for _, state in sent):
        raise PaymentBlocked(f"{said.taken} of the payee's {said.outputs} proofs are spent: it was paid")
    proofs = [proof for proof, _ in sent]
    if not is_ours_again(proofs, now_s=now_s):
        ends_s = decode_locked(intent.payload or "").locktime + RETURN_MARGIN_S
        ends = datetime.fromtimestamp(ends_s, UTC).strftime("%Y-%m-%d %H:%M")
        raise PaymentBlocked(f"it was handed over, locked to the payee's key: nobody takes it back before {ends} UTC")
    if said.silent:
        raise PaymentBlocked(f"it was handed over, and only its mint can give it back: {said.silent}")
    operation = await treasury.reclaim(reference, proofs)
    if operation is None:
        raise PaymentBlocked("taking it back would cost what it is worth")
    if operation.state is not OpState.DONE:
        raise PaymentBlocked("it could not be taken back: the payee may have taken it; ask again")
