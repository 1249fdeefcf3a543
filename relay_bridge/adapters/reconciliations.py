"""The relay's side of NIP-77: sets of records held for clients that compare theirs with ours."""

from collections import Counter
from collections.abc import Callable

import anyio
import anyio.to_thread

from nips.negentropy import InvalidNegentropy, RecordSet, Responder
from nips.nip77 import NegClose, NegError, NegMessage, NegOpen
from relay_bridge.errors import StoreError, TooManyRecords
from relay_bridge.ports import EventStore

# Records of one reconciliation: some 120 bytes each while it lasts, 60 MB. The pool's own readers ask by the day, which
# is 90,000 events of a pool of 10,000 miners.
MAX_RECORDS = 500_000
# Reconciliations of one connection at a time, and of all: 250 MB at worst.
MAX_OPEN = 2
MAX_OPEN_ALL = 4
# A client that says nothing for so long has forgotten; its place goes to the next who asks.
IDLE_MS = 60_000
_ALL = "open"


class Reconciliations:
    """Those of one connection. `opened` counts them over all connections, under "open"."""

    def __init__(self, store: EventStore, opened: Counter[str], clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._opened = opened
        self._clock_ms = clock_ms
        self._responders: dict[str, Responder] = {}
        self._heard_ms: dict[str, int] = {}
        self._turn = anyio.Lock()

    async def receive(self, message: NegOpen | NegMessage | NegClose) -> NegMessage | NegError | None:
        """What to answer; messages are taken one after the other."""
        async with self._turn:
            match message:
                case NegOpen():
                    return await self._open(message)
                case NegMessage(sub_id, data):
                    return await self._go_on(sub_id, data)
                case NegClose(sub_id):
                    self._drop(sub_id)
                    return None

    def end(self) -> None:
        """The connection is over."""
        for sub_id in list(self._responders):
            self._drop(sub_id)

    async def _open(self, message: NegOpen) -> NegMessage | NegError:
        # "If a NEG-OPEN is issued for a currently open subscription ID, the existing subscription is first closed."
        self._drop(message.sub_id)
        now_ms = self._clock_ms()
        for sub_id in [each for each, heard_ms in self._heard_ms.items() if now_ms - heard_ms > IDLE_MS]:
            self._drop(sub_id)
        if len(self._responders) >= MAX_OPEN or self._opened[_ALL] >= MAX_OPEN_ALL:
            return NegError(message.sub_id, "blocked: too many reconciliations are open, try again later")
        self._opened[_ALL] += 1
        try:
            records = await self._store.records(message.filter, most=MAX_RECORDS)
            responder = await anyio.to_thread.run_sync(lambda: Responder(RecordSet(records)))
        except TooManyRecords:
            self._opened[_ALL] -= 1
            return NegError(message.sub_id, "blocked: this query is too big", MAX_RECORDS)
        except StoreError:
            self._opened[_ALL] -= 1
            return NegError(message.sub_id, "error: the store failed or took too long, ask for less")
        except BaseException:
            self._opened[_ALL] -= 1
            raise
        self._responders[message.sub_id] = responder
        return await self._go_on(message.sub_id, message.message)

    async def _go_on(self, sub_id: str, data: bytes) -> NegMessage | NegError:
        responder = self._responders.get(sub_id)
        if responder is None:
            return NegError(sub_id, "closed: there is no such reconciliation, or you were silent for too long")
        self._heard_ms[sub_id] = self._clock_ms()
        try:
            # Fingerprints over half a million records take a while: not on the loop.
            return NegMessage(sub_id, await anyio.to_thread.run_sync(responder.answer, data))
        except InvalidNegentropy as error:
            self._drop(sub_id)
            return NegError(sub_id, f"invalid: {error}")

    def _drop(self, sub_id: str) -> None:
        if self._responders.pop(sub_id, None) is not None:
            self._opened[_ALL] -= 1
            self._heard_ms.pop(sub_id, None)
