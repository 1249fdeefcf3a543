"""Parts of work in columns, with their miners' names packed: those of the same names are added up at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from typing import Generic, TypeVar

from accounting.shares import join_keys, split_keys


@dataclass(frozen=True, slots=True)
class Miners:
    """Each miner's part. `miners`: their keys, packed (accounting.shares.join_keys)."""

    miners: bytes
    parts: tuple[int, ...]

    @property
    def names(self) -> bytes:
        """Whose parts these are, in their order."""
        return self.miners

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return zip(split_keys(self.miners), self.parts, strict=True) if self.parts else iter(())

    def of(self, parts: Sequence[int]) -> "Miners":
        """Other parts of the same miners."""
        return Miners(self.miners, tuple(parts))


@dataclass(frozen=True, slots=True)
class Workers:
    """Each (miner, worker)'s part: the miners' keys, packed; the workers' names, joined by commas."""

    miners: bytes
    workers: str
    parts: tuple[int, ...]

    @property
    def names(self) -> tuple[bytes, str]:
        """Whose parts these are, in their order."""
        return self.miners, self.workers

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[tuple[str, str, int]]:
        if not self.parts:
            return iter(())
        return zip(split_keys(self.miners), self.workers.split(","), self.parts, strict=True)

    def of(self, parts: Sequence[int]) -> "Workers":
        """Other parts of the same workers."""
        return Workers(self.miners, self.workers, tuple(parts))


C = TypeVar("C", Miners, Workers)
NO_MINERS = Miners(join_keys(()), ())
NO_WORKERS = Workers(join_keys(()), "", ())


def miners_of(parts: Mapping[str, int]) -> Miners:
    """The parts by miner, sorted."""
    miners = sorted(parts)
    return Miners(join_keys(miners), tuple(parts[miner] for miner in miners))


def workers_of(parts: Mapping[tuple[str, str], int]) -> Workers:
    """The parts by miner and worker, sorted."""
    named = sorted(parts)
    miners, workers = [miner for miner, _ in named], [worker for _, worker in named]
    return Workers(join_keys(miners), ",".join(workers), tuple(parts[name] for name in named))


class ColumnSum(Generic[C]):
    """Columns added up, those of the same names to one."""

    def __init__(self, columns: Iterable[C] = ()) -> None:
        self._columns: dict[bytes | tuple[bytes, str], tuple[C, Sequence[int]]] = {}
        for column in columns:
            self.add(column)

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[C]:
        return (column.of(parts) for column, parts in self._columns.values())

    def add(self, column: C) -> None:
        """Add one."""
        known = self._columns.get(column.names)
        self._columns[column.names] = (
            column,
            column.parts if known is None else list(map(add, known[1], column.parts)),
        )

    def clear(self) -> None:
        """Begin anew."""
        self._columns.clear()


def join_miners(columns: Iterable[Miners]) -> Miners:
    """The sum of all of these."""
    found = ColumnSum(column for column in columns if column)
    if len(found) == 1:
        return next(iter(found))
    sums: dict[str, int] = {}
    for miner, part in (pair for column in found for pair in column):
        sums[miner] = sums.get(miner, 0) + part
    return miners_of(sums)


def join_workers(columns: Iterable[Workers]) -> Workers:
    """The sum of all of these."""
    found = ColumnSum(column for column in columns if column)
    if len(found) == 1:
        return next(iter(found))
    sums: dict[tuple[str, str], int] = {}
    for miner, worker, part in (row for column in found for row in column):
        sums[miner, worker] = sums.get((miner, worker), 0) + part
    return workers_of(sums)
