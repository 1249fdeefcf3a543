"""What a reader has taken out of a subscription, on its way to the disk."""

import logging
from collections.abc import Sequence

import anyio

from nips.nip01 import Event, VerifiedEvent
from relay_bridge.adapters.arrival_store import Arrivals
from relay_bridge.chains import ChainWatch
from relay_bridge.errors import StoreError

_log = logging.getLogger("relay_bridge")
# What was taken since the last write comes once more after a crash; readers fold idempotently.
WRITE_SECONDS = 0.5
# Or so many, whichever comes first: a first reading of a long log.
WRITE_EVENTS = 2_000


class Taken:
    """The state of one durable reader. `cursors`: by relay, the newest created_at up to which it has given all."""

    def __init__(self, arrivals: Arrivals, watch: ChainWatch | None) -> None:
        self._arrivals = arrivals
        self._watch = watch
        self.cursors: dict[str, int] = {}
        # Received and not yet taken: created_at by id. A cursor must not pass the oldest of them.
        self._waiting: dict[str, int] = {}
        # Handed out to a reader that says so by asking for the next.
        self._current: VerifiedEvent | None = None
        self._unwritten: list[VerifiedEvent] = []
        self._many = anyio.Event()

    async def load(self) -> None:
        """Take up the chains where the last reader was."""
        if self._watch is not None:
            self._watch.restore(await self._arrivals.load_chains())

    async def not_taken(self, events: Sequence[Event]) -> list[Event]:
        """Those that no reader of this name has taken."""
        known = await self._arrivals.known(events) if events else set()
        return [event for event in events if event.id not in known]

    def received(self, events: Sequence[VerifiedEvent]) -> None:
        """These will be handed out."""
        for event in events:
            self._waiting[event.id] = event.created_at

    def handed_out(self, event: VerifiedEvent) -> None:
        """The reader works on it."""
        self._current = event

    def done(self) -> None:
        """The reader is done with the last one handed out."""
        event, self._current = self._current, None
        if event is not None:
            self.stored(event)

    def stored(self, event: VerifiedEvent) -> None:
        """The reader says that an event is on its disk."""
        if self._waiting.pop(event.id, None) is not None:
            self._unwritten.append(event)
            if len(self._unwritten) >= WRITE_EVENTS:
                self._many.set()

    async def run(self) -> None:
        """Write until cancelled, and once more then."""
        try:
            while True:
                with anyio.move_on_after(WRITE_SECONDS):
                    await self._many.wait()
                await self._write()
        finally:
            with anyio.CancelScope(shield=True):
                await self._write()

    async def _write(self) -> None:
        self._many = anyio.Event()
        events, self._unwritten = self._unwritten, []
        oldest = min(self._waiting.values(), default=None)
        # What was current or waits has not been taken: chains and cursors must not say that it was.
        at_rest = self._current is None and not self._waiting
        try:
            if events:
                await self._arrivals.add(events)
            for relay, newest in self.cursors.items():
                await self._arrivals.set_cursor(relay, newest if oldest is None else min(newest, oldest))
            if events and at_rest and self._watch is not None:
                await self._arrivals.save_chains(self._watch.snapshot())
        except StoreError as error:
            self._unwritten[:0] = events
            _log.error("what was read can't be noted, trying again: %s", error)
