"""The ways money leaves the pool: each prepares a payout, hands it over once, and can be asked about it for good.

What a rail keeps of its own (reserved coins, blinding factors) it keeps on disk before `prepare` returns; what it needs
to hand the payout over, to look it up and to prove it stands in the intent. A zapper may be killed between any two
lines: after `prepare`, `send` or `lookup` may be called with the stored intent by a process that has never seen it.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from nips.nip01 import VerifiedEvent
from zapper.errors import PaymentBlocked
from zapper.payout import Intent
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear


@dataclass(frozen=True, slots=True)
class Order:
    """What a rail is asked to prepare. Amounts in msat, whole satoshis; `max_fee_msat` is the most it may cost besides.

    `destination`: what the miner named, in the rail's own form (a lightning address, an invoice, an address of the
    chain, a mint); `named_by`: the event that named it (kind 0, 10019, 34216, 4217). `line`: what people read with it.
    `least_msat`: where the payee takes less at once, a part down to this may be prepared; None for all or nothing.
    """

    payout_id: str
    miner: str
    amount_msat: int
    max_fee_msat: int
    destination: str
    named_by: VerifiedEvent
    line: str
    least_msat: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that sending needs; nothing of it has reached anybody who could take money with it.

    `method`: 4215's word, which may be another than the one asked for (a zap to a server that takes none is `lnurl`).
    `reference`: what the payment is asked about by, never the same for two payouts (a payment hash; the sha256 of a
    token's secrets; txid:vout). `payload`: the text to hand over (an invoice, blinded outputs and inputs, a raw
    transaction). `expires_at` (Unix seconds): past it nobody takes it any more; None when it never runs out by itself.
    `provider`, `zap_request`: of a zap, the LNURL's nostrPubkey and the signed 9734's exact JSON. `amount_msat`: a part
    of what was ordered, in whole satoshis; None for all of it.
    """

    method: str
    reference: str
    payload: str
    expires_at: int | None = None
    provider: str | None = None
    zap_request: str | None = None
    amount_msat: int | None = None


@dataclass(frozen=True, slots=True)
class Unsigned(Prepared):
    """Prepared, but somebody else's signature is missing: its reference is known, its payload can't be handed over."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The payee took the money: it can't come back."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nobody has taken it yet, and its time is not over."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The pool has it back. `evidence`: what the record of the reversal shows, as text the rail reads in `proof`."""

    evidence: str


class Rail(Protocol):
    """One way money leaves: prepared and stored first, then handed over once, looked up by its reference for good.

    Rails may raise any Exception from `send` and `lookup`: that is taken as Unclear.
    """

    # Handing the same prepared payout over again can never pay twice (its coins can be spent once): what the rail has
    # never heard of is then handed over again. A Lightning wallet's promise to that end is not relied on.
    replayable: bool = False
    # Pending for hours is normal (confirmations): no alarm, and the state stays `sending`.
    slow: bool = False

    @property
    def name(self) -> str:
        """For people and logs."""
        ...

    @property
    def purse(self) -> Hashable:
        """Rails with the same purse spend the same money."""
        ...

    async def prepare(self, order: Order) -> Prepared:
        """All that sending needs. Raises PaymentBlocked, HttpFailed, NipError: nothing was sent."""
        ...

    async def send(self, intent: Intent) -> Paid | Refused | Unclear:
        """Hand over what was prepared: idempotent per reference. `Paid` only with what proves it."""
        ...

    async def lookup(self, intent: Intent) -> Paid | Pending | NotFound | FailedPayment:
        """What became of it. Raises an Exception when that can't be told now.

        NotFound: it never got there, but may yet; FailedPayment: it did not happen and never will.
        """
        ...

    def proof(self, intent: Intent) -> Mapping[str, Any]:
        """What the payout record (4215) of a settled payout shows; of a RETURNED one, what its reversal shows."""
        ...

    async def balance_msat(self) -> int | None:
        """What can be spent on this rail; None when it can't be told."""
        ...

    async def begin(self, unfinished: Sequence[Intent]) -> None:
        """Called once before anything else: what is kept for payouts other than these is free again."""

    async def release(self, intent: Intent) -> None:
        """This payout failed: what was kept for it is free again. Repeated after a crash by `begin` only."""


@runtime_checkable
class ReturningRail(Protocol):
    """A rail whose money waits to be taken, and comes back to the pool when nobody does."""

    async def outcome(self, intent: Intent) -> Kept | Waiting | Returned:
        """Of a settled payout, asked from time to time until it is Kept or Returned; takes it back when it is time.

        Idempotent: a zapper killed before it wrote Returned down asks again.
        """
        ...


@runtime_checkable
class SigningRail(Protocol):
    """A rail whose payouts may wait for somebody else's signature."""

    async def signed(self, intent: Intent) -> str | None:
        """Of an AWAITING payout that turns out to have been signed and sent by others: the payload with the signature,
        to be handed over once more. Raises an Exception when that can't be told now.
        """
        ...


@runtime_checkable
class BatchRail(Protocol):
    """A rail that pays many payees at once."""

    async def prepare_all(self, orders: Sequence[Order]) -> Sequence[Prepared | PaymentBlocked]:
        """In the orders' order what was prepared, which stands or falls together; a PaymentBlocked in the place of one
        that can't be with the others. Raises as `prepare`: none is prepared.
        """
        ...
