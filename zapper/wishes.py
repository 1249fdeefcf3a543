"""How a miner wants to be paid, best first: what its own signed events say, in the order that counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from nips.nip01 import VerifiedEvent
from nips.nip61 import NUTZAP_INFO
from zapper.errors import PaymentBlocked
from zapper.profile import PROFILE, lightning_of, newest

# What the pool tries when the miner's settings name no order of their own.
DEFAULT_ORDER = ("zap", "nutzap")


@dataclass(frozen=True, slots=True)
class Wish:
    """One way to pay a miner. `method`: the rail's word; `destination` in the rail's form; `named_by`: who says so."""

    method: str
    destination: str
    named_by: VerifiedEvent


def wishes_of(
    events: Sequence[VerifiedEvent], miner: str, *, order: Sequence[str] = DEFAULT_ORDER, now_s: int
) -> list[Wish]:
    """The miner's ways to be paid among these events, in this order. Raises PaymentBlocked when there is none."""
    found: list[Wish] = []
    reasons: list[str] = []
    profile = newest(events, PROFILE, miner, now_s=now_s)
    info = newest(events, NUTZAP_INFO, miner, now_s=now_s)
    for method in order:
        if method in ("zap", "lnurl"):
            try:
                found.append(Wish(method, lightning_of(profile), profile))  # type: ignore[arg-type]  # raises for None
            except PaymentBlocked as error:
                reasons.append(error.reason)
        elif method == "nutzap" and info is not None:
            # The rail reads keys and mints from the event itself.
            found.append(Wish(method, "nutzap", info))
    if not found:
        raise PaymentBlocked("; ".join(dict.fromkeys(reasons)) or "no way to pay this npub is known")
    return found
