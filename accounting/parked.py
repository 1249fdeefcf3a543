"""Events that carry the pool's name and that no key of the pool signed, so far."""

from collections.abc import Iterator

from accounting.shelves import Shelf, Shelves
from nips.nip01 import VerifiedEvent

# Anybody can sign such events, of up to 60 KB; but terms that give their key a role may be read after them. So much is
# kept, an edge's first day, and no more: when terms give a new key a role though something was let go, the log is to be
# read again, its terms first.
MAX_PARKED = 10_000


class Parked:
    """What waits for a role of its key. `let_go` counts what was not kept."""

    def __init__(self, shelves: Shelves) -> None:
        # By `<key>/<date>/<id>`.
        self._events: Shelf[VerifiedEvent] = shelves.open("parked")
        # How many these are, once it was asked: a shelf on disk looks at all of them.
        self._count: int | None = None
        self.let_go = 0

    def __len__(self) -> int:
        """How many are kept."""
        if self._count is None:
            self._count = len(self._events)
        return self._count

    def ids(self) -> Iterator[str]:
        """Of what is kept."""
        return (key.rpartition("/")[2] for key in self._events)

    def put(self, event: VerifiedEvent) -> bool:
        """Keep an event. False, and it is let go, if too many are kept."""
        if len(self) >= MAX_PARKED:
            self.let_go += 1
            return False
        self._count = len(self) + 1
        self._events[f"{event.pubkey}/{event.created_at:016d}/{event.id}"] = event
        return True

    def take(self, pubkey: str) -> list[VerifiedEvent]:
        """What a key signed, the oldest first: it is kept no longer."""
        found = list(self._events.scan(f"{pubkey}/", f"{pubkey}0"))
        self._count = len(self) - len(found)
        for key, _ in found:
            del self._events[key]
        return [event for _, event in found]
