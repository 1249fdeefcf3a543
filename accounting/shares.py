"""The good shares of a batch, in columns."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from accounting.schemes.lots import Price

# hash / target is summed in units of 1/65536.
RATIO_BITS = 16


class Session(NamedTuple):
    """Whose shares: miner (hex), worker's name, work of each share."""

    miner: str
    worker: str
    work: int


class JobRef(NamedTuple):
    """Which work: the 4211's id, its height and offer; its price if the offer pays by share. `by_worker`: its terms pay
    loyalty, so that its work is summed by worker too.
    """

    id: str
    height: int
    offer: str
    price: Price | None = None
    by_worker: bool = False


class GoodShare(NamedTuple):
    """A good credited share. `number` is its number within the receipt, `t` its time in Unix ms."""

    t: int
    number: int
    miner: str
    worker: str
    work: int
    height: int
    offer: str


class Solution(NamedTuple):
    """A share that is a block of its job, of a session with `share_bits`. `header`: 80 bytes; `coinbase`: without its
    witness; `late`: status 5.
    """

    number: int
    t: int
    miner: str
    job: str
    share_bits: int
    header: bytes
    coinbase: bytes
    late: bool


@dataclass(frozen=True, slots=True)
class CheckedShares:
    """The good credited shares of a batch in columns, in the receipt's order, and what else was in it.

    `t`: Unix ms; `index`: number within the receipt; `session`, `job`: numbers into `sessions` and `jobs`. `bad` shares
    were credited and break a rule, `uncredited` ones were told as such, `unchecked` ones can't be judged (upstream
    binding, or a job that is missing). `ratios`: hash / target of the good shares, summed by session, in 1/65536.
    `best`: the smallest compact target that the lowest hash of a session's shares meets, by session, 0 without one; not
    to be relied on for the sessions in `spoiled`, which have bad shares. `told`: the work of all shares told as
    credited.
    """

    t: "array[int]"
    index: "array[int]"
    session: "array[int]"
    job: "array[int]"
    sessions: tuple[Session, ...]
    jobs: tuple[JobRef, ...]
    bad: int = 0
    uncredited: int = 0
    unchecked: int = 0
    solutions: tuple[Solution, ...] = ()
    ratios: tuple[int, ...] = ()
    best: tuple[int, ...] = ()
    spoiled: tuple[int, ...] = ()
    told: int = 0

    def __len__(self) -> int:
        return len(self.t)

    def __iter__(self) -> Iterator[GoodShare]:
        for t, index, session, job in zip(self.t, self.index, self.session, self.job, strict=True):
            who, what = self.sessions[session], self.jobs[job]
            yield GoodShare(t, index, who.miner, who.worker, who.work, what.height, what.offer)

    @property
    def work(self) -> int:
        """The sum of the good shares' work."""
        return sum(self.sessions[session].work * count for session, count in Counter(self.session).items())

    def session_of(self, index: int) -> Session:
        """Whose a good share is, by its number within the receipt. Raises ValueError."""
        return self.sessions[self.session[self.index.index(index)]]

    def without(self, index: int) -> "CheckedShares":
        """The same less one share, which counts as bad."""
        keep = [row for row, number in enumerate(self.index) if number != index]
        gone = {session for session, number in zip(self.session, self.index, strict=True) if number == index}
        t, numbers, session, job = (
            array(column.typecode, [column[row] for row in keep])
            for column in (self.t, self.index, self.session, self.job)
        )
        spoiled = tuple(sorted({*self.spoiled, *gone}))
        return replace(self, bad=self.bad + 1, t=t, index=numbers, session=session, job=job, spoiled=spoiled)

    def pack(self) -> bytes:
        """The columns as MessagePack, for whoever keeps them over a restart."""
        return msgspec.msgpack.encode(
            [
                [(column.typecode, column.tobytes()) for column in (self.t, self.index, self.session, self.job)],
                [(who.miner, who.worker, str(who.work)) for who in self.sessions],
                self.jobs,
                [self.bad, self.uncredited, self.unchecked],
                self.solutions,
                self.ratios,
                self.best,
                self.spoiled,
                str(self.told),
            ]
        )


_Packed = tuple[
    list[tuple[str, bytes]],
    list[tuple[str, str, str]],
    list[JobRef],
    tuple[int, int, int],
    list[Solution],
    tuple[int, ...],
    tuple[int, ...],
    tuple[int, ...],
    str,
]
_DECODER = msgspec.msgpack.Decoder(_Packed)


def unpack_shares(data: bytes) -> CheckedShares:
    """What `pack` wrote. Raises msgspec.MsgspecError for anything else."""
    columns, sessions, jobs, counts, solutions, ratios, best, spoiled, told = _DECODER.decode(data)
    t, index, session, job = (array(typecode, raw) for typecode, raw in columns)
    return CheckedShares(
        t=t,
        index=index,
        session=session,
        job=job,
        sessions=tuple(Session(miner, worker, int(work)) for miner, worker, work in sessions),
        jobs=tuple(jobs),
        bad=counts[0],
        uncredited=counts[1],
        unchecked=counts[2],
        solutions=tuple(solutions),
        ratios=ratios,
        best=best,
        spoiled=spoiled,
        told=int(told),
    )
