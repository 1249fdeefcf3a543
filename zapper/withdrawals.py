"""What miners ask to be paid by themselves (4217): which requests are open, and whether one can be met."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from nips.errors import NipError
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.withdrawal import Withdrawal, parse_withdrawal
from zapper.errors import PaymentBlocked
from zapper.plan import sat_text
from zapper.profile import MAX_AHEAD_S
from zapper.wishes import Wish

# Of one miner's requests that are open at a time; the rest wait until these are served or have expired.
MAX_OPEN = 10


@dataclass(frozen=True, slots=True)
class Request:
    """A withdrawal request with the event it was read from."""

    asked: Withdrawal
    event: VerifiedEvent

    @property
    def wish(self) -> Wish:
        """The way to pay it."""
        body = self.asked.body
        return Wish(body.method, body.destination, self.event, once=self.event.id)


def open_requests(
    events: Sequence[VerifiedEvent], *, pool: PoolAddress, zapper: str, served: Collection[str], now_s: int
) -> dict[str, list[Request]]:
    """By miner, oldest first: what is for this pool and zapper, has not expired and was not served."""
    found: dict[str, list[Request]] = {}
    for event in sorted(set(events), key=lambda each: (each.created_at, each.id)):
        try:
            asked = parse_withdrawal(event)
        except NipError:
            continue
        if asked.pool != pool or asked.zapper != zapper or asked.id in served:
            continue
        if asked.body.expires <= now_s or asked.created_at > now_s + MAX_AHEAD_S:
            continue
        miners = found.setdefault(asked.miner, [])
        if len(miners) < MAX_OPEN:
            miners.append(Request(asked, event))
    return found


def check_request(asked: Withdrawal, *, due_msat: int, fee_msat: int, minimum_msat: int, onchain_msat: int) -> None:
    """Whether a request can be met now. `fee_msat`: what the miner bears besides, at most; `onchain_msat`: the least
    that goes on chain. Raises PaymentBlocked.
    """
    amount = asked.body.amount_msat
    least = max(minimum_msat, onchain_msat if asked.body.method == "onchain" else 0)
    if amount < least:
        raise PaymentBlocked(f"the withdrawal asks for {sat_text(amount)}, the least is {sat_text(least)}")
    if asked.body.method != "bolt11" and amount % 1000:
        raise PaymentBlocked("the withdrawal asks for a part of a satoshi, which only an invoice can")
    if amount + fee_msat > due_msat:
        fee = f" and up to {sat_text(fee_msat)} of network fee" if fee_msat else ""
        raise PaymentBlocked(f"the withdrawal asks for {sat_text(amount)}{fee}, due are {sat_text(max(due_msat, 0))}")
