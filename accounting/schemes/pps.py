"""pps: each share is paid its part of the block subsidy, block or no block (SPEC.md, "Splits").

Invariants: those of accounting.schemes.lots; transaction fees are the pool's, and its income above the base.
"""

from accounting.schemes.lots import Price
from nips.pool.terms import Offer

# Bitcoin Core's GetBlockSubsidy: 50 BTC, halved with each interval, nothing after 64.
FIRST_SUBSIDY_MSAT = 5_000_000_000_000
SAT_MSAT = 1000
MAX_HALVINGS = 64
HALVING_BLOCKS = 210_000
# Bitcoin Core's consensus.nSubsidyHalvingInterval of regtest.
REGTEST_HALVING_BLOCKS = 150


def subsidy_msat(network: str, height: int) -> int:
    """The new coins of a block, in msat; whole sats, as consensus halves sats. Raises ValueError below height 0."""
    if height < 0:
        raise ValueError("no block is below height 0")
    halvings = height // (REGTEST_HALVING_BLOCKS if network == "regtest" else HALVING_BLOCKS)
    return 0 if halvings >= MAX_HALVINGS else (FIRST_SUBSIDY_MSAT // SAT_MSAT >> halvings) * SAT_MSAT


def price(offer: Offer, network: str, height: int, nbits: int) -> Price:
    """What a job's work is worth: `offer` by the job's terms, `height` and `nbits` its own."""
    return Price(subsidy_msat(network, height), nbits, offer.fee_ppm)
