"""extranonce1: 4 bytes, unique among an edge's live and resumable connections, so that no two hash the same work."""

import hashlib
from collections import OrderedDict
from typing import Final, NamedTuple

# A miner that comes back within ten minutes with its session id keeps its extranonce1.
RESUME_MS: Final = 600_000
# A reconnecting crowd may not grow the list for ever: beyond this the oldest is forgotten.
MAX_RESUMABLE: Final = 100_000
# The first byte says which of an edge's processes gave it out: 16 million each, a thousand times what one can serve.
MAX_PROCESSES: Final = 256
_COUNT_MASK: Final = (1 << 24) - 1


class Seat(NamedTuple):
    """A connection's session id (16 hex digits, a secret of the miner's) and its extranonce1."""

    session_id: str
    extranonce1: bytes


class Seats:
    """Hands out seats; `seed` (32 random bytes) keeps session ids unguessable. `now` is monotonic ms."""

    def __init__(self, seed: bytes, process: int = 0) -> None:
        """`process`: which of the processes that share an edge key this is; no two hand out the same extranonce1.

        Raises ValueError from MAX_PROCESSES on.
        """
        if not 0 <= process < MAX_PROCESSES:
            raise ValueError(f"an edge has at most {MAX_PROCESSES} processes, {process} is none of them")
        self._seed = seed
        self._process = process << 24
        self._count = int.from_bytes(seed[:3], "big")
        self._taken: set[bytes] = set()
        self._resumable: OrderedDict[str, tuple[bytes, int]] = OrderedDict()

    def take(self, now: int, session_id: str | None = None) -> Seat:
        """The seat a session id was given before, if it can be resumed; else a new one."""
        self._expire(now)
        if session_id is not None and (kept := self._resumable.pop(session_id, None)) is not None:
            return Seat(session_id, kept[0])
        while True:
            self._count = (self._count + 1) & _COUNT_MASK
            extranonce1 = (self._process | self._count).to_bytes(4, "big")
            if extranonce1 not in self._taken:
                break
        self._taken.add(extranonce1)
        return Seat(hashlib.sha256(self._seed + extranonce1 + now.to_bytes(8, "big")).hexdigest()[:16], extranonce1)

    def leave(self, seat: Seat, now: int) -> None:
        """The connection is gone: its seat can be resumed for a while."""
        self._resumable[seat.session_id] = (seat.extranonce1, now + RESUME_MS)
        while len(self._resumable) > MAX_RESUMABLE:
            self._forget()

    def _forget(self) -> None:
        _, (extranonce1, _) = self._resumable.popitem(last=False)
        self._taken.discard(extranonce1)

    def _expire(self, now: int) -> None:
        while self._resumable and next(iter(self._resumable.values()))[1] <= now:
            self._forget()
