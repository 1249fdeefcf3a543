"""Miners' settings (34216) as the pool has seen them: the newest valid ones of each, and since when money goes where.

What a miner asks to be hidden is not shown, and an address that changed is told with its date, so that a miner whose
key was stolen sees it.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.pool.settings import MAX_AHEAD_S, Settings, SettingsBody, parse_settings

# Miners, and workers that these name, whose settings are kept: some 300 bytes each.
MAX_KEPT = 300_000
# Looked at for one that can go when there are more.
LOOKED_AT = 100
SECOND_MS = 1000


@dataclass(frozen=True, slots=True)
class Known:
    """Settings in force. `destination_ms`: since when (Unix ms) payouts newly created go where they say."""

    settings: Settings
    destination_ms: int


class MinersSettings(Protocol):
    """Who asks for what."""

    def of(self, miner: str) -> Known | None:
        """The settings of a miner (key in hex), None if it has none."""


class NoSettings:
    """Nobody asks for anything."""

    def of(self, miner: str) -> None:
        """None."""


def destination(body: SettingsBody) -> tuple[object, ...]:
    """All of the settings that says where money goes."""
    return body.methods, body.lightning, body.onchain, body.mint


def _rank(settings: Settings) -> tuple[int, int]:
    # Of two with one date the lower id wins (NIP-01).
    return settings.created_at, -int(settings.id, 16)


class SettingsBook:
    """A fold of settings events of one pool (its key in hex). In whatever order they come, the same are in force; only
    `destination_ms` tells what was seen when.
    """

    def __init__(self, pool: str, is_miner: Callable[[str], bool] = lambda _: False, max_kept: int = MAX_KEPT) -> None:
        """`is_miner`: whether a key has mined here. Keys cost nothing: those of strangers go first when there are more
        than `max_kept` miners and workers.
        """
        self._pool = pool
        self._is_miner = is_miner
        self._max = max_kept
        self._kept = 0
        self._known: dict[str, Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Known]:
        return iter(self._known.values())

    def of(self, miner: str) -> Known | None:
        """See `MinersSettings`."""
        return self._known.get(miner)

    def take(self, event: VerifiedEvent, now_ms: int, *, seen_ms: int | None = None) -> Known | None:
        """Take an event in at `now_ms`; the settings if they are in force now and were not before.

        None for what is no settings event for this pool, is older than what is known, or is dated over MAX_AHEAD_S
        ahead. `seen_ms`: when it was seen first, if that was another time.
        """
        try:
            settings = parse_settings(event)
        except InvalidPoolEvent:
            return None
        if settings.pool != self._pool or settings.created_at > now_ms // SECOND_MS + MAX_AHEAD_S:
            return None
        known = self._known.get(settings.miner)
        if known is not None and _rank(settings) <= _rank(known.settings):
            return None
        since = now_ms if seen_ms is None else min(seen_ms, now_ms)
        if known is not None and destination(known.settings.body) == destination(settings.body):
            since = known.destination_ms
        # The private part is the zapper's.
        found = Known(replace(settings, body=replace(settings.body, private="")), since)
        self._drop(settings.miner)
        self._known[settings.miner] = found
        self._kept += _weight(found)
        while self._kept > self._max and len(self._known) > 1:
            self._forget_one()
        return found

    def _drop(self, miner: str) -> None:
        gone = self._known.pop(miner, None)
        self._kept -= 0 if gone is None else _weight(gone)

    def _forget_one(self) -> None:
        """Let a stranger's settings go, else those changed longest ago."""
        oldest = [miner for miner, _ in zip(self._known, range(LOOKED_AT), strict=False)]
        gone = next((miner for miner in oldest if not self._is_miner(miner)), oldest[0])
        for miner in oldest[: oldest.index(gone)]:
            # Looked at last the next time.
            self._known[miner] = self._known.pop(miner)
        self._drop(gone)


def _weight(known: Known) -> int:
    return 1 + len(known.settings.body.workers)


def pseudonym(miner: str, worker: str) -> str:
    """What is shown of a worker whose name stands in the log and is to be hidden: "#" and 8 hex digits."""
    return f"#{hashlib.sha256(f'noncestr/worker/{miner}/{worker}'.encode()).hexdigest()[:8]}"


class ShownWorker(NamedTuple):
    """A worker as others may see it: `name` as receipts write names, `alias` what its owner calls it, or ""."""

    name: str
    alias: str


def shown_worker(known: Known | None, miner: str, worker: str) -> ShownWorker:
    """A worker of the log as it is shown."""
    if known is None:
        return ShownWorker(worker, "")
    body = known.settings.body
    named = body.workers.get(worker)
    name = pseudonym(miner, worker) if body.hides(worker) and not worker.startswith("#") else worker
    return ShownWorker(name, "" if named is None else named.alias)


def told(known: Known | None) -> dict[str, Any] | None:
    """Settings as JSON: what anybody can read in the event, without its private part and what is hidden."""
    if known is None:
        return None
    body = known.settings.body
    return {
        "event": known.settings.id,
        "created_ms": known.settings.created_at * SECOND_MS,
        "methods": list(body.methods),
        "lightning": body.lightning,
        "onchain": body.onchain,
        "mint": body.mint,
        "destination_since_ms": known.destination_ms,
        "minimum_msat": body.minimum_msat,
        "donation_ppm": body.donation_ppm,
        "hide_workers": body.hide_workers,
        "notify": list(body.notify),
    }
