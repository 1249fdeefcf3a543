"""Zap receipts that payout records name and that were not read: asked for by id, less and less often, then given up.

They are the recipients' providers' events (NIP-57), carry no address of the pool, and often come late or never. A
payout stays *claimed* until its receipt is there.
"""

from dataclasses import dataclass, field

# Providers publish a receipt within seconds; the first look is soon, the last ones are for relays that were away.
FIRST_MS = 15_000
LONGEST_MS = 6 * 3_600_000
# A receipt that nobody had for so long is asked for again at the next start only.
GIVE_UP_MS = 7 * 24 * 3_600_000
# Ids a question: relays bound a filter's size.
MOST_AT_ONCE = 400


@dataclass(slots=True)
class Wanted:
    """What to ask for and when. Times are Unix ms."""

    # id -> when it was first wanted (0 until it was asked for), when it is due, how long to wait then.
    _wanted: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._wanted)

    def want(self, receipt: str) -> None:
        """A payout names it."""
        self._wanted.setdefault(receipt, (0, 0, FIRST_MS))

    def found(self, receipt: str) -> None:
        """It was read."""
        self._wanted.pop(receipt, None)

    def due(self, now_ms: int) -> list[str]:
        """The ids to ask for now, MOST_AT_ONCE at most; they count as asked."""
        due = [receipt for receipt, (_, at, _) in self._wanted.items() if at <= now_ms][:MOST_AT_ONCE]
        for receipt in due:
            since, _, wait = self._wanted[receipt]
            since = since or now_ms
            if now_ms >= since + GIVE_UP_MS:
                del self._wanted[receipt]
            else:
                self._wanted[receipt] = (since, now_ms + wait, min(2 * wait, LONGEST_MS))
        return due
