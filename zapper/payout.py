"""A payout's life as a table, and what is remembered of it.

DUE is no row of the store: it is what the ledger owes and no payout holds. From INTENT on a row holds its amount until
it is FAILED (the amount is due again) or for good (SETTLED). One intent has one invoice and one payment hash.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from zapper.errors import IllegalStep


class State(Enum):
    """Where a payout stands."""

    DUE = "due"
    INTENT = "intent"
    INVOICED = "invoiced"
    SENDING = "sending"
    SETTLED = "settled"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Step(Enum):
    """What can happen to a payout."""

    # The amount was set aside for a payee whose wallet provider was found.
    INTEND = "intend"
    # The provider's invoice is the one asked for; it is stored.
    INVOICE = "invoice"
    # The backend is about to be told to pay.
    SEND = "send"
    # The provider gave no invoice, or a wrong one: nothing was sent.
    REJECT = "reject"
    # The invoice ran out before it was sent.
    EXPIRE = "expire"
    # The backend showed the preimage.
    PAID = "paid"
    # The backend says it has not paid and will not.
    REFUSED = "refused"
    # No answer, or none that can be believed; also: we were not there to hear it.
    UNCLEAR = "unclear"


TABLE: dict[tuple[State, Step], State] = {
    (State.DUE, Step.INTEND): State.INTENT,
    (State.INTENT, Step.INVOICE): State.INVOICED,
    (State.INTENT, Step.REJECT): State.FAILED,
    (State.INVOICED, Step.SEND): State.SENDING,
    (State.INVOICED, Step.EXPIRE): State.FAILED,
    (State.SENDING, Step.PAID): State.SETTLED,
    (State.SENDING, Step.REFUSED): State.FAILED,
    (State.SENDING, Step.UNCLEAR): State.UNKNOWN,
    (State.UNKNOWN, Step.PAID): State.SETTLED,
    (State.UNKNOWN, Step.REFUSED): State.FAILED,
}
# No step leads out of these.
FINAL = frozenset({State.SETTLED, State.FAILED})
# A miner with a payout in one of these gets no other.
OPEN = frozenset({State.INTENT, State.INVOICED, State.SENDING, State.UNKNOWN})
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
    lines += ["    failed --> due: the amount is owed again", "    settled --> [*]"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Intent:
    """One payout. Amounts in msat, `_ms` Unix milliseconds, `expires_at` Unix seconds, hashes and keys in hex.

    `to`: id of the kind 0 that named the destination; `destination` is what it named. `provider`: the LNURL's
    nostrPubkey, None when it takes no zaps. `zap_request`: the signed 9734's exact JSON. `step_ms`: time of the last
    step.
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
    provider: str | None
    zap_request: str | None = None
    invoice: str | None = None
    payment_hash: str | None = None
    expires_at: int | None = None
    preimage: str | None = None
    fee_msat: int = 0
    receipt: str | None = None
    reason: str = ""

    @property
    def method(self) -> str:
        """The payout record's word for how it was paid."""
        return "zap" if self.zap_request is not None else "lnurl"

    def after(self, step: Step, now_ms: int, **changes: Any) -> "Intent":
        """The payout one step on. Raises IllegalStep."""
        return replace(self, state=next_state(self.state, step), step_ms=now_ms, **changes)
