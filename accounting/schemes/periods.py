"""The schemes that pay each share its price, by period: `pps` and `fpps`."""

from accounting.errors import UnsupportedOffer
from accounting.schemes import fpps, pps
from accounting.schemes.lots import Price
from nips.pool.terms import Offer

SCHEMES = ("pps", "fpps")


def price(name: str, offer: Offer, network: str, height: int, nbits: int, outputs_msat: int) -> Price:
    """What a job's work is worth: `height`, `nbits` and `outputs_msat` the job's, `offer` by its terms; `name` is the
    offer's. Raises UnsupportedOffer for a scheme that does not pay by period.
    """
    if offer.scheme == "pps":
        return pps.price(offer, network, height, nbits)
    if offer.scheme == "fpps":
        return fpps.price(offer, outputs_msat, nbits)
    raise UnsupportedOffer(name, offer.scheme)


def period_of(period_ms: int, now_ms: int) -> tuple[int, int]:
    """The newest whole period at a time: (from_ms, to_ms), both multiples of `period_ms`, to_ms <= now_ms.

    Raises ValueError for a period that lasts no time.
    """
    if period_ms <= 0:
        raise ValueError("a period lasts at least a millisecond")
    end = now_ms // period_ms * period_ms
    return end - period_ms, end
