"""The good shares of a batch, in columns, and their bytes: a head that is read at once, the rest when asked for."""

import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

import msgspec

from accounting.schemes.lots import Price
from nips.pool.receipt import Rejects

# hash / target is summed in units of 1/65536.
RATIO_BITS = 16
# Of the numbers that MessagePack can say; a work may pass them.
_INT64 = 1 << 63
_HEX_SIZE = 64
_AS_KEYS, _AS_TEXT = b"k", b"t"
_LENGTH_SIZE = 4
# Columns are kept twice a batch, for good: deflated they take a third less. Higher levels gain 1 % more.
_LEVEL = 1
Number = int | str


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
    credited. `rejects`: what the edge says it refused.
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
    rejects: tuple[Rejects, ...] = ()

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
        """Head and deflated columns, each as MessagePack, for whoever keeps them."""
        head = (
            self.bad,
            self.uncredited,
            self.unchecked,
            len(self),
            len(self.solutions),
            pack_number(self.work),
            pack_number(self.told),
            self.kinds(),
        )
        # They stand in the order of time: steps are small and deflate well.
        steps = [t - before for before, t in pairwise(chain((0,), self.t))]
        columns = (
            steps[0] if steps else 0,
            _pack_steps(steps[1:]),
            None if self.index == array("I", range(len(self))) else self.index.tobytes(),
            self.session.tobytes(),
            self.job.tobytes() if any(self.job) else None,
            join_keys([who.miner for who in self.sessions]),
            ",".join(who.worker for who in self.sessions),
            [pack_number(who.work) for who in self.sessions],
            self.jobs,
            self.solutions,
            self.ratios,
            self.best,
            self.spoiled,
            self.rejects,
        )
        packed = msgspec.msgpack.encode(head)
        return (
            len(packed).to_bytes(_LENGTH_SIZE, "big") + packed + zlib.compress(msgspec.msgpack.encode(columns), _LEVEL)
        )

    def kinds(self) -> "list[Kind]":
        """The offers and heights that have good shares, sorted."""
        kinds = [(job.offer, job.height) for job in self.jobs]
        if len(set(kinds)) == 1:
            return [Kind(*kinds[0], self.t[0])] if self.t else []
        found: dict[tuple[str, int], int] = {}
        for t, job in zip(self.t, self.job, strict=True):
            found.setdefault(kinds[job], t)
        return [Kind(*kind, first) for kind, first in sorted(found.items())]


class Kind(NamedTuple):
    """Good shares of an offer for a height: t of the first, Unix ms."""

    offer: str
    height: int
    first_ms: int


class SharesHead(NamedTuple):
    """What stands at the front of packed shares: how many are bad, uncredited, unchecked, good, and solve a block; the
    work of the good ones, and of all told as credited; their kinds, sorted.
    """

    bad: int
    uncredited: int
    unchecked: int
    good: int
    solutions: int
    work: int
    told: int
    kinds: tuple[Kind, ...]


_HEAD = msgspec.msgpack.Decoder(tuple[int, int, int, int, int, Number, Number, tuple[Kind, ...]])
_COLUMNS = msgspec.msgpack.Decoder(
    tuple[
        int,
        bytes,
        bytes | None,
        bytes,
        bytes | None,
        bytes,
        str,
        list[Number],
        tuple[JobRef, ...],
        tuple[Solution, ...],
        tuple[int, ...],
        tuple[int, ...],
        tuple[int, ...],
        tuple[Rejects, ...],
    ]
)


def _pack_steps(steps: Sequence[int]) -> bytes:
    """Times between shares, ms, in the narrowest form that holds them all; its first byte says which."""
    low, high = min(steps, default=0), max(steps, default=0)
    form = "q" if low < 0 or high >= 1 << 32 else "I" if high >= 1 << 16 else "H"
    return form.encode() + array(form, steps).tobytes()


def _unpack_times(first: int, steps: bytes) -> "array[int]":
    """Of one share or more."""
    return array("q", accumulate(array(chr(steps[0]), steps[1:]), initial=first))


def pack_number(value: int) -> Number:
    """A number as MessagePack can say it."""
    return value if value < _INT64 else str(value)


def join_keys(miners: Sequence[str]) -> bytes:
    """Keys in hex, as 32 bytes each."""
    text = "".join(miners)
    if len(text) == _HEX_SIZE * len(miners):
        return _AS_KEYS + bytes.fromhex(text)
    return _AS_TEXT + ",".join(miners).encode()


def split_keys(packed: bytes) -> list[str]:
    """What `join_keys` was given."""
    if packed[:1] == _AS_TEXT:
        return packed[1:].decode().split(",")
    text = packed[1:].hex()
    return [text[at : at + _HEX_SIZE] for at in range(0, len(text), _HEX_SIZE)]


def _length(data: bytes) -> int:
    return _LENGTH_SIZE + int.from_bytes(data[:_LENGTH_SIZE], "big")


def unpack_head(data: bytes) -> SharesHead:
    """What stands at the front of what `pack` wrote. Raises msgspec.MsgspecError for anything else."""
    head = memoryview(data)[_LENGTH_SIZE : _length(data)]
    bad, uncredited, unchecked, good, solutions, work, told, kinds = _HEAD.decode(head)
    return SharesHead(bad, uncredited, unchecked, good, solutions, int(work), int(told), kinds)


def unpack_shares(data: bytes) -> CheckedShares:
    """What `pack` wrote. Raises msgspec.MsgspecError, zlib.error or ValueError for anything else."""
    head = unpack_head(data)
    columns = _COLUMNS.decode(zlib.decompress(memoryview(data)[_length(data) :]))
    first, steps, index, session, job, miners, workers, works, jobs, solutions, ratios, best, spoiled, rejects = columns
    count = head.good
    names = zip(split_keys(miners), workers.split(","), map(int, works), strict=True) if works else ()
    return CheckedShares(
        t=_unpack_times(first, steps) if count else array("q"),
        index=array("I", range(count)) if index is None else array("I", index),
        session=array("H", session),
        job=array("B", bytes(count) if job is None else job),
        sessions=tuple(map(Session._make, names)),
        jobs=jobs,
        bad=head.bad,
        uncredited=head.uncredited,
        unchecked=head.unchecked,
        solutions=solutions,
        ratios=ratios,
        best=best,
        spoiled=spoiled,
        told=head.told,
        rejects=rejects,
    )
