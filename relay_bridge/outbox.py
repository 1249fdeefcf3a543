"""What is to be published, to which relays, in which order: the core of the durable outbox.

Events of one chain go to a relay strictly in order: the next only after the one before was accepted (OK true, or false
with "duplicate"). An event is settled once `quorum` relays have accepted it; the others get it as well, when they can.

A relay's OK false is understood by its prefix (NIP-01):
    duplicate, replaced                  accepted: it is there, or something newer is
    rate-limited, error                  tried again after a pause that doubles
    invalid, dated too far ahead         tried again every minute: time will come. Other chains go on meanwhile
    anything else                        refused for good by that relay. What follows in the chain is held back there
                                         until the event has its quorum elsewhere; then the chain goes on past it
"""

import enum
import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from relay_bridge.refusal import is_dated_ahead, prefix_of

# Events sent to a relay and not yet answered. Covers 50 ms of round trip at 1,000 events a second, and stays far below
# the receive buffers of relays (65 KB an event at most).
WINDOW = 64
# An answer later than this is given up: a relay's database may be busy for seconds, not for half a minute.
ANSWER_MS = 30_000
# Pauses after rate-limited or error: strfry's and nostream's limits are per minute or hour.
FIRST_PAUSE_MS = 1_000
LONGEST_PAUSE_MS = 60_000
# A clock that was ahead leaves events that relays take only when their date has come, hours later perhaps.
DATE_PAUSE_MS = 60_000
_ACCEPTED_PREFIXES = frozenset({"duplicate", "replaced"})
_LATER_PREFIXES = frozenset({"rate-limited", "error"})


class Verdict(enum.Enum):
    """What a relay's OK means for the event."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LATER = "later"
    NOT_YET = "not yet"


def judge(accepted: bool, message: str) -> Verdict:
    """Understand an OK."""
    prefix = prefix_of(message)
    if accepted or prefix in _ACCEPTED_PREFIXES:
        return Verdict.ACCEPTED
    if prefix in _LATER_PREFIXES:
        return Verdict.LATER
    return Verdict.NOT_YET if is_dated_ahead(message) else Verdict.REFUSED


@dataclass(slots=True, eq=False)
class Entry:
    """One event of the outbox. `seq` is the order of publication, `chain` "" means that order does not matter."""

    seq: int
    event_id: str
    chain: str
    accepted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    settled: bool = False


class _Lane:
    """One relay's share of the outbox."""

    def __init__(self) -> None:
        self.chains: dict[str, deque[Entry]] = {}
        self.ready: list[tuple[int, str]] = []
        self.in_flight: dict[str, int] = {}
        # (when to try again, seq, id) of events whose date is yet to come there.
        self.ahead: list[tuple[int, int, str]] = []
        self.backlog = 0
        self.paused_until_ms = 0
        self.pause_ms = FIRST_PAUSE_MS

    def add(self, entry: Entry) -> None:
        self.backlog += 1
        if entry.chain:
            waiting = self.chains.setdefault(entry.chain, deque())
            waiting.append(entry)
            if len(waiting) > 1:
                return
        heapq.heappush(self.ready, (entry.seq, entry.event_id))

    def advance(self, entry: Entry) -> None:
        """The entry is done here: let the next of its chain go."""
        self.backlog -= 1
        if not entry.chain:
            return
        waiting = self.chains[entry.chain]
        waiting.popleft()
        if waiting:
            heapq.heappush(self.ready, (waiting[0].seq, waiting[0].event_id))
        else:
            del self.chains[entry.chain]

    def pause(self, now_ms: int) -> None:
        # Several answers of one window are one reason to pause, not several.
        if now_ms >= self.paused_until_ms:
            self.paused_until_ms = now_ms + self.pause_ms
            self.pause_ms = min(self.pause_ms * 2, LONGEST_PAUSE_MS)


