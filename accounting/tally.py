"""What a batch counts in a window that holds all of it: sums by offer, height and miner, without its single shares."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from accounting.columns import NO_MINERS, NO_WORKERS, Miners, Workers, miners_of, workers_of
from accounting.schemes.lots import value
from accounting.shares import CheckedShares, Number, pack_number


class TallyRow(NamedTuple):
    """The work of one offer's shares for one height: t of the first (Unix ms), the sum, each miner's part; where the
    offer pays by share, what each miner's are worth (accounting.schemes.lots); where the terms pay loyalty, each
    (miner, worker)'s part.
    """

    offer: str
    height: int
    first_ms: int
    work: int
    by_miner: Miners
    values: Miners = NO_MINERS
    by_worker: Workers = NO_WORKERS


@dataclass(frozen=True, slots=True)
class Tally:
    """A batch's window in Unix ms and its work."""

    from_ms: int
    to_ms: int
    rows: tuple[TallyRow, ...]

    def pack(self) -> bytes:
        """The tally as MessagePack, in columns."""
        rows = [
            (
                row.offer,
                row.height,
                row.first_ms,
                pack_number(row.work),
                *_packed(row.by_miner),
                *_packed(row.values),
                *_packed(row.by_worker),
                row.by_worker.workers,
            )
            for row in self.rows
        ]
        return msgspec.msgpack.encode((self.from_ms, self.to_ms, rows))


_Parts = list[Number]
_Row = tuple[str, int, int, Number, bytes, _Parts, bytes, _Parts, bytes, _Parts, str]
_DECODER = msgspec.msgpack.Decoder(tuple[int, int, list[_Row]])


def _packed(column: Miners | Workers) -> tuple[bytes, _Parts]:
    return column.miners, [pack_number(part) for part in column.parts]


def _miners(miners: bytes, parts: _Parts) -> Miners:
    return Miners(miners, tuple(map(int, parts))) if parts else NO_MINERS


def unpack_tally(data: bytes) -> Tally:
    """What `pack` wrote. Raises msgspec.MsgspecError or ValueError for anything else."""
    from_ms, to_ms, packed = _DECODER.decode(data)
    rows = []
    for offer, height, first_ms, work, miners, parts, paid, values, owners, works, names in packed:
        by_worker = Workers(owners, names, tuple(map(int, works))) if works else NO_WORKERS
        rows.append(
            TallyRow(offer, height, first_ms, int(work), _miners(miners, parts), _miners(paid, values), by_worker)
        )
    return Tally(from_ms, to_ms, tuple(rows))


def tally_of(from_ms: int, to_ms: int, shares: CheckedShares) -> Tally:
    """Sum a batch up."""
    kinds = sorted({(job.offer, job.height) for job in shares.jobs})
    rows = []
    for offer, height in kinds:
        if len(kinds) == 1:
            sessions, first = Counter(shares.session), shares.t[0] if shares.t else 0
        else:
            fits = [(job.offer, job.height) == (offer, height) for job in shares.jobs]
            mine = [row for row, job in enumerate(shares.job) if fits[job]]
            sessions = Counter(shares.session[row] for row in mine)
            first = shares.t[mine[0]] if mine else 0
        by_miner: dict[str, int] = {}
        for session, count in sessions.items():
            who = shares.sessions[session]
            by_miner[who.miner] = by_miner.get(who.miner, 0) + who.work * count
        if by_miner:
            parts, values = miners_of(by_miner), _values(shares, offer, height)
            workers = _by_worker(shares, sessions) if any(job.by_worker for job in shares.jobs) else NO_WORKERS
            rows.append(TallyRow(offer, height, first, sum(by_miner.values()), parts, values, workers))
    return Tally(from_ms, to_ms, tuple(rows))


def _by_worker(shares: CheckedShares, sessions: Mapping[int, int]) -> Workers:
    """Each worker's part; `sessions`: how many shares each session has."""
    works: dict[tuple[str, str], int] = {}
    for session, count in sessions.items():
        who = shares.sessions[session]
        works[who.miner, who.worker] = works.get((who.miner, who.worker), 0) + who.work * count
    return workers_of(works)


def _values(shares: CheckedShares, offer: str, height: int) -> Miners:
    """What each miner's shares of an offer and height are worth; nothing if they have no price."""
    prices = [job.price if (job.offer, job.height) == (offer, height) else None for job in shares.jobs]
    if not any(prices):
        return NO_MINERS
    values: dict[str, int] = {}
    for (session, job), count in Counter(zip(shares.session, shares.job, strict=True)).items():
        price, who = prices[job], shares.sessions[session]
        if price is not None:
            values[who.miner] = values.get(who.miner, 0) + value(who.work, price) * count
    return miners_of(values)
