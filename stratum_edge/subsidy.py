"""What a block may mint (Bitcoin Core, validation.cpp: GetBlockSubsidy)."""

from typing import Final

FIRST_SUBSIDY_SAT: Final = 50 * 100_000_000
# Bitcoin Core, chainparams.cpp: nSubsidyHalvingInterval.
HALVING_BLOCKS: Final = {"main": 210_000, "testnet4": 210_000, "signet": 210_000, "regtest": 150}
# Shifting by 64 or more is undefined in C++, so Core ends the subsidy there.
LAST_HALVING: Final = 64


def subsidy_sat(network: str, height: int) -> int:
    """The new coins of the block at `height`, in satoshi. Raises KeyError for a network without a rule here."""
    halvings = height // HALVING_BLOCKS[network]
    return FIRST_SUBSIDY_SAT >> halvings if halvings < LAST_HALVING else 0
