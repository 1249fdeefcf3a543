"""Where the pool's money is, as the configuration says it."""

from dataclasses import dataclass

from noncestr.config_keys import config_key as _key


@dataclass(frozen=True, slots=True)
class TreasuryConfig:
    """Where the pool's money is, to be held against what it owes; the wallet that pays is always counted in."""

    wallet: str = _key("", "A wallet of the first node of [node], by name, whose balance is counted; empty for none.")
    descriptors: tuple[str, ...] = _key(
        (), "Output descriptors, as of a cold wallet: the first node counts their coins, once an hour."
    )


def treasury_problems(treasury: TreasuryConfig, source: str) -> list[str]:
    """A sentence for each thing that is wrong."""
    problems = []
    if (treasury.wallet or treasury.descriptors) and source != "bitcoind":
        problems.append('[treasury] wallet and descriptors ask a node: they need [chain] source = "bitcoind"')
    if any(mark in treasury.wallet for mark in "/?#%"):
        problems.append(f"[treasury] wallet = {treasury.wallet!r}: must be a wallet's name, without /, ?, # and %")
    return problems
