"""What the accounting reads from the relays: the pool's log, and the zap receipts that payouts name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType

import anyio

from accounting.ports import EventFeed, Held
from nips.nip01 import VerifiedEvent, make_filter
from nips.nip57 import ZAP_RECEIPT
from nips.pool.address import PoolAddress
from nips.pool.kinds import ATTESTATION, LEDGER_KINDS

# Deliveries read ahead of the fold: more would only wait in memory instead of at the relay.
QUEUE = 1000
# A step takes events up to about one full receipt's bytes, so that hashing never holds the loop for long.
STEP_BYTES = 64 * 1024
STEP_EVENTS = 200
# The feed knows by it what we have stored.
NAME = "accounting"
ATTESTATIONS = "attestations"
# After a failure of disk or relays.
RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class Found:
    """An event that was asked for, in the shape of a delivery."""

    event: VerifiedEvent


class Intake:
    """Deliveries on their way to the fold. Use as a context manager around the tasks that fill and empty it."""

    def __init__(self, feed: EventFeed, pool: PoolAddress, trouble: Callable[[str], None], tick_s: float) -> None:
        """`trouble` is told what went wrong; `tick_s`: how long `next_items` waits, and between two looks at what is
        wanted.
        """
        self._feed = feed
        self._pool = pool
        self._trouble = trouble
        self._tick_s = tick_s
        self._following: anyio.CancelScope | None = None
        self._send, self._receive = anyio.create_memory_object_stream[object](QUEUE)

    def __enter__(self) -> "Intake":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._send.close()
        self._receive.close()

    async def follow(self, held: Callable[[], Awaitable[Held]], begun: Callable[[], Awaitable[None]]) -> None:
        """Read what of the log is not on our disk, until cancelled. `held` tells what is; `begun` hears that the feed
        knows.
        """
        asked = make_filter(kinds=LEDGER_KINDS, tags={"a": [str(self._pool)]})
        while True:
            with anyio.CancelScope() as self._following:
                try:
                    async with self._feed.subscribe([asked], name=NAME, held=await held()) as deliveries:
                        await begun()
                        async for item in deliveries:
                            await self._send.send(item)
                    self._trouble("the subscription ended")
                except Exception as error:  # relays come and go: the books outlive every one of them
                    self._trouble(f"the subscription broke: {error!r}")
                await anyio.sleep(RETRY_S)

    def follow_anew(self) -> None:
        """Tell the feed once more what is held: deliveries that were not taken so far come again."""
        if self._following is not None:
            self._following.cancel()

    async def seek_receipts(self, due: Callable[[], list[str]]) -> None:
        """Ask for the zap receipts that payouts name: they carry no address of the pool, so that nobody sends them.
        `due` gives the ids to ask for now.
        """
        while True:
            await anyio.sleep(self._tick_s)
            wanted = due()
            if not wanted:
                continue
            try:
                for event in await self._feed.fetch([make_filter(ids=wanted, kinds=[ZAP_RECEIPT])]):
                    await self._send.send(Found(event))
            except Exception as error:  # they are asked for again, and nothing hangs on them but a payout's grade
                self._trouble(f"zap receipts could not be asked for: {error!r}")

    async def follow_attestations(
        self, since: Callable[[], int | None], take: Callable[[VerifiedEvent | None], None]
    ) -> None:
        """Read what miners attest, until cancelled. `since` (Unix s): from when on, None as long as it is not wanted;
        `take` is given None when all that was stored came, or none can be asked.
        """
        while True:
            first = since()
            if first is not None:
                asked = make_filter(kinds=[ATTESTATION], tags={"a": [str(self._pool)]}, since=first)
                try:
                    async with self._feed.subscribe([asked], name=ATTESTATIONS) as deliveries:
                        async for item in deliveries:
                            take(getattr(item, "event", None))
                except Exception as error:  # relays come and go: what was seen counts meanwhile
                    self._trouble(f"attestations can't be followed just now: {error!r}")
                take(None)
            await anyio.sleep(RETRY_S)

    async def next_items(self) -> list[object]:
        """The deliveries of the next step; none if none came within `tick_s`."""
        items: list[object] = []
        size = 0
        with anyio.move_on_after(self._tick_s):
            items.append(await self._receive.receive())
        while items and len(items) < STEP_EVENTS:
            event = getattr(items[-1], "event", None)
            size += len(event.content) if event is not None else STEP_BYTES
            if size >= STEP_BYTES:
                break
            try:
                items.append(self._receive.receive_nowait())
            except anyio.WouldBlock:
                break
        return items
