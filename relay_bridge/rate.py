"""Token buckets: how often somebody may do something."""

from collections import OrderedDict

# Buckets remembered at a time. A forgotten bucket is a full one, so an attacker with more names than this gains a
# burst a name, which the bucket of the peer's address bounds.
MAX_BUCKETS = 10_000


class TokenBuckets:
    """One bucket a name: `burst` tokens, refilled by one every `refill_ms`. Integers only."""

    def __init__(self, burst: int, refill_ms: int, *, capacity: int = MAX_BUCKETS) -> None:
        self._burst = burst
        self._refill_ms = refill_ms
        self._capacity = capacity
        # Name to the time at which its bucket is full again.
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def take(self, name: str, now_ms: int) -> bool:
        """Take a token; False if the bucket is empty."""
        full_at = max(self._full_at.get(name, now_ms), now_ms) + self._refill_ms
        if full_at - now_ms > self._burst * self._refill_ms:
            return False
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
        return True
