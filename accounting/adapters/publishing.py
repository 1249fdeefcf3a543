"""From the accounting's file to the relays: its chain, each event in its turn, and balances and statistics as due."""

from collections.abc import Callable

import anyio

from accounting import ownchain
from accounting.adapters.database import reason_of
from accounting.adapters.intake import RETRY_S
from accounting.adapters.store import AccountingStore, StoredView
from accounting.ports import EventFeed
from accounting.signing import OwnChain
from accounting.views import View


class Publisher:
    """Hands what was signed to the feed. What it has not taken stays on the disk, and is tried again."""

    def __init__(self, feed: EventFeed, own: OwnChain, trouble: Callable[[str], None]) -> None:
        """`trouble` is told what went wrong."""
        self._feed = feed
        self._own = own
        self._trouble = trouble
        self._unsent = anyio.Event()
        # Events of our chain that the feed has not taken yet.
        self.unpublished = 0

    def wake(self, more: int = 0) -> None:
        """So many `more` events were committed, or what keeps the chain back may have gone."""
        self.unpublished += more
        self._unsent.set()

    async def publish_chain(self, store: AccountingStore) -> None:
        """Hand our chain's events to the feed, in order, until it has taken each. Until cancelled."""
        while True:
            self._unsent = anyio.Event()
            try:
                unpublished = await store.unpublished() if self._own.recovered else []
                self.unpublished = len(unpublished)
                for event in unpublished:
                    await self._feed.publish(event, chain=f"{self._own.signer.pubkey}/{ownchain.NAME}")
                    await store.mark_published(event)
                    self.unpublished -= 1
            except Exception as error:  # the events stay where they are and are tried again
                self._trouble(f"publishing failed: {reason_of(error)}")
                await anyio.sleep(RETRY_S)
                continue
            await self._unsent.wait()

    async def publish_views(self, store: AccountingStore, due: Callable[[], list[View]], tick_s: float) -> None:
        """Sign and publish the balances and statistics that are due, looking every `tick_s`. Until cancelled."""
        while True:
            await anyio.sleep(tick_s)
            views = due()
            if not views:
                continue
            try:
                for view in views:
                    await self._feed.publish(await self._own.signer.sign(view.unsigned))
                await store.add_views({view.address: StoredView(view.created_at, view.says) for view in views})
            except Exception as error:  # views only repeat the log: the next ones say the same and more
                self._trouble(f"publishing a view failed: {reason_of(error)}")