class Outbox:
    """The state of all that is not yet answered by every relay."""

    def __init__(self, relays: Sequence[str], quorum: int) -> None:
        """Raises ValueError unless 1 <= quorum <= number of relays."""
        if not 1 <= quorum <= len(set(relays)):
            raise ValueError(f"a quorum of {quorum} is not possible with {len(set(relays))} relays")
        self._relays = frozenset(relays)
        self._quorum = quorum
        self._lanes = {relay: _Lane() for relay in relays}
        self._entries: dict[str, Entry] = {}
        self.unsettled = 0

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._entries

    def add(self, entry: Entry) -> None:
        """Queue an entry for every relay that has not answered it. Entries come in the order of their `seq`.

        What was refused before and has no quorum is tried again: the policy may have changed since the last start.
        """
        entry.settled = len(entry.accepted) >= self._quorum
        if not entry.settled:
            entry.refused.clear()
            self.unsettled += 1
        open_at = self._relays - entry.accepted - entry.refused
        if not open_at:
            if not entry.settled:
                raise ValueError(f"event {entry.event_id} is answered by all relays and not settled")
            return
        self._entries[entry.event_id] = entry
        for relay in open_at:
            self._lanes[relay].add(entry)

    def take(self, relay: str, now_ms: int) -> list[Entry]:
        """What to send to the relay now; it counts as in flight."""
        lane = self._lanes[relay]
        taken: list[Entry] = []
        if now_ms < lane.paused_until_ms:
            return taken
        while lane.ahead and lane.ahead[0][0] <= now_ms:
            _, seq, event_id = heapq.heappop(lane.ahead)
            heapq.heappush(lane.ready, (seq, event_id))
        while lane.ready and len(lane.in_flight) < WINDOW:
            _, event_id = heapq.heappop(lane.ready)
            entry = self._entries.get(event_id)
            if entry is not None:
                lane.in_flight[event_id] = now_ms
                taken.append(entry)
        return taken

    def answered(self, relay: str, event_id: str, accepted: bool, message: str, now_ms: int) -> Verdict | None:
        """Digest a relay's OK. None if nothing of that id is in flight there."""
        lane = self._lanes[relay]
        if lane.in_flight.pop(event_id, None) is None:
            return None
        entry = self._entries[event_id]
        verdict = judge(accepted, message)
        if verdict is Verdict.LATER:
            heapq.heappush(lane.ready, (entry.seq, event_id))
            lane.pause(now_ms)
            return verdict
        if verdict is Verdict.NOT_YET:
            heapq.heappush(lane.ahead, (now_ms + DATE_PAUSE_MS, entry.seq, event_id))
            return verdict
        if verdict is Verdict.ACCEPTED:
            lane.pause_ms = FIRST_PAUSE_MS
            entry.accepted.add(relay)
            lane.advance(entry)
            if not entry.settled and len(entry.accepted) >= self._quorum:
                entry.settled = True
                self.unsettled -= 1
                for other in entry.refused:
                    if entry.chain:
                        self._lanes[other].advance(entry)
        else:
            entry.refused.add(relay)
            if entry.settled or not entry.chain:
                lane.advance(entry)
        if entry.settled and self._relays <= entry.accepted | entry.refused:
            del self._entries[event_id]
        return verdict

    def lost(self, relay: str) -> None:
        """The connection ended: what was in flight there is to be sent again."""
        lane = self._lanes[relay]
        for event_id in lane.in_flight:
            heapq.heappush(lane.ready, (self._entries[event_id].seq, event_id))
        lane.in_flight.clear()

    def overdue(self, relay: str, now_ms: int) -> int:
        """Give up waiting for answers that are too late; the events are sent again after a pause. Returns how many."""
        lane = self._lanes[relay]
        late = [event_id for event_id, sent_ms in lane.in_flight.items() if now_ms - sent_ms >= ANSWER_MS]
        for event_id in late:
            del lane.in_flight[event_id]
            heapq.heappush(lane.ready, (self._entries[event_id].seq, event_id))
        if late:
            lane.pause(now_ms)
        return len(late)

    def wake_at(self, relay: str) -> int | None:
        """When to look again if nothing happens before, in ms: the end of a pause, or the next overdue answer."""
        lane = self._lanes[relay]
        times = [min(lane.in_flight.values()) + ANSWER_MS] if lane.in_flight else []
        if lane.ready and len(lane.in_flight) < WINDOW:
            times.append(lane.paused_until_ms)
        if lane.ahead:
            times.append(max(lane.ahead[0][0], lane.paused_until_ms))
        return min(times, default=None)

    def forget(self, event_id: str) -> None:
        """Drop a settled entry that some relay has not taken for too long."""
        entry = self._entries.pop(event_id)
        for relay in self._relays - entry.accepted - entry.refused:
            lane = self._lanes[relay]
            lane.in_flight.pop(event_id, None)
            waiting = lane.chains.get(entry.chain)
            if entry.chain and waiting is not None and waiting[0] is not entry:
                waiting.remove(entry)
                lane.backlog -= 1
            else:
                lane.advance(entry)

    def backlog(self, relay: str) -> int:
        """How many events that relay has not accepted or refused."""
        return self._lanes[relay].backlog
