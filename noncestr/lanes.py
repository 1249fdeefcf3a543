"""Which lane each of the edge's processes goes on in, and what becomes of the lanes that nobody goes on in.

Going on in a lane without its journal would fork it: two batches with one number. And a lane that is neither continued,
finished nor closed would hold up every statement, which wait for all open lanes. So a journal that no process takes up
any more is finished with a last batch, a lane whose journal is gone is closed by the terms, and no number serves twice.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import anyio

from nips.errors import InvalidPoolEvent
from nips.nip01 import Filter, VerifiedEvent, make_filter
from nips.nip19 import parse_pubkey
from nips.pool.address import PoolAddress
from nips.pool.chain import Head
from nips.pool.kinds import RECEIPT
from nips.pool.receipt import parse_receipt
from nips.pool.terms import EVERY_CHAIN, NEVER
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.errors import JournalInUse

log = logging.getLogger("noncestr.lanes")

# A lane's process that lost its parent lets go of its journal within seconds; nobody else may hold one.
IN_USE_S: Final = 15.0
_LOOK_S: Final = 0.1
# Beyond any process's number; a lane's is below 65,536.
ASIDE: Final = 100_000


class Feed(Protocol):
    """The relay bridge, as far as this goes."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """Stored events of the relays."""


@dataclass(frozen=True, slots=True)
class LanePlan:
    """`lanes`: each process's lane. `closed`: `<edge>/<lane>` -> last batch, of lanes given up. `finish`: journals
    whose lane gets its last batch now. `over`: journals of lanes that have had it.
    """

    lanes: tuple[int, ...]
    closed: Mapping[str, Head]
    finish: tuple[Path, ...] = ()
    over: tuple[Path, ...] = ()


@dataclass(slots=True)
class SeenLane:
    """A lane as the relays have it."""

    head: Head
    finished: bool = False


def journal_of(root: Path, process: int) -> Path:
    """Where a process keeps its journal: the first where a single one always did, the others in folders of it."""
    return root if process == 0 else root / str(process)


def has_journal(journal_dir: Path) -> bool:
    """Whether an edge has left a journal there."""
    return any(journal_dir.glob("*.journal"))


def journals_in(root: Path) -> dict[int, Path]:
    """The processes whose journals are there."""
    found = {0: root} if has_journal(root) else {}
    for folder in root.glob("*/"):
        if folder.name.isascii() and folder.name.isdecimal() and folder.name != "0" and has_journal(folder):
            found[int(folder.name)] = folder
    return dict(sorted(found.items()))


async def _open(journal_dir: Path) -> JournalFile:
    give_up = anyio.current_time() + IN_USE_S
    while True:
        try:
            return JournalFile(journal_dir)
        except JournalInUse:
            if anyio.current_time() >= give_up:
                raise
            await anyio.sleep(_LOOK_S)


async def lane_of(journal_dir: Path) -> int | None:
    """The number of a journal's lane; None when it never began. Raises JournalInUse, JournalDamaged."""
    journal = await _open(journal_dir)
    try:
        recovered = journal.recover()
    finally:
        journal.close()
    return None if recovered is None else recovered.checkpoint.lane


async def wait_for_orphans(root: Path) -> None:
    """Wait until the processes of a pool that was killed have gone: they hold their ports and journals for a moment.

    Raises JournalInUse.
    """
    for path in journals_in(root).values():
        (await _open(path)).close()


async def seen_lanes(feed: Feed, pool: PoolAddress, edges: Collection[str]) -> dict[tuple[str, int], SeenLane]:
    """The lanes of some edge keys as the relays have them."""
    wanted = make_filter(kinds=[RECEIPT], authors=sorted(edges), tags={"a": [str(pool)]})
    found: dict[tuple[str, int], SeenLane] = {}
    for event in await feed.fetch([wanted]):
        try:
            receipt = parse_receipt(event)
        except InvalidPoolEvent:
            continue
        head = Head(receipt.link.seq, receipt.id)
        lane = found.setdefault((event.pubkey, receipt.lane), SeenLane(head))
        if head.seq > lane.head.seq:
            lane.head = head
        lane.finished |= receipt.fin
    return found


