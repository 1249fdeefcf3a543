"""Where the pool's money is, as the configuration says it."""

from dataclasses import dataclass

from noncestr.config.checks import edge_keys, one_of
from noncestr.config.key import config_key as _key

# The parts that may have a node whose wallet is the pool's; all but a page have a key to report with.
PARTS = ("accounting", "zapper", "edge")


@dataclass(frozen=True, slots=True)
class TreasuryConfig:
    """Where the pool's money is, to be held against what it owes; the wallet that pays is always counted in."""

    wallet: str = _key("", "A wallet of the first node of [node], by name, whose balance is counted; empty for none.")
    descriptors: tuple[str, ...] = _key(
        (), "Output descriptors, as of a cold wallet: the first node counts their coins, once an hour."
    )
    part: str = _key(
        "accounting",
        "Of a pool in parts, which one asks for these, so that none is counted twice: accounting, zapper or edge.",
        one_of(*PARTS),
    )
    holders: tuple[str, ...] = _key(
        (),
        "Whose reports of funds count besides the zappers': npubs of the pool's edges or its accounting, where such a "
        "part asks a node (`part`).",
        edge_keys,
    )


def treasury_problems(treasury: TreasuryConfig, source: str) -> list[str]:
    """A sentence for each thing that is wrong."""
    problems = []
    if (treasury.wallet or treasury.descriptors) and source != "bitcoind":
        problems.append('[treasury] wallet and descriptors ask a node: they need [chain] source = "bitcoind"')
    if any(mark in treasury.wallet for mark in "/?#%"):
        problems.append(f"[treasury] wallet = {treasury.wallet!r}: must be a wallet's name, without /, ?, # and %")
    return problems
