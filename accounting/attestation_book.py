"""Miners' attestations (4222) as the relays have them, of the days that a bonus looks back to.

What a statement rests on is put into the accounting's chain (nips.pool.attestation_part); this is where it is found.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

from accounting.schemes.loyalty import DAY_S, REACH_MS
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.attestation import Attestation, parse_attestation
from nips.pool.attestation_part import fits_attestation_part

# Some 2 KB each: a month of 3,000 devices that attest daily.
MAX_KEPT = 100_000
# Looked at for one that can go when there are more.
LOOKED_AT = 100
# Clocks that go ahead, as the web takes them.
MAX_AHEAD_S = 900
SECOND_MS = 1000


class Seen(NamedTuple):
    """An attestation and its event."""

    told: Attestation
    event: VerifiedEvent


class AttestationBook:
    """One attestation of each worker and day, the first that came. `is_whole`: all that the relays had stored did."""

    def __init__(self, pool: PoolAddress, is_miner: Callable[[str], bool], max_kept: int = MAX_KEPT) -> None:
        """`is_miner`: whether a key has mined here. Keys cost nothing: those of strangers go first when there are more
        than `max_kept`.
        """
        self._pool = pool
        self._is_miner = is_miner
        self._max = max_kept
        self.is_whole = False
        # By (miner, worker, day).
        self._seen: dict[tuple[str, str, int], Seen] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def take(self, event: VerifiedEvent, now_ms: int) -> bool:
        """Take an event in at `now_ms`; whether it is the first of its worker and day, and of the last month."""
        try:
            told = parse_attestation(event)
        except InvalidPoolEvent:
            return False
        now_s = now_ms // SECOND_MS
        in_time = now_s - REACH_MS // SECOND_MS <= told.created_at <= now_s + MAX_AHEAD_S
        place = (told.miner, told.body.worker, told.created_at // DAY_S)
        if told.pool != self._pool or not in_time or place in self._seen or not fits_attestation_part(event):
            return False
        self._seen[place] = Seen(told, event)
        while len(self._seen) > self._max:
            self._forget_one()
        return True

    def of(self, miners: Collection[str], days: range) -> list[Seen]:
        """What these miners attested on those days (UTC, since 1970)."""
        return [seen for (miner, _, day), seen in self._seen.items() if day in days and miner in miners]

    def forget(self, first_day: int) -> None:
        """Let go what is older than a day."""
        self._seen = {place: seen for place, seen in self._seen.items() if place[2] >= first_day}

    def _forget_one(self) -> None:
        """Let a stranger's go, else the one that came first."""
        oldest = [place for place, _ in zip(self._seen, range(LOOKED_AT), strict=False)]
        gone = next((place for place in oldest if not self._is_miner(place[0])), oldest[0])
        del self._seen[gone]