async def close_keys(feed: Feed, pool: PoolAddress, left_out: Collection[str]) -> dict[str, Head]:
    """What terms that leave edge keys out must say of them: every lane of theirs closed at its last batch, and every
    other chain before its first, since whoever has such a key can date what it signs as it likes.
    """
    if not left_out:
        return {}
    seen = await seen_lanes(feed, pool, left_out)
    ends = {f"{edge}/{number}": lane.head for (edge, number), lane in sorted(seen.items())}
    return {**ends, **{f"{edge}/{EVERY_CHAIN}": NEVER for edge in sorted(left_out)}}


async def close_lanes(
    feed: Feed, pool: PoolAddress, names: Collection[str], closed: Collection[str]
) -> dict[str, Head]:
    """Close lanes of other hosts' edges by their operators' word: `names` are KEY/NUMBER, KEY an npub or hex.

    Those in `closed` are; one that no relay knows is left open, and said.
    """
    wanted = {}
    for name in names:
        key, _, number = name.partition("/")
        lane = (parse_pubkey(key), int(number))
        if f"{lane[0]}/{lane[1]}" not in closed:
            wanted[lane] = name
    if not wanted:
        return {}
    seen = await seen_lanes(feed, pool, {edge for edge, _ in wanted})
    for lane, name in wanted.items():
        if lane not in seen:
            log.warning("lane %s can't be closed: no relay has a batch of it", name)
    return {f"{edge}/{number}": seen[(edge, number)].head for edge, number in sorted(wanted) if (edge, number) in seen}


async def plan_lanes(
    feed: Feed, edge: str, pool: PoolAddress, root: Path, workers: int, closed: Collection[str] = ()
) -> LanePlan:
    """The lanes of `workers` processes; the relays are asked only when a journal is missing or left over.

    `closed`: the `<edge>/<lane>` that terms have closed. Raises JournalInUse, JournalDamaged.
    """
    kept: dict[int, tuple[Path, int]] = {}
    for process, path in journals_in(root).items():
        number = await lane_of(path)
        if number is not None:
            kept[process] = (path, number)
    seen: dict[int, SeenLane] = {}
    if set(kept) != set(range(workers)):
        everything = await seen_lanes(feed, pool, [edge])
        seen = {number: lane for (_, number), lane in everything.items()}
    # A lane that was finished or closed while its journal was still there is over.
    ended = {number for number, lane in seen.items() if lane.finished}
    ended |= {number for _, number in kept.values() if f"{edge}/{number}" in closed}
    over = tuple(path for path, number in kept.values() if number in ended)
    kept = {process: (path, number) for process, (path, number) in kept.items() if number not in ended}
    used = {*seen, *(number for _, number in kept.values()), *_numbers(edge, closed), *ended}
    fresh = max(used, default=-1) + 1
    lanes = []
    for process in range(workers):
        if process in kept:
            lanes.append(kept[process][1])
        else:
            lanes.append(fresh)
            fresh += 1
    known = {number for _, number in kept.values()} | ended | _numbers(edge, closed)
    lost = {number: lane for number, lane in seen.items() if number not in known}
    return LanePlan(
        tuple(lanes),
        {f"{edge}/{number}": lane.head for number, lane in sorted(lost.items())},
        tuple(path for process, (path, _) in kept.items() if process >= workers),
        over,
    )


def put_away(journal_dir: Path, root: Path, lane: int | None) -> Path:
    """Move the journal of a lane that has ended out of the way; it is kept, in `root/over/`. Returns where."""
    folder = root / "over" / ("unbegun" if lane is None else str(lane))
    _move(journal_dir, folder)
    return folder


def set_aside(journal_dir: Path, root: Path, lane: int) -> None:
    """Move the journal of a lane that is to be finished to where no process looks for its own: `journals_in` has it,
    beyond every process's number.
    """
    _move(journal_dir, root / str(ASIDE + lane))


def _move(journal_dir: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # The newest last: a kill in between must not leave an older segment to go on from.
    for path in sorted(journal_dir.glob("*.journal")):
        path.replace(folder / path.name)


def _numbers(edge: str, closed: Collection[str]) -> set[int]:
    """The numbers of the edge's own lanes among the chains that are closed; others have names that are none."""
    parts = (name.partition("/") for name in closed)
    return {int(number) for key, _, number in parts if key == edge and number.isascii() and number.isdecimal()}
