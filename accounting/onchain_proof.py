"""Payouts on chain, held against the chain: the output is there, over the amount, and to the address that the miner's
own event names (SPEC.md, "4215 payout record").
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from accounting.facts import PROVEN, REFUTED
from accounting.findings import Code, Finding, finding
from accounting.log import PoolLog
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.pool.kinds import SETTINGS, WITHDRAWAL
from nips.pool.payout import Payout
from nips.pool.settings import parse_settings
from nips.pool.withdrawal import parse_withdrawal

# As deep as a zapper waits before it publishes a record.
PAID_DEPTH = 3


class PaidOutput(NamedTuple):
    """An output of the best chain. `address`: as the node writes it, "" for a script without one; `depth`: blocks."""

    address: str
    sat: int
    depth: int


class Outputs(Protocol):
    """Who can show outputs of the best chain."""

    def output_at(self, txid: str, vout: int) -> PaidOutput | None:
        """The output of a transaction in a block; None if this source can't tell."""


@dataclass(frozen=True, slots=True)
class OnchainPaid:
    """A payout (event id) that the chain proves."""

    payout: str
    txid: str
    vout: int
    depth: int

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return {"payout": self.payout, "txid": self.txid, "vout": self.vout, "depth": self.depth}


def named_address(payout: Payout, event: VerifiedEvent | None) -> str | None:
    """The address that the miner's own settings or withdrawal request name; None if `event` is none of these."""
    if event is None or event.id != payout.to or event.pubkey != payout.miner:
        return None
    try:
        if event.kind == SETTINGS:
            settings = parse_settings(event)
            return settings.body.onchain if settings.pool == payout.pool.pubkey else None
        if event.kind == WITHDRAWAL:
            asked = parse_withdrawal(event)
            return asked.body.destination if asked.body.method == "onchain" and asked.pool == payout.pool else None
    except InvalidPoolEvent:
        return None
    return None


def check_onchain(log: PoolLog, chain: Outputs) -> Iterator[OnchainPaid | Finding]:
    """What the chain says of the log's payouts on it; those that it proves are graded so. Of what it does not show, or
    whose address the miner names in no event that was read, nothing is learnt.
    """
    for _, payout in log.onchain.scan():
        txid, vout = payout.proof["txid"], payout.proof["vout"]
        output = chain.output_at(txid, vout)
        if output is None or output.depth < PAID_DEPTH:
            continue
        address = named_address(payout, log.evidence.get(payout.to))
        if output.sat * 1000 != payout.amount_msat:
            wrong = f"{txid}:{vout} holds {output.sat} sat, the payout is over {payout.amount_msat} msat"
        elif address is not None and not _same(address, output.address):
            wrong = f"{txid}:{vout} pays {output.address or 'no address'}, the miner named {address}"
        else:
            if address is not None:
                log.books.grade(payout.id, payout.method, PROVEN)
                yield OnchainPaid(payout.id, txid, vout, output.depth)
            continue
        log.books.grade(payout.id, payout.method, REFUTED)
        yield finding(Code.PAYOUT_PROOF, wrong, payout.id, miner=payout.miner)


def _same(named: str, shown: str) -> bool:
    """Whether two texts are one address: Bech32 may be in capitals (BIP 173)."""
    return named == shown or (named.isupper() and named.lower() == shown)
