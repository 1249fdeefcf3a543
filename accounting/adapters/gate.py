"""What of the relays' deliveries gets into the store (accounting.strangers), and what is said to be held."""

import logging
from collections.abc import Iterable
from typing import Protocol

from accounting.log import PoolLog
from accounting.ports import Held
from accounting.strangers import LetGo, sift
from nips.nip01 import VerifiedEvent

logger = logging.getLogger("accounting.service")


class GateStore(Protocol):
    """The disk, as the gate needs it. Raises StoreError."""

    async def let_go(self) -> LetGo:
        """What was let go so far."""

    async def set_let_go(self, told: LetGo) -> None:
        """Put this in its place."""

    async def count(self) -> int:
        """How many events are stored."""

    async def newest_second(self) -> int:
        """The newest created_at stored."""


class Gate:
    """Asked before events are stored. Everything raises StoreError."""

    def __init__(self) -> None:
        self._told = LetGo()

    async def load(self, store: GateStore) -> None:
        """Take up what the store says."""
        self._told = await store.let_go()

    async def sift(self, store: GateStore, log: PoolLog, events: Iterable[VerifiedEvent]) -> list[VerifiedEvent]:
        """The events that are to be stored; the others are noted as let go."""
        sifted = sift(log, events)
        if sifted.let_go:
            await self._set(store, self._told.plus(sifted.let_go, len(log.terms.all_keys())))
        return sifted.kept

    async def asks_again(self, store: GateStore, log: PoolLog) -> bool:
        """Whether the relays' log is to be read from its beginning, since terms gave a new key a role."""
        if not self._told.missed(len(log.terms.all_keys())):
            return False
        logger.warning("terms name a new key: %d events that were let go are asked for again", self._told.events)
        await self._set(store, LetGo(again=True))
        return True

    async def held(self, store: GateStore) -> Held:
        """What is on our disk, as the feed counts it: with what was let go. Nothing if all is to come again."""
        if self._told.again:
            return Held(0, 0)
        events, newest_s = await store.count(), await store.newest_second()
        return Held(events + self._told.events, max(newest_s, self._told.newest_s))

    async def begun(self, store: GateStore) -> None:
        """The feed was told what is `held`."""
        if self._told.again:
            await self._set(store, self._told._replace(again=False))

    async def _set(self, store: GateStore, told: LetGo) -> None:
        # In memory first: tasks share it, and the last to write has seen what the others did.
        self._told = told
        await store.set_let_go(told)
