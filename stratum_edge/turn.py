"""The submits of one turn of the loop, hashed and judged together.

A session parses a submit and puts it here; `Turn.settle` hashes all of them in one call, so that they fill the native
lanes, judges them in the order they came and writes them down. Each reply has its place in its session's output from
the start, so replies leave in the order of the requests whatever else the session said meanwhile.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from nips.pool.lanes import HASH_SIZE, SHARE, hash_shares
from stratum_edge.lane import SessionKey
from stratum_edge.shares import Assigned, Submission


class Submitter(Protocol):
    """A session, as far as settling goes."""

    def settle(self, submit: "Submit", digest: bytes, now: int, mono: int) -> None:
        """Judge one of its submits by its header's hash and put the reply in its place."""
        ...


class Submit(NamedTuple):
    """A submit that parsed: whose it is, where its reply goes, what it is judged by.

    `slot`: its reply's place in the session's output. `mask`: the version bits the session may roll.
    """

    session: Submitter
    id: bytes
    slot: int
    work: Assigned
    key: SessionKey
    share: Submission
    mask: int


def hash_submits(submits: Sequence[Submit]) -> bytes:
    """Their headers' hashes in one call, 32 bytes each in serialisation order, joined."""
    pack = SHARE.pack
    shares = [
        pack(share.extranonce2, share.ntime, share.nonce, work.live.job.version | share.version_bits)
        for _, _, _, work, _, share, _ in submits
    ]
    return hash_shares([submit.work.bound.bound for submit in submits], b"".join(shares))


class Turn:
    """What came since the last `settle`. `first`: called when the first submit of a turn comes, to have it settled."""

    __slots__ = ("_submits", "first")

    def __init__(self) -> None:
        self._submits: list[Submit] = []
        self.first: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._submits)

    def put(self, submit: Submit) -> None:
        """Take a submit; it is judged with the others of the turn."""
        self._submits.append(submit)
        if len(self._submits) == 1 and self.first is not None:
            self.first()

    def settle(self, now: int, mono: int) -> None:
        """Judge all; `now` is Unix ms, `mono` monotonic ms."""
        submits, self._submits = self._submits, []
        if not submits:
            return
        hashes = hash_submits(submits)
        for at, submit in zip(range(0, len(hashes), HASH_SIZE), submits, strict=True):
            submit.session.settle(submit, hashes[at : at + HASH_SIZE], now, mono)
