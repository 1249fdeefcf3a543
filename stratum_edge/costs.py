"""What misbehaviour costs a connection: patience, in milliseconds of behaving well.

A peer's debt shrinks by one millisecond a millisecond. Above SOFT_LIMIT_MS it is read from only now and then, at
HARD_LIMIT_MS it is let go. A miner with a bad chip or an odd firmware stays far below the soft limit; a flood of
garbage ends within 25 lines. Stale shares cost nothing: they are the network's doing.
"""

from enum import IntEnum
from typing import Final

# What each misbehaviour costs, and why that much.
# More bytes than any request has: on purpose, or not a miner at all. Five in a row end it.
OVERSIZE_LINE_MS: Final = 10_000
# A key that is no npub, another npub: a misconfigured miner tries again every few seconds and must see the answer.
UNAUTHORIZED_MS: Final = 4_000
# Not JSON, wrong types: 25 in a row are no miner; one every two seconds may go on for ever.
BAD_LINE_MS: Final = 2_000
# A wish that changes the difficulty makes a job of its own, kept for twenty minutes; honest miners have two or three.
WISH_MS: Final = 2_000
# A low or duplicate share costs us a hash: two a second may go on for ever, 125 at once end it.
BAD_SHARE_MS: Final = 400
# Firmwares ask for all sorts of things, each once: 250 at once are a flood.
UNKNOWN_METHOD_MS: Final = 200
# A configure, an extranonce.subscribe or a wish that changes nothing; a subscribe or authorize said again: some clients
# say each twice, none says it five times a second.
REPEATED_REQUEST_MS: Final = 200
# A ping every few seconds is usual; twenty a second may go on for ever.
PING_MS: Final = 50
# Lines that ask for nothing (empty, a pong, a reply to no question): cheap, but not free in millions.
IDLE_LINE_MS: Final = 10

# From here on the peer is read from for a moment in every PAUSE_MS: it costs little and is not lost.
SOFT_LIMIT_MS: Final = 25_000
# From here on it is let go.
HARD_LIMIT_MS: Final = 50_000
# As long as a throttled peer is not read from; short of any firmware's timeout for an answer (ESP-Miner: 3 s).
PAUSE_MS: Final = 1_000


class Standing(IntEnum):
    """What becomes of a peer after it paid."""

    OK = 0
    THROTTLE = 1
    CLOSE = 2


# When a peer that reached the hard limit is even again.
_NEVER: Final = 1 << 62


class Meter:
    """The debt of one connection: a moment (monotonic ms) at which it will have behaved well for long enough. Who once
    reached the hard limit stays there.
    """

    __slots__ = ("_even_at",)

    def __init__(self) -> None:
        self._even_at = 0

    def pay(self, cost: int, mono: int) -> Standing:
        """Charge `cost` (ms of patience) at `mono` (monotonic ms)."""
        self._even_at = max(self._even_at, mono) + cost
        standing = self.standing(mono)
        if standing is Standing.CLOSE:
            self._even_at = _NEVER
        return standing

    def debt(self, mono: int) -> int:
        """Milliseconds of good behaviour owed."""
        return max(0, self._even_at - mono)

    def standing(self, mono: int) -> Standing:
        """What the debt means now; it gets better by itself."""
        debt = self._even_at - mono
        if debt >= HARD_LIMIT_MS:
            return Standing.CLOSE
        if debt >= SOFT_LIMIT_MS:
            return Standing.THROTTLE
        return Standing.OK
