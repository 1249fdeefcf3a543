"""What an operator can bring forward about a payout whose outcome no wallet tells: each claim is checked first."""

from nips.nip57 import proves_payment
from zapper.errors import PaymentBlocked
from zapper.payout import Intent, State

LIGHTNING = ("zap", "lnurl", "bolt11")
UNRESOLVED = (State.SENDING, State.UNKNOWN)


def check_preimage(intent: Intent, preimage: str) -> str:
    """The preimage (hex) that proves this payment. Raises PaymentBlocked."""
    _check_lightning(intent)
    preimage = preimage.strip().lower()
    if not proves_payment(preimage, intent.reference or ""):
        raise PaymentBlocked("this is not the preimage of the payment's hash: nothing was changed")
    return preimage


def check_never_paid(intent: Intent, *, grace_s: int, now_s: int) -> None:
    """Whether a payment may be given up on the operator's word: only once nobody takes its invoice any more.

    Raises PaymentBlocked.
    """
    _check_lightning(intent)
    ends_s = (intent.expires_at or 0) + grace_s
    if now_s <= ends_s:
        raise PaymentBlocked(f"its invoice can be paid for another {ends_s - now_s + 1} s: ask again after that")


def check_open(intent: Intent) -> None:
    """Raises PaymentBlocked for a payout that has come to its end, or was not sent."""
    if intent.state not in UNRESOLVED:
        raise PaymentBlocked(f"payout {intent.payout_id} is {intent.state.value}: there is nothing to resolve")


def _check_lightning(intent: Intent) -> None:
    check_open(intent)
    if intent.method not in LIGHTNING:
        raise PaymentBlocked(
            f"payout {intent.payout_id} went by {intent.method}: only the chain says what became of it"
        )
