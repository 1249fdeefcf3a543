"""The chain of payout records: receipts waited for; records signed, stored, published in order, compared at start."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import replace

from nips.keys import Signer
from nips.nip01 import VerifiedEvent, make_filter
from nips.nip57 import ZAP_RECEIPT
from nips.pool.kinds import PAYOUT
from zapper.config import ZapperConfig
from zapper.errors import Conflict
from zapper.payout import Intent
from zapper.ports import EventFeed, IntentStore
from zapper.rails import Rail
from zapper.record import check_chain, is_receipt, payout_record

log = logging.getLogger("zapper")

# The chain of payout records, by its name in the protocol.
CHAIN = "payouts"
# A relay may hand out a receipt dated a little before our clock's time of the request.
RECEIPT_SKEW_S = 600
# How many of our newest records are compared with the store: what one query to any relay brings.
COMPARED_RECORDS = 500


class Recorder:
    """Records what settled. `clock` gives Unix ms; `one_at_a_time` is a lock; `patience(seconds)` a context that leaves
    its block when that takes longer.
    """

    def __init__(
        self,
        config: ZapperConfig,
        *,
        signer: Signer,
        store: IntentStore,
        rails: Mapping[str, Rail],
        feed: EventFeed,
        clock: Callable[[], int],
        one_at_a_time: AbstractAsyncContextManager[object],
        patience: Callable[[float], AbstractContextManager[object]],
    ) -> None:
        self._config = config
        self._signer = signer
        self._store = store
        self._rails = rails
        self._feed = feed
        self._clock = clock
        self._one_at_a_time = one_at_a_time
        self._patience = patience

    async def record(self, intent: Intent) -> None:
        """Sign and store the record as the chain's next, then hand over what the relays have not got.

        Raises Conflict when no rail of today can say what proves the payment: it is recorded once one can.
        """
        rail = self._rails.get(intent.method)
        if rail is None:
            raise Conflict(f"payout {intent.payout_id} went by {intent.method}, which is not configured any more")
        async with self._one_at_a_time:
            head = await self._store.chain_head(self._signer.pubkey)
            now_s = self._clock() // 1000
            seq, unsigned = payout_record(self._config.pool, intent, rail.proof(intent), head, now_s=now_s)
            await self._store.append_record(intent.payout_id, seq, self._signer.sign(unsigned))
            await self._publish()

    async def publish(self) -> None:
        """Hand over the records not yet handed over, in order."""
        async with self._one_at_a_time:
            await self._publish()

    async def _publish(self) -> None:
        for event in await self._store.unpublished():
            try:
                await self._feed.publish(event, chain=CHAIN)
            except Exception as error:  # the bridge's own: the next reconciliation tries again
                log.warning("payout record %s is not published yet: %s", event.id, error)
                return
            await self._store.mark_published(event.id)

    async def with_receipt(self, intent: Intent) -> Intent:
        """The payout with its zap receipt's id, if one comes in time: the record does not depend on it."""
        if intent.zap_request is None or intent.provider is None or intent.receipt is not None:
            return intent
        wanted = make_filter(
            authors=[intent.provider],
            kinds=[ZAP_RECEIPT],
            tags={"p": [intent.miner]},
            since=max(0, intent.created_ms // 1000 - RECEIPT_SKEW_S),
        )
        receipt: str | None = None
        try:
            with self._patience(self._config.receipt_wait_s):
                async with self._feed.subscribe([wanted], name=f"receipt-{intent.payout_id[:16]}") as events:
                    async for item in events:
                        event = getattr(item, "event", None)
                        if isinstance(event, VerifiedEvent) and is_receipt(event, intent):
                            receipt = event.id
                            break
        except Exception as error:  # relays come and go: the payment is made all the same
            log.warning("no receipt of payout %s: %s", intent.payout_id, error)
        if receipt is None:
            return intent
        await self._store.set_receipt(intent.payout_id, receipt)
        return replace(intent, receipt=receipt)

    async def compare(self) -> None:
        """Hold the records on the relays against the store, those of the keys the zapper had before too: a store older
        than they are must not pay.

        Raises StoreBehind; an Exception of the feed's own when no relay answered.
        """
        tags = {"a": [str(self._config.pool)]}
        for signer in dict.fromkeys((self._signer.pubkey, *await self._store.signers())):
            wanted = make_filter(authors=[signer], kinds=[PAYOUT], tags=tags, limit=COMPARED_RECORDS)
            events = await self._feed.fetch([wanted], timeout_s=self._config.fetch_timeout_s)
            check_chain(events, await self._store.chain_head(signer))

    async def former_keys(self) -> tuple[str, ...]:
        """Keys (hex) other than ours that this store's payouts were recorded by."""
        return tuple(key for key in await self._store.signers() if key != self._signer.pubkey)
