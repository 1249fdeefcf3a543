"""What a batch counts in a window that holds all of it: sums by offer, height and miner, without its single shares."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from accounting.shares import CheckedShares


class TallyRow(NamedTuple):
    """The work of one offer's shares for one height: t of the first (Unix ms), the sum, each miner's part."""

    offer: str
    height: int
    first_ms: int
    work: int
    by_miner: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """A batch's window in Unix ms and its work."""

    from_ms: int
    to_ms: int
    rows: tuple[TallyRow, ...]

    def pack(self) -> bytes:
        """The tally as MessagePack, work as text since it may pass 2^63."""
        rows = [
            (row.offer, row.height, row.first_ms, str(row.work), [(miner, str(work)) for miner, work in row.by_miner])
            for row in self.rows
        ]
        return msgspec.msgpack.encode((self.from_ms, self.to_ms, rows))


_Packed = tuple[int, int, list[tuple[str, int, int, str, list[tuple[str, str]]]]]
_DECODER = msgspec.msgpack.Decoder(_Packed)


def unpack_tally(data: bytes) -> Tally:
    """What `pack` wrote. Raises msgspec.MsgspecError for anything else."""
    from_ms, to_ms, rows = _DECODER.decode(data)
    return Tally(
        from_ms,
        to_ms,
        tuple(
            TallyRow(offer, height, first_ms, int(work), tuple((miner, int(part)) for miner, part in by_miner))
            for offer, height, first_ms, work, by_miner in rows
        ),
    )


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
            rows.append(TallyRow(offer, height, first, sum(by_miner.values()), tuple(sorted(by_miner.items()))))
    return Tally(from_ms, to_ms, tuple(rows))
