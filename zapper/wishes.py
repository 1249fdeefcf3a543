"""How a miner wants to be paid, best first: what its own signed events say, in the order that counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from nips.nip01 import VerifiedEvent
from nips.nip61 import NUTZAP_INFO
from nips.pool.kinds import SETTINGS
from nips.pool.settings import Settings, newest_settings
from zapper.errors import PaymentBlocked
from zapper.profile import PROFILE, lightning_of, newest

# What the pool tries when the miner's settings name no order of their own.
DEFAULT_ORDER = ("zap", "nutzap")
# What says how a miner wants to be paid; its relay list (10002) says where else to look for these.
WISH_KINDS = (PROFILE, NUTZAP_INFO, SETTINGS)


@dataclass(frozen=True, slots=True)
class Wish:
    """One way to pay a miner. `method`: the rail's word; `destination` in the rail's form (a lightning address or
    LNURL; an invoice; a bitcoin address; for cashu a payment request, a mint's URL, or "" for a mint of the pool's
    choice; "" for nutzaps, whose keys and mints `named_by` says). `once`: the withdrawal request that no other payout
    may serve.
    """

    method: str
    destination: str
    named_by: VerifiedEvent
    once: str | None = None


def settings_of(events: Sequence[VerifiedEvent], miner: str, *, pool: str, now_s: int) -> Settings | None:
    """The miner's settings in force for the pool with this key (hex)."""
    return newest_settings(events, miner=miner, pool=pool, now_s=now_s)


def wishes_of(
    events: Sequence[VerifiedEvent],
    miner: str,
    *,
    pool: str,
    order: Sequence[str] = DEFAULT_ORDER,
    now_s: int,
) -> list[Wish]:
    """The miner's ways to be paid among these events: in the order of its settings, else in the pool's.

    Raises PaymentBlocked when there is none.
    """
    by_id = {event.id: event for event in events}
    settings = settings_of(events, miner, pool=pool, now_s=now_s)
    profile = newest(events, PROFILE, miner, now_s=now_s)
    info = newest(events, NUTZAP_INFO, miner, now_s=now_s)
    found: list[Wish] = []
    reasons: list[str] = []
    for method in (settings.body.methods if settings is not None else ()) or order:
        try:
            found.append(_wish(method, settings, by_id, profile, info))
        except PaymentBlocked as error:
            reasons.append(error.reason)
    if not found:
        raise PaymentBlocked("; ".join(dict.fromkeys(reasons)) or "no way to pay this npub is known")
    return found


def _wish(
    method: str,
    settings: Settings | None,
    by_id: dict[str, VerifiedEvent],
    profile: VerifiedEvent | None,
    info: VerifiedEvent | None,
) -> Wish:
    """The way to pay by this method. Raises PaymentBlocked when the miner has said nothing that makes it possible."""
    said = None if settings is None else by_id[settings.id]
    if method in ("zap", "lnurl"):
        if settings is not None and said is not None and settings.body.lightning:
            return Wish(method, settings.body.lightning, said)
        text = lightning_of(profile)
        assert profile is not None
        return Wish(method, text, profile)
    if method == "nutzap":
        if info is None:
            raise PaymentBlocked("no nutzap info (kind 10019) of this npub was found on the relays asked")
        return Wish(method, "", info)
    if settings is None or said is None:
        raise PaymentBlocked(f"without settings (kind 34216) nobody is paid by {method}")
    if method == "onchain" and not settings.body.onchain:
        raise PaymentBlocked("the settings (kind 34216) name no bitcoin address")
    return Wish(method, settings.body.onchain if method == "onchain" else settings.body.mint, said)
