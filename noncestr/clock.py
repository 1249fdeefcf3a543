"""The wall clock, as the services take it."""

import time


class WallClock:
    """Unix time of this machine."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000
