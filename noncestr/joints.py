"""Where two parts meet that know nothing of each other: each class is one part in the shape another asks for."""

import logging
from collections.abc import Sequence

from accounting.service import Accounting
from nips.nip01 import VerifiedEvent
from nips.pool.hashing import display
from relay_bridge.service import RelayBridge
from stratum_edge.errors import SourceUnavailable
from stratum_edge.ports import TemplateSource
from zapper.ports import Owed

logger = logging.getLogger("noncestr")

# What the accounting hears of a block while no node can say: on nobody's word is it matured, or orphaned.
NO_WORD = 0
# The line in a zap names the newest statement only.
NAMED_STATEMENTS = 1


class ChainHeights:
    """The chain as the accounting sees it: it never fails, and decides nothing while no node answers."""

    def __init__(self, chain: TemplateSource) -> None:
        self._chain = chain

    async def confirmations(self, block_hash: bytes) -> int | None:
        """1 for the tip, -1 off the chain, None if unknown; NO_WORD when no node can say."""
        try:
            return await self._chain.confirmations(block_hash)
        except SourceUnavailable as error:
            logger.warning("no word on block %s: %s", display(block_hash), error)
            return NO_WORD

    def height(self) -> int:
        """The height of the newest tip seen; 0 before the first."""
        try:
            return self._chain.tip().height
        except SourceUnavailable:
            return 0


class OwedByAccounting:
    """The accounting as the zapper sees it."""

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting

    async def owed(self) -> Sequence[Owed] | None:
        """Every miner with matured earnings; None before the log is read whole: payouts could be missing in it."""
        if not self._accounting.condition().synced:
            return None
        balances = await self._accounting.balances()
        return [
            Owed(
                miner=miner,
                earned_msat=balance.earned_msat,
                applied=self._accounting.applied_payouts(miner),
                statements=self._accounting.statements_of(miner)[:NAMED_STATEMENTS],
                active_ms=None if (earned := self._accounting.last_earned_s(miner)) is None else earned * 1000,
            )
            for miner, balance in sorted(balances.items())
            if balance.earned_msat > 0
        ]


class ReceiptsToRelays:
    """The demo wallet's zap receipts go where its requests ask: here, the pool's relays."""

    def __init__(self, bridge: RelayBridge) -> None:
        self._bridge = bridge

    async def publish_receipt(self, event: VerifiedEvent, *, relays: Sequence[str]) -> None:  # noqa: ARG002 - the port's
        """Through the pool's own outbox, which holds the same relays."""
        await self._bridge.publish(event)
