"""How long to wait before trying a relay again."""

# The first wait; a relay that restarts is back within a second or two.
FIRST_MS = 250
# The longest; a relay that was down for a night is found again within a minute.
LONGEST_MS = 60_000
# A connection that lived this long was a good one: the next wait is the first again.
GOOD_MS = 10_000


class Backoff:
    """Waits that double, each drawn from its upper half so that clients do not return in step."""

    def __init__(self) -> None:
        self._next_ms = FIRST_MS

    def wait_ms(self, chance: float) -> int:
        """The next wait; `chance` is uniform in [0, 1)."""
        wait = self._next_ms
        self._next_ms = min(wait * 2, LONGEST_MS)
        return wait // 2 + int(chance * (wait // 2))

    def succeeded(self, lived_ms: int) -> None:
        """A connection ended after so long."""
        if lived_ms >= GOOD_MS:
            self._next_ms = FIRST_MS
