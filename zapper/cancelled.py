"""Batches that were cancelled and sent all the same: found on the chain, counted as paid, and told.

A batch that was cancelled on the operator's word may have been signed after all; its txid is known, and the node's
wallet is asked about it before every round. What it pays is then no longer due, whoever sent it.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from zapper.errors import Conflict
from zapper.funding import Batch, batch_of, payload_of
from zapper.payout import Intent
from zapper.plan import OURS

log = logging.getLogger("zapper")

# How the reason of every cancelled payout begins: the store looks for it.
CANCELLED = "cancelled"
SENT = "its batch was cancelled, and sent all the same"
NOT_ASKED = f"{OURS}whether a cancelled batch that pays it was sent can't be asked just now"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a batch: `raw`, the transaction in hex if it was sent and stands, else ""; `dead`: another
    transaction has spent a coin of it.
    """

    raw: str
    dead: bool


@runtime_checkable
class FateRail(Protocol):
    """A rail whose batches outlive their cancelling."""

    async def fate(self, batch: Batch) -> Fate:
        """By the node's wallet. Raises any Exception when that is away."""


class Cancelled(Protocol):
    """The intent store, as far as this goes."""

    async def cancelled(self) -> list[Intent]:
        """Payouts whose batch was cancelled, oldest first."""

    async def note_sent(self, txid: str, now_ms: int) -> None:
        """A cancelled batch was found sent. The first time counts."""

    async def revive(self, seen: Intent, payload: str, reason: str, now_ms: int) -> bool:
        """A cancelled payout that was sent is under way again; False if another payout was settled by the same output.
        Raises Conflict: its miner has another one open.
        """


class CancelledBatches:
    """`rails`: by 4215's word for the method; `clock` gives Unix ms."""

    def __init__(self, store: Cancelled, rails: Mapping[str, object], clock: Callable[[], int]) -> None:
        self._store = store
        self._rails = rails
        self._clock = clock
        # By txid; asked again all the same, since a chain may turn.
        self._dead: set[str] = set()
        self._told: set[str] = set()

    async def look(self) -> dict[str, str]:
        """Take up what was sent; miner -> why it is not to be paid before that is known. Raises what the store does."""
        batches: dict[str, list[Intent]] = {}
        for intent in await self._store.cancelled():
            batches.setdefault(batch_of(intent).txid, []).append(intent)
        held: dict[str, str] = {}
        for txid, intents in batches.items():
            rail = self._rails.get(intents[0].method)
            if not isinstance(rail, FateRail):
                # A pool that pays on chain no more: there is nobody to ask.
                continue
            try:
                fate = await rail.fate(batch_of(intents[0]))
            except Exception as error:  # a node that is away: these wait, nobody else does
                log.warning("whether the cancelled batch %s was sent is not known: %s", txid, error)
                if txid not in self._dead:
                    held |= {intent.miner: NOT_ASKED for intent in intents}
                continue
            (self._dead.add if fate.dead else self._dead.discard)(txid)
            if fate.raw:
                await self._revive(txid, intents, fate.raw)
        return held

    async def _revive(self, txid: str, intents: list[Intent], raw: str) -> None:
        # Written down first: a kill after the last payout was taken up would else keep it from the operator.
        await self._store.note_sent(txid, self._clock())
        if txid not in self._told:
            self._told.add(txid)
            log.error("batch %s was cancelled, and sent all the same: what it pays counts as paid", txid)
        for intent in intents:
            try:
                payload = payload_of(replace(batch_of(intent), raw=raw))
                await self._store.revive(intent, payload, SENT, self._clock())
            except Conflict as error:
                # It has another payout under way; once that has ended this one is taken up.
                log.warning("payout %s waits to be counted: %s", intent.payout_id, error)
