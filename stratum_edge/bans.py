"""Bans: households kept out for a while, because too many of their connections had to be ended.

Times are Unix ms. A ban of a household that was banned lately lasts twice as long as its last, up to MAX_BAN_MS.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from stratum_edge.households import Network, household, is_trusted

# Addresses change hands about daily (leases, shared carrier addresses): longer would hit somebody else.
MAX_BAN_MS: Final = 24 * 3600 * 1000
# So long after its end a ban still makes the next one longer.
MEMORY_MS: Final = 24 * 3600 * 1000
# Households a lane has banned at a time; the ban that ends first makes room. About 1 MB in memory and on disk.
MAX_BANS: Final = 4096
# Households with a strike within the window; who was struck longest ago makes room.
MAX_STRUCK: Final = 8192
# A reason is shown in a table.
MAX_REASON: Final = 120


class Ban(msgspec.Struct, frozen=True):
    """One household kept out: since when, until when, why; `strikes` led to it, and it is the `times`-th in a row."""

    address: str
    since: int
    until: int
    reason: str
    strikes: int = 1
    times: int = 1

    def holds(self, now: int) -> bool:
        """Whether it is in force. One that ends further ahead than any may was made by a clock that was wrong."""
        return now < self.until <= now + MAX_BAN_MS

    def counts(self, now: int) -> bool:
        """Whether it is in force or still remembered."""
        return self.until + MEMORY_MS > now and self.until <= now + MAX_BAN_MS


class Clears(msgspec.Struct, frozen=True):
    """When the operator lifted bans: of all, or of single households. A ban made before is void."""

    all: int = 0
    addresses: dict[str, int] = {}

    def void(self, ban: Ban) -> bool:
        """Whether the ban was lifted."""
        return ban.since <= max(self.all, self.addresses.get(ban.address, 0))

    def add(self, address: str | None, now: int) -> "Clears":
        """With a household (None: all) cleared at `now`; what is too old to matter to any ban is left out."""
        if address is None:
            return Clears(now, {})
        kept = {key: at for key, at in self.addresses.items() if at + MAX_BAN_MS + MEMORY_MS > now}
        return Clears(self.all, {**kept, address: now})


class BanRule(msgspec.Struct, frozen=True):
    """So many strikes within a window ban for `ban_ms` the first time."""

    strikes: int
    window_ms: int
    ban_ms: int


def ban_length(rule: BanRule, times: int) -> int:
    """How long the `times`-th ban in a row lasts, ms."""
    return min(rule.ban_ms << min(times - 1, 32), MAX_BAN_MS)


class BanBook:
    """What one lane knows of bans: its own, those of the other lanes, what was cleared, and who was struck lately."""

    def __init__(self, own: Iterable[Ban] = (), trusted: tuple[Network, ...] = ()) -> None:
        self.trusted = trusted
        self._own = {ban.address: ban for ban in own}
        self._others: dict[str, Ban] = {}
        self._struck: dict[str, list[int]] = {}

    def until(self, address: str, now: int) -> int:
        """When the ban on a peer's address ends; 0 when there is none."""
        if not self._own and not self._others:
            return 0
        key = household(address)
        ends = [ban.until for ban in (self._own.get(key), self._others.get(key)) if ban is not None and ban.holds(now)]
        return max(ends) if ends and not is_trusted(address, self.trusted) else 0

    def strike(self, address: str, now: int, rule: BanRule, reason: str) -> Ban | None:
        """A connection of the address had to be ended; the ban this brings, if it does."""
        if is_trusted(address, self.trusted):
            return None
        key = household(address)
        times = [at for at in self._struck.pop(key, []) if now - rule.window_ms < at <= now]
        times.append(now)
        if len(times) < rule.strikes:
            self._struck[key] = times
            if len(self._struck) > MAX_STRUCK:
                del self._struck[next(iter(self._struck))]
            return None
        earlier = [
            ban.times for ban in (self._own.get(key), self._others.get(key)) if ban is not None and ban.counts(now)
        ]
        nth = max(earlier, default=0) + 1
        ban = Ban(key, now, now + ban_length(rule, nth), reason[:MAX_REASON], len(times), nth)
        self._own.pop(key, None)
        self._own[key] = ban
        if len(self._own) > MAX_BANS:
            del self._own[min(self._own, key=lambda other: self._own[other].until)]
        return ban

    def learn(self, others: Iterable[Ban], clears: Clears) -> bool:
        """Take in what the other lanes banned and what was cleared; True when a ban of our own was lifted by it."""
        self._others = _longest(others, clears)
        lifted = [key for key, ban in self._own.items() if clears.void(ban)]
        for key in lifted:
            del self._own[key]
        return bool(lifted)

    def own(self, now: int) -> list[Ban]:
        """This lane's bans that hold or are remembered, oldest first; others are forgotten."""
        self._own = {key: ban for key, ban in self._own.items() if ban.counts(now)}
        return list(self._own.values())


def _longest(bans: Iterable[Ban], clears: Clears) -> dict[str, Ban]:
    """By household, of the bans that were not lifted, the one that ends last."""
    found: dict[str, Ban] = {}
    for ban in bans:
        known = found.get(ban.address)
        if not clears.void(ban) and (known is None or ban.until > known.until):
            found[ban.address] = ban
    return found


def in_force(bans: Iterable[Ban], clears: Clears, now: int) -> list[Ban]:
    """The bans of all lanes that hold, one a household, the first to end first."""
    holding = _longest((ban for ban in bans if ban.holds(now)), clears)
    return sorted(holding.values(), key=lambda ban: (ban.until, ban.address))
