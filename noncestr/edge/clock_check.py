"""How an edge's clock stands against its pool's and its node's, and when it is so far off that it must not mine.

Lanes' times are their edges' clocks: windows are cut by them, statements wait by them, jobs end by them. Times are Unix
ms by our clock, `mono` a monotonic clock in ms. An event comes later than it is dated, never sooner: the quickest of
some shows the clocks best.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from noncestr.edge.watermarks import WARN_PART

# What came within this time is looked at.
SPAN_MS: Final = 120_000
# After a cut relays hand over what is old in one go. That a clock is ahead is believed when several events say so, and
# not all at one time.
MIN_EVENTS: Final = 3
MIN_SPAN_MS: Final = 20_000
# The wall clock against the monotonic one: a greater leap is somebody setting it.
LEAP_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Sample:
    mono: int
    ahead_ms: int


class ClockCheck:
    """What is known of the clock. Differences are ours less theirs: above 0 we are ahead."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()
        self._base: int | None = None
        self._node_ms: int | None = None
        self._warned = False

    def hear_pool(self, created_at: int, now: int, mono: int) -> None:
        """An event that a key of the pool's own host signed has come live; `created_at` in seconds."""
        base = now - mono
        if self._base is None or abs(base - self._base) > LEAP_MS:
            self._samples.clear()
            self._base = base
        self._samples.append(_Sample(mono, now - 1000 * created_at))
        self._forget(mono)

    def hear_node(self, curtime: int, mintime: int, now: int) -> None:
        """A template has come; times in seconds. At its least the time is the chain's, not the node's clock."""
        if curtime > mintime:
            self._node_ms = now - 1000 * curtime

    def _forget(self, mono: int) -> None:
        while self._samples and self._samples[0].mono < mono - SPAN_MS:
            self._samples.popleft()

    @property
    def node_ms(self) -> int | None:
        """Against the node, by the last template; None while not known."""
        return self._node_ms

    def pool_ms(self, mono: int) -> int | None:
        """Against the pool; None while too little has come to say."""
        self._forget(mono)
        if len(self._samples) < MIN_EVENTS or self._samples[-1].mono - self._samples[0].mono < MIN_SPAN_MS:
            return None
        return min(sample.ahead_ms for sample in self._samples)

    def is_off(self, anchor_ms: int, mono: int) -> bool:
        """Whether the clock is known to differ from the pool's by more than `anchor_ms`.

        Within that no share's time is proven anyway (a job's heads may be that old). Beyond it a block's window would
        be cut by more than anybody can check, every statement would wait as long, and from job_ms on jobs under
        replaced terms would be void.
        """
        ahead = self.pool_ms(mono)
        return ahead is not None and abs(ahead) > anchor_ms

    def news(self, anchor_ms: int, mono: int) -> str:
        """What an operator has not been told yet; "" for nothing."""
        ahead = self.pool_ms(mono)
        if ahead is None:
            return ""
        off = abs(ahead) > anchor_ms // WARN_PART
        if off == self._warned:
            return ""
        self._warned = off
        if not off:
            return "the clock agrees with the pool's again"
        way = "ahead of" if ahead > 0 else "behind"
        bound = f"beyond {anchor_ms // 1000} s nobody mines here"
        return f"the clock is {abs(ahead) // 1000} s {way} the pool's: set it; {bound}"

    def plain(self, anchor_ms: int, mono: int) -> dict[str, Any]:
        """For JSON."""
        return {"pool_ms": self.pool_ms(mono), "node_ms": self._node_ms, "bound_ms": anchor_ms}
