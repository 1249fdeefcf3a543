"""A payout's life as a table, and what is remembered of it.

DUE is no row of the store: it is what the ledger owes and no payout holds. From INTENT on a row holds its amount until
it is FAILED (the amount is due again), for good (SETTLED), or until the money came back unclaimed (RETURNED). One
intent has one payload, be it an invoice, a token or a transaction, and one reference that it is asked about by.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from zapper.errors import IllegalStep


class State(Enum):
    """Where a payout stands."""

    DUE = "due"
    INTENT = "intent"
    AWAITING = "awaiting"
    INVOICED = "invoiced"
    SENDING = "sending"
    SETTLED = "settled"
    FAILED = "failed"
    UNKNOWN = "unknown"
    RETURNED = "returned"


class Step(Enum):
    """What can happen to a payout."""

    # The amount was set aside for a payee whose wallet provider was found.
    INTEND = "intend"
    # All that sending needs is stored: the provider's invoice, as asked for; a token's outputs; a transaction.
    INVOICE = "invoice"
    # The same, but for the signature of somebody else.
    ASK = "ask"
    # It came back signed.
    SIGN = "sign"
    # Nobody will sign it any more.
    CANCEL = "cancel"
    # Somebody did: its batch was sent all the same.
    FOUND = "found"
    # The backend is about to be told to pay.
    SEND = "send"
    # It can't be prepared (the provider gave no invoice, or a wrong one): nothing was sent.
    REJECT = "reject"
    # The invoice ran out before it was sent.
    EXPIRE = "expire"
    # The backend showed the preimage, or what else proves it.
    PAID = "paid"
    # The backend says it has not paid and will not.
    REFUSED = "refused"
    # No answer, or none that can be believed; also: we were not there to hear it.
    UNCLEAR = "unclear"
    # Nobody took the money in its time, and the pool has it back.
    RETURN = "return"


TABLE: dict[tuple[State, Step], State] = {
    (State.DUE, Step.INTEND): State.INTENT,
    (State.INTENT, Step.INVOICE): State.INVOICED,
    (State.INTENT, Step.ASK): State.AWAITING,
    (State.INTENT, Step.REJECT): State.FAILED,
    (State.AWAITING, Step.SIGN): State.INVOICED,
    (State.AWAITING, Step.CANCEL): State.FAILED,
    (State.FAILED, Step.FOUND): State.UNKNOWN,
    (State.INVOICED, Step.SEND): State.SENDING,
    (State.INVOICED, Step.EXPIRE): State.FAILED,
    (State.SENDING, Step.PAID): State.SETTLED,
    (State.SENDING, Step.REFUSED): State.FAILED,
    (State.SENDING, Step.UNCLEAR): State.UNKNOWN,
    (State.UNKNOWN, Step.PAID): State.SETTLED,
    (State.UNKNOWN, Step.REFUSED): State.FAILED,
    (State.SETTLED, Step.RETURN): State.RETURNED,
}
# Nothing is sent out of these, and no step leads out of them but for money that came back, and for a cancelled batch
# that somebody else has sent.
FINAL = frozenset({State.SETTLED, State.FAILED, State.RETURNED})
# A miner with a payout in one of these gets no other.
OPEN = frozenset({State.INTENT, State.AWAITING, State.INVOICED, State.SENDING, State.UNKNOWN})
# Rows in these hold their amount: it is not due.
HOLDING = OPEN | {State.SETTLED}


def next_state(state: State, step: Step) -> State:
    """Raises IllegalStep."""
    try:
        return TABLE[state, step]
    except KeyError:
        raise IllegalStep(state.value, step.value) from None


def diagram() -> str:
    """The table as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2", "    [*] --> due"]
    lines += [f"    {source.value} --> {target.value}: {step.value}" for (source, step), target in TABLE.items()]
    lines += ["    failed --> due: the amount is owed again", "    returned --> due: the amount is owed again"]
    lines += ["    settled --> [*]"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Intent:
    """One payout. Amounts in msat, `_ms` Unix milliseconds, `expires_at` Unix seconds, hashes and keys in hex.

    `to`: id of the event that named the destination; `destination` is what it named. `method`: 4215's word.
    `reference`, `payload`, `expires_at`, `provider`, `zap_request`: as the rail prepared them (`zapper.rails`). `once`:
    the withdrawal request this payout answers, which serves no other. `fee_borne`: the miner bears the network's fee.
    `preimage`: of a Lightning payment; `evidence`: what else the rail needs to prove the payment, or the return.
    `step_ms`: time of the last step.
    """

    payout_id: str
    miner: str
    amount_msat: int
    max_fee_msat: int
    state: State
    created_ms: int
    step_ms: int
    to: str
    destination: str
    method: str
    provider: str | None = None
    zap_request: str | None = None
    payload: str | None = None
    reference: str | None = None
    expires_at: int | None = None
    preimage: str | None = None
    evidence: str = ""
    once: str | None = None
    fee_borne: bool = False
    fee_msat: int = 0
    receipt: str | None = None
    reason: str = ""

    @property
    def held_msat(self) -> int:
        """What it holds of the miner's balance; a fee that the miner bears counts with the most until it is known."""
        if not self.fee_borne:
            return self.amount_msat
        return self.amount_msat + (self.fee_msat if self.state is State.SETTLED else self.max_fee_msat)

    def after(self, step: Step, now_ms: int, **changes: Any) -> "Intent":
        """The payout one step on. Raises IllegalStep."""
        return replace(self, state=next_state(self.state, step), step_ms=now_ms, **changes)
