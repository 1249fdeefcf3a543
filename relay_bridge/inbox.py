"""What comes in: verified, each event once whatever the number of relays, the bad ones counted by relay."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence

from nips.errors import InvalidEvent
from nips.nip01 import Event, VerifiedEvent, verify

# Ids remembered, some 120 bytes each. Repeats come from several relays within seconds of each other, and from the
# overlap after a reconnect; older ones are a reader's to ignore (every fold of the log is idempotent).
SEEN_CAPACITY = 200_000

Checked = tuple[Event, VerifiedEvent | None, str]


def check_all(events: Iterable[Event]) -> list[Checked]:
    """Each event with its verified form, or None and the reason. About 14,000 a second; touches no shared state, so
    that a worker thread may run it (the signature check leaves Python's lock)."""
    checked: list[Checked] = []
    for event in events:
        try:
            checked.append((event, verify(event), ""))
        except InvalidEvent as error:
            checked.append((event, None, str(error)))
    return checked


class Inbox:
    """Remembers which verified events have passed. An id gets in only with a signature that holds, so that nobody can
    keep an event out by sending a forgery of it first."""

    def __init__(self, capacity: int = SEEN_CAPACITY) -> None:
        self._capacity = capacity
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self.bad: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.unwanted: Counter[str] = Counter()

    def unseen(self, relay: str, events: Sequence[Event]) -> list[Event]:
        """Those whose id has not passed yet, so that repeats cost no signature check; these count as received."""
        unseen = [event for event in events if bytes.fromhex(event.id) not in self._seen]
        self.received[relay] += len(events) - len(unseen)
        return unseen

    def admit(
        self, relay: str, checked: Sequence[Checked], accept: Callable[[VerifiedEvent], bool] | None = None
    ) -> list[VerifiedEvent]:
        """The good ones that have not passed yet, in order; the bad ones count against the relay.

        What `accept` does not let pass is dropped, and remembered as seen.
        """
        fresh = []
        for _, verified, _ in checked:
            if verified is None:
                self.bad[relay] += 1
                continue
            self.received[relay] += 1
            key = bytes.fromhex(verified.id)
            if key in self._seen:
                self._seen.move_to_end(key)
                continue
            self._seen[key] = None
            if len(self._seen) > self._capacity:
                self._seen.popitem(last=False)
            if accept is not None and not accept(verified):
                self.unwanted[relay] += 1
                continue
            fresh.append(verified)
        return fresh
