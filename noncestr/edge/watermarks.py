"""How far each lane has been told, how long it has been silent, what waits for it, and how its edge's clock stands.

A watermark is the `to` of a lane's last batch: all the lane's work up to then is known. A statement waits until every
open lane's has passed its block (SPEC.md, "4214"). Receipts that come live are heard as they arrive, by our clock.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from accounting.facts import BlockSeen
from accounting.lanes import LaneKey, Lanes
from nips.nip01 import VerifiedEvent
from nips.nip19 import encode_npub
from nips.pool.kinds import RECEIPT

# A batch or an empty one comes once a heartbeat; two may be late by a slow relay, three are silence.
SILENT_HEARTBEATS: Final = 3
# The quickest of so many newest batches shows a clock best: relays and seals only ever add to the way.
CLOCK_BATCHES: Final = 8
# Of anchor_ms, to better than which no share's time is proven, a quarter is worth a word.
WARN_PART: Final = 4


class Held(NamedTuple):
    """A block whose statement waits: its hash and height."""

    block: str
    height: int


@dataclass(frozen=True, slots=True)
class Mark:
    """An open lane. `to_ms`: its watermark; `quiet_ms`: how long nothing of it came while we listened; `clock_ms`: its
    edge's clock less ours, None before a batch came live: above 0 it is ahead at least so far, below 0 behind at most
    so far (its batches take some of that to come). `holds_up`: the blocks whose statements wait for it.
    """

    key: LaneKey
    seq: int
    to_ms: int
    age_ms: int
    quiet_ms: int
    silent: bool
    clock_ms: int | None
    holds_up: tuple[Held, ...]

    @property
    def name(self) -> str:
        """As operators write it: NPUB/NUMBER."""
        return lane_name(self.key)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "lane": self.name,
            "edge": self.key.edge,
            "number": self.key.number,
            "batch": self.seq,
            "to_ms": self.to_ms,
            "age_ms": self.age_ms,
            "quiet_ms": self.quiet_ms,
            "silent": self.silent,
            "clock_ms": self.clock_ms,
            "holds_up": [held._asdict() for held in self.holds_up],
        }


def lane_name(key: LaneKey) -> str:
    """NPUB/NUMBER."""
    return f"{encode_npub(key.edge)}/{key.number}"


@dataclass(slots=True)
class _Heard:
    """What came live of a lane: when last, and how long the newest batches were on their way, by the two clocks."""

    at_ms: int = 0
    delays: deque[int] = field(default_factory=lambda: deque(maxlen=CLOCK_BATCHES))


class Watermarks:
    """The lanes' watermarks, and what of them is news. Times are Unix ms by our clock."""

    def __init__(self) -> None:
        self._heard: dict[LaneKey, _Heard] = {}
        # Since when we hear; None while no relay is connected.
        self._since: int | None = None
        # Lanes said to be silent: since when, and their watermark; those whose clock was said to be off.
        self._silent: dict[LaneKey, tuple[int, int]] = {}
        self._skewed: set[LaneKey] = set()

    @property
    def is_deaf(self) -> bool:
        """Whether nothing can be heard: then silence is ours."""
        return self._since is None

    def listen(self, *, connected: bool, now: int) -> None:
        """Whether the log's relays are in reach now. A lane is silent only as long as we listen."""
        if not connected:
            self._since = None
        elif self._since is None:
            self._since = now

    def hear(self, event: VerifiedEvent, now: int) -> None:
        """An event of the log has come live."""
        lane, window = event.tag_value("lane"), event.tag("window")
        if event.kind != RECEIPT or lane is None or window is None or len(window) < 3:
            return
        if not (lane.isdecimal() and window[2].isdecimal()):
            return
        heard = self._heard.setdefault(LaneKey(event.pubkey, int(lane)), _Heard())
        heard.at_ms = now
        heard.delays.append(now - int(window[2]))

    def marks(self, lanes: Lanes, unsettled: Iterable[BlockSeen], heartbeat_seconds: int, now: int) -> list[Mark]:
        """Every open lane that has a batch, by edge and number. `unsettled`: the blocks without a statement."""
        blocks = sorted(unsettled, key=lambda block: (block.found_ms, block.block.block))
        found = []
        for key, lane in lanes.in_order():
            if lane.ended or lane.head is None:
                continue
            heard, to_ms = self._heard.get(key), lane.watermark_ms
            # A backlog that is coming in is old, and not silent; nor is what could not reach us.
            quiet = max(0, now - max(to_ms, heard.at_ms if heard else 0, self._since or 0))
            found.append(
                Mark(
                    key=key,
                    seq=lane.head.seq,
                    to_ms=to_ms,
                    age_ms=now - to_ms,
                    quiet_ms=quiet,
                    silent=quiet > SILENT_HEARTBEATS * heartbeat_seconds * 1000,
                    clock_ms=-min(heard.delays) if heard else None,
                    holds_up=tuple(
                        Held(block.block.block, block.block.height) for block in blocks if block.found_ms >= to_ms
                    ),
                )
            )
        return found

    def news(self, marks: Iterable[Mark], anchor_ms: int, now: int) -> list[str]:
        """What an operator has not been told yet: lanes that fell silent, that are back, whose clock is off."""
        said, here = [], {mark.key: mark for mark in marks}
        for key, mark in here.items():
            since = self._silent.get(key)
            if mark.silent and since is None:
                self._silent[key] = now - mark.quiet_ms, mark.to_ms
                said.append(f"lane {mark.name} is silent for {mark.quiet_ms // 1000} s; {_waiting(mark)}")
            elif not mark.silent and since is not None and mark.to_ms > since[1]:
                del self._silent[key]
                said.append(f"lane {mark.name} is back after {(now - since[0]) // 1000} s; {_waiting(mark)}")
            off = mark.clock_ms is not None and not mark.silent and abs(mark.clock_ms) > anchor_ms // WARN_PART
            if off and key not in self._skewed and mark.clock_ms is not None:
                self._skewed.add(key)
                text = "ahead of" if mark.clock_ms > 0 else "behind"
                said.append(f"lane {mark.name}: its batches are dated {abs(mark.clock_ms) // 1000} s {text} our clock")
            elif not off and not mark.silent and key in self._skewed:
                self._skewed.discard(key)
                said.append(f"lane {mark.name}: its batches are dated by our clock again")
        for key in self._silent.keys() - here.keys():
            del self._silent[key]
        self._skewed &= here.keys()
        return said


def _waiting(mark: Mark) -> str:
    count = len(mark.holds_up)
    if not count:
        return "no statement waits for it"
    first = mark.holds_up[0]
    return f"{count} statements wait for it, the first of block {first.height} {first.block}"


def largest_skew(marks: Iterable[Mapping[str, Any]]) -> int | None:
    """The largest difference of clocks among plain marks that are not silent, ms; None while none is known."""
    known = [mark["clock_ms"] for mark in marks if mark["clock_ms"] is not None and not mark["silent"]]
    return max(known, key=abs, default=None)
