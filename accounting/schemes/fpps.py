"""fpps: each share is paid its part of its job's whole reward, fees included, block or no block (SPEC.md, "Splits").

Invariants: those of accounting.schemes.lots; the base is what the job's coinbase pays out, and nothing estimated.
"""

from accounting.schemes.lots import Price
from nips.pool.terms import Offer


def price(offer: Offer, outputs_msat: int, nbits: int) -> Price:
    """What a job's work is worth: `offer` by the job's terms, `outputs_msat` the sum of its coinbase's outputs."""
    return Price(outputs_msat, nbits, offer.fee_ppm)
