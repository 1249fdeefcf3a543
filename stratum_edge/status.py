"""What the edge tells about itself: counts, and the hashrate of its credited work."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stratum_edge.names import Name

# Hashrate is credited work over the last five minutes, kept in steps of ten seconds.
RATE_WINDOW_MS: Final = 300_000
RATE_STEP_MS: Final = 10_000
# Of a connection's workers, 1,024 at most: all of a full edge's would not fit into one answer to the operator.
SHOWN_WORKERS: Final = 16


@dataclass(frozen=True, slots=True)
class EdgeStatus:
    """A snapshot. `hashrate_hs`: hashes a second over five minutes. `rejected`: by Stratum error code. `blocks`: by
    outcome: "accepted", or the chain's reason. `node_lost_s`: seconds since a node last answered, 0.0 while one does.
    """

    sessions: int
    miners: int
    workers: int
    hashrate_hs: int
    accepted: int
    rejected: dict[int, int]
    bad_lines: int
    height: int
    job: str
    batch_seq: int
    batch_id: str
    unpublished: int
    stalled: bool
    blocks: dict[str, int]
    node_lost_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A connection as the operator sees it. `workers`: as `shown` gives them. `since_ms`: how long it has been there;
    `idle_ms`: since its last good share. `hashrate_hs`: reckoned from its good shares since its difficulty last
    changed, 0 while there are none.
    """

    address: str
    port: str
    miner: str
    workers: tuple[str, ...]
    agent: str
    difficulty: str
    hashrate_hs: int
    accepted: int
    rejected: int
    since_ms: int
    idle_ms: int


def shown(workers: Iterable[str]) -> tuple[str, ...]:
    """The first SHOWN_WORKERS by name, and how many more there are: "+3 more", which is no worker's name."""
    names = sorted(set(workers))
    more = len(names) - SHOWN_WORKERS
    return (*names[:SHOWN_WORKERS], f"+{more} more") if more > 0 else tuple(names)


class Hashrate:
    """Credited work by time; `now` is monotonic ms."""

    def __init__(self, now: int) -> None:
        self._began = now
        self._steps: deque[list[int]] = deque()
        self._sum = 0

    def add(self, work: int, now: int) -> None:
        """Credit work (expected hashes)."""
        step = now // RATE_STEP_MS
        if not self._steps or self._steps[-1][0] != step:
            self._expire(now)
            self._steps.append([step, 0])
        self._steps[-1][1] += work
        self._sum += work

    def _expire(self, now: int) -> None:
        oldest = (now - RATE_WINDOW_MS) // RATE_STEP_MS
        while self._steps and self._steps[0][0] <= oldest:
            self._sum -= self._steps.popleft()[1]

    def per_second(self, now: int) -> int:
        """Hashes a second over the window, or since the start while that is shorter."""
        self._expire(now)
        return self._sum * 1000 // max(RATE_STEP_MS, min(RATE_WINDOW_MS, now - self._began))


class Present:
    """Who is logged in. Counted as they come and go: a farm has thousands, and the status is asked every second."""

    def __init__(self) -> None:
        self._miners: Counter[str] = Counter()
        self._workers: Counter[Name] = Counter()

    @property
    def miners(self) -> int:
        """How many npubs."""
        return len(self._miners)

    @property
    def workers(self) -> int:
        """How many workers, by miner and name."""
        return len(self._workers)

    def come(self, name: Name) -> None:
        """A user name was let in."""
        self._miners[name.miner] += 1
        self._workers[name] += 1

    def go(self, name: Name) -> None:
        """Its connection is gone."""
        if self._miners[name.miner] == 1:
            del self._miners[name.miner]
        else:
            self._miners[name.miner] -= 1
        if self._workers[name] == 1:
            del self._workers[name]
        else:
            self._workers[name] -= 1


class Counts:
    """What happened since the start, and who is there."""

    def __init__(self, now: int) -> None:
        self.present = Present()
        self.accepted = 0
        self.rejected: Counter[int] = Counter()
        self.bad_lines = 0
        self.blocks: Counter[str] = Counter()
        self.hashrate = Hashrate(now)
