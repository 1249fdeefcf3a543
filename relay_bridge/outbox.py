"""What is to be published, to which relays, in which order: the core of the durable outbox.

Events of one chain go to a relay strictly in order: the next only after the one before was accepted (OK true, or false
with "duplicate"). An event is settled once a quorum of the log relays has accepted it, and whole once every role's
quorum has; the other relays of its roles get it as well, when they can.

A relay's OK false is understood by its prefix (NIP-01):
    duplicate, replaced                  accepted: it is there, or something newer is
    rate-limited, error                  tried again after a pause that doubles
    auth-required                        tried again once the connection has authenticated (NIP-42), refused if it can't
    invalid, dated too far ahead         tried again every minute: time will come. Other chains go on meanwhile
    anything, too large                  refused for good by that relay, and its chain goes on past it there: no waiting
                                         makes it smaller. A log relay that does this is unfit, and is reported as that
    anything else                        refused for good by that relay. On a log relay what follows in the chain is
                                         held back until the event has its quorum elsewhere; then the chain goes on
A relay of social events that refuses one is not waited for: what a stranger's relay takes is its own affair.
"""

import enum
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from relay_bridge.refusal import is_dated_ahead, is_too_large, prefix_of
from relay_bridge.roles import Group, Role, Routes

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
# Refills come after everything that is new.
_REFILL_SEQ = 1 << 62
_ACCEPTED_PREFIXES = frozenset({"duplicate", "replaced"})
_LATER_PREFIXES = frozenset({"rate-limited", "error"})


class Verdict(enum.Enum):
    """What a relay's OK means for the event."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    TOO_LARGE = "too large"
    LATER = "later"
    NOT_YET = "not yet"
    AUTH = "auth"


def judge(accepted: bool, message: str) -> Verdict:
    """Understand an OK."""
    prefix = prefix_of(message)
    if accepted or prefix in _ACCEPTED_PREFIXES:
        return Verdict.ACCEPTED
    if prefix in _LATER_PREFIXES:
        return Verdict.LATER
    if prefix == "auth-required":
        return Verdict.AUTH
    if is_too_large(message):
        return Verdict.TOO_LARGE
    return Verdict.NOT_YET if is_dated_ahead(message) else Verdict.REFUSED


@dataclass(slots=True, eq=False)
class Entry:
    """One event of the outbox. `seq` is the order of publication, `chain` "" means that order does not matter, `size`
    is its JSON in bytes."""

    seq: int
    event_id: str
    chain: str
    kind: int = 0
    size: int = 0
    accepted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    groups: tuple[Group, ...] = ()
    settled: bool = False
    whole: bool = False
    # Sent to one relay again, which had lost it: not kept on disk.
    refill: bool = False
    dropped: bool = False

    def __lt__(self, other: "Entry") -> bool:
        return self.seq < other.seq

    @property
    def relays(self) -> frozenset[str]:
        """The relays it goes to."""
        return frozenset().union(*(group.relays for group in self.groups))

    def has_quorum(self, role: Role) -> bool:
        """Whether enough relays of the role have it. Social relays that refused it for good are not waited for."""
        for group in self.groups:
            if group.role is role:
                wanted = group.quorum
                if role is Role.SOCIAL:
                    wanted = min(wanted, len(group.relays - (self.refused - self.accepted)))
                return len(self.accepted & group.relays) >= wanted
        return True


class _Lane:
    """One relay's share of the outbox."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self.chains: dict[str, deque[Entry]] = {}
        self.ready: list[Entry] = []
        # By id: the entry, and when it was sent.
        self.in_flight: dict[str, tuple[Entry, int]] = {}
        # (when to try again, entry) of events whose date is yet to come there.
        self.ahead: list[tuple[int, Entry]] = []
        self.backlog = 0
        self.refills: dict[str, Entry] = {}
        self.paused_until_ms = 0
        self.pause_ms = FIRST_PAUSE_MS
        # An event came back "auth-required", and the answer to the challenge is under way.
        self.authenticating = False
        self.auth_failed = False
        self._chance = chance

    def push(self, entry: Entry) -> None:
        heapq.heappush(self.ready, entry)

    def add(self, entry: Entry) -> None:
        self.backlog += 1
        if entry.chain:
            waiting = self.chains.setdefault(entry.chain, deque())
            waiting.append(entry)
            if len(waiting) > 1:
                return
        self.push(entry)

    def advance(self, entry: Entry) -> None:
        """The entry is done here: let the next of its chain go."""
        self.backlog -= 1
        if not entry.chain:
            return
        waiting = self.chains[entry.chain]
        waiting.popleft()
        if waiting:
            self.push(waiting[0])
        else:
            del self.chains[entry.chain]

    def pause(self, now_ms: int) -> None:
        # Several answers of one window are one reason to pause, not several.
        if now_ms >= self.paused_until_ms:
            # Up to a quarter more, so that the clients a relay has slowed down do not return in step.
            self.paused_until_ms = now_ms + self.pause_ms + int(self._chance() * self.pause_ms / 4)
            self.pause_ms = min(self.pause_ms * 2, LONGEST_PAUSE_MS)


