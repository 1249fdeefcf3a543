"""What miners and their workers did in a batch, or in many: what statistics and totals count, without single shares."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from accounting.shares import RATIO_BITS, CheckedShares, Number, join_keys, pack_number, split_keys


class WorkerSum(NamedTuple):
    """A worker's good shares: how many, their work, the sum of their hash / target in 1/65536; t of the first and of
    the last, Unix ms.
    """

    miner: str
    worker: str
    shares: int
    work: int
    ratios: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Sums:
    """So many batches, the last of which ended at `to_ms`: by worker, and (miner, times) of what the edge refused."""

    to_ms: int
    batches: int
    rows: tuple[WorkerSum, ...]
    rejects: tuple[tuple[str, int], ...] = ()

    def pack(self) -> bytes:
        """The sums as MessagePack, in columns."""
        miners, workers, shares, works, ratios, firsts, lasts = zip(*self.rows, strict=True) if self.rows else ((),) * 7
        names = [miner for miner, _ in self.rejects]
        return msgspec.msgpack.encode(
            (
                self.to_ms,
                self.batches,
                join_keys(miners),
                ",".join(workers),
                shares,
                [pack_number(work) for work in works],
                [pack_number(ratio) for ratio in ratios],
                firsts,
                lasts,
                join_keys(names),
                [times for _, times in self.rejects],
            )
        )


_Ints = list[int]
_DECODER = msgspec.msgpack.Decoder(
    tuple[int, int, bytes, str, _Ints, list[Number], list[Number], _Ints, _Ints, bytes, _Ints]
)


def unpack_sums(data: bytes) -> Sums:
    """What `pack` wrote. Raises msgspec.MsgspecError or ValueError for anything else."""
    to_ms, batches, miners, workers, shares, works, ratios, firsts, lasts, names, times = _DECODER.decode(data)
    columns = (map(int, works), map(int, ratios), firsts, lasts)
    rows = zip(split_keys(miners), workers.split(","), shares, *columns, strict=True) if shares else ()
    rejects = zip(split_keys(names), times, strict=True) if times else ()
    return Sums(to_ms, batches, tuple(map(WorkerSum._make, rows)), tuple(rejects))


def sum_up(to_ms: int, shares: CheckedShares) -> Sums:
    """A batch, by session: its shares stand in the order of their times."""
    session, t, ratios = shares.session, shares.t, shares.ratios
    newest = dict(zip(session, t, strict=True))
    oldest = dict(zip(reversed(session), reversed(t), strict=True))
    rows = []
    for number, count in Counter(session).items():
        miner, worker, each = shares.sessions[number]
        # Of an older form of the log the hashes are not known: a good share's hash is half its target in the mean.
        ratio = ratios[number] if ratios else count << (RATIO_BITS - 1)
        rows.append(WorkerSum(miner, worker, count, each * count, ratio, oldest[number], newest[number]))
    rejects = tuple((shares.sessions[reject.session].miner, reject.times) for reject in shares.rejects)
    return Sums(to_ms, 1, tuple(rows), rejects)


def join_sums(parts: Iterable[Sums]) -> Sums:
    """What these come to together."""
    to_ms = batches = 0
    workers: dict[tuple[str, str], WorkerSum] = {}
    rejects: Counter[str] = Counter()
    for part in parts:
        to_ms, batches = max(to_ms, part.to_ms), batches + part.batches
        for row in part.rows:
            key = row[:2]
            known = workers.get(key)
            workers[key] = row if known is None else _joined(known, row)
        for miner, times in part.rejects:
            rejects[miner] += times
    return Sums(to_ms, batches, tuple(workers.values()), tuple(rejects.items()))


def _joined(one: WorkerSum, other: WorkerSum) -> WorkerSum:
    return WorkerSum(
        one.miner,
        one.worker,
        one.shares + other.shares,
        one.work + other.work,
        one.ratios + other.ratios,
        min(one.first_ms, other.first_ms),
        max(one.last_ms, other.last_ms),
    )