class Outbox:
    """The state of all that is not yet answered by every relay."""

    def __init__(self, routes: Routes, chance: Callable[[], float] = lambda: 0.0) -> None:
        """`chance` gives numbers uniform in [0, 1): the jitter of pauses."""
        self._routes = routes
        self._lanes = {relay: _Lane(chance) for relay in routes.relays}
        self._entries: dict[str, Entry] = {}
        self._refills = 0
        self.unsettled = 0
        # Seqs of entries that have become whole since `take_whole`.
        self._whole: list[int] = []

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._entries

    def add(self, entry: Entry) -> None:
        """Queue an entry for every relay that has not answered it. Entries come in the order of their `seq`.

        What was refused before and has no quorum is tried again: the policy may have changed since the last start.
        """
        entry.groups = self._routes.groups(entry.kind)
        entry.settled = entry.has_quorum(Role.LOG)
        if not entry.settled:
            entry.refused.clear()
            self.unsettled += 1
        if entry.settled and entry.has_quorum(Role.SOCIAL):
            entry.whole = True
            self._whole.append(entry.seq)
        open_at = entry.relays - entry.accepted - entry.refused
        if not open_at:
            return
        self._entries[entry.event_id] = entry
        for relay in open_at:
            self._lanes[relay].add(entry)

    def refill(self, relay: str, event_id: str, size: int) -> bool:
        """Send an event to one relay again, after all that is new; False if it is on its way there already."""
        lane = self._lanes[relay]
        entry = self._entries.get(event_id)
        pending = entry is not None and relay in entry.relays - entry.accepted - entry.refused
        if pending or event_id in lane.refills:
            return False
        self._refills += 1
        entry = Entry(_REFILL_SEQ + self._refills, event_id, "", size=size, refill=True)
        lane.refills[event_id] = entry
        lane.push(entry)
        return True

    def refilling(self, relay: str) -> int:
        """How many events of a refill that relay has not answered."""
        return len(self._lanes[relay].refills)

    def take(self, relay: str, now_ms: int) -> list[Entry]:
        """What to send to the relay now; it counts as in flight."""
        lane = self._lanes[relay]
        taken: list[Entry] = []
        if now_ms < lane.paused_until_ms or lane.authenticating:
            return taken
        while lane.ahead and lane.ahead[0][0] <= now_ms:
            lane.push(heapq.heappop(lane.ahead)[1])
        while lane.ready and len(lane.in_flight) < WINDOW:
            entry = heapq.heappop(lane.ready)
            if not entry.dropped:
                lane.in_flight[entry.event_id] = (entry, now_ms)
                taken.append(entry)
        return taken

    def answered(self, relay: str, event_id: str, accepted: bool, message: str, now_ms: int) -> Verdict | None:
        """Digest a relay's OK. None if nothing of that id is in flight there."""
        lane = self._lanes[relay]
        found = lane.in_flight.pop(event_id, None)
        if found is None:
            return None
        entry = found[0]
        verdict = judge(accepted, message)
        if verdict is Verdict.AUTH and lane.auth_failed:
            verdict = Verdict.REFUSED
        match verdict:
            case Verdict.LATER:
                lane.push(entry)
                lane.pause(now_ms)
            case Verdict.NOT_YET:
                heapq.heappush(lane.ahead, (now_ms + DATE_PAUSE_MS, entry))
            case Verdict.AUTH:
                lane.push(entry)
                lane.authenticating = True
            case _:
                if verdict is Verdict.ACCEPTED:
                    lane.pause_ms = FIRST_PAUSE_MS
                self._finish(relay, entry, verdict)
        return verdict

    def too_large(self, relay: str, event_id: str) -> None:
        """An entry just taken is larger than the relay says it takes (NIP-11): it is not sent there."""
        found = self._lanes[relay].in_flight.pop(event_id, None)
        if found is not None:
            self._finish(relay, found[0], Verdict.TOO_LARGE)

    def _finish(self, relay: str, entry: Entry, verdict: Verdict) -> None:
        """The relay has taken the entry, or never will."""
        lane = self._lanes[relay]
        if entry.refill:
            lane.refills.pop(entry.event_id, None)
            return
        if verdict is Verdict.ACCEPTED:
            entry.accepted.add(relay)
            lane.advance(entry)
        else:
            entry.refused.add(relay)
            if not self._holds_back(relay, entry, verdict):
                lane.advance(entry)
        if not entry.settled and entry.has_quorum(Role.LOG):
            held = [other for other in entry.refused if self._lanes[other].chains.get(entry.chain, (None,))[0] is entry]
            entry.settled = True
            self.unsettled -= 1
            for other in held:
                self._lanes[other].advance(entry)
        if entry.settled and not entry.whole and entry.has_quorum(Role.SOCIAL):
            entry.whole = True
            self._whole.append(entry.seq)
        if entry.settled and entry.relays <= entry.accepted | entry.refused:
            self._entries.pop(entry.event_id, None)

    @staticmethod
    def _holds_back(relay: str, entry: Entry, verdict: Verdict) -> bool:
        """Whether what follows in the chain must wait there for the entry's quorum."""
        if entry.settled or not entry.chain or verdict is Verdict.TOO_LARGE:
            return False
        return any(group.role is Role.LOG and relay in group.relays for group in entry.groups)

    def take_whole(self) -> list[int]:
        """The seqs of entries that have become whole since this was last asked."""
        whole, self._whole = self._whole, []
        return whole

    def awaits_auth(self, relay: str) -> bool:
        """Whether the relay wants to know who we are before it takes more."""
        return self._lanes[relay].authenticating

    def authenticated(self, relay: str) -> None:
        """The relay's challenge was answered, well or not: what waits for it goes on."""
        lane = self._lanes[relay]
        lane.authenticating = False
        # One answer a connection: a relay that asks again after it means that this key may not.
        lane.auth_failed = True

    def lost(self, relay: str) -> None:
        """The connection ended: what was in flight there is to be sent again."""
        lane = self._lanes[relay]
        for entry, _ in lane.in_flight.values():
            lane.push(entry)
        lane.in_flight.clear()
        lane.authenticating = lane.auth_failed = False

    def overdue(self, relay: str, now_ms: int) -> int:
        """Give up waiting for answers that are too late; the events are sent again after a pause. Returns how many."""
        lane = self._lanes[relay]
        late = [entry for entry, sent_ms in lane.in_flight.values() if now_ms - sent_ms >= ANSWER_MS]
        for entry in late:
            del lane.in_flight[entry.event_id]
            lane.push(entry)
        if late:
            lane.pause(now_ms)
        return len(late)

    def wake_at(self, relay: str) -> int | None:
        """When to look again if nothing happens before, in ms: the end of a pause, or the next overdue answer."""
        lane = self._lanes[relay]
        times = [min(sent_ms for _, sent_ms in lane.in_flight.values()) + ANSWER_MS] if lane.in_flight else []
        if lane.ready and len(lane.in_flight) < WINDOW and not lane.authenticating:
            times.append(lane.paused_until_ms)
        if lane.ahead:
            times.append(max(lane.ahead[0][0], lane.paused_until_ms))
        return min(times, default=None)

    def forget(self, event_id: str) -> None:
        """Drop a settled entry that some relay has not taken for too long."""
        entry = self._entries.pop(event_id)
        entry.dropped = True
        for relay in entry.relays - entry.accepted - entry.refused:
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
