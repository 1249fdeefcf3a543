"""Which lane each of the edge's processes goes on in, and what becomes of the lanes that nobody goes on in.

Going on in a lane without its journal would fork it: two batches with one number. And a lane that is neither continued,
finished nor closed would hold up every statement, which wait for all open lanes. So a journal that no process takes up
any more is finished with a last batch, a lane whose journal is gone is closed by the terms, and no number serves twice.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import anyio

from nips.errors import InvalidPoolEvent
from nips.nip01 import Filter, VerifiedEvent, make_filter
from nips.nip19 import parse_pubkey
from nips.pool.address import PoolAddress
from nips.pool.chain import Head
from nips.pool.kinds import RECEIPT
from nips.pool.receipt import parse_receipt
from nips.pool.terms import EVERY_CHAIN, NEVER
from relay_bridge.errors import RelayBridgeError
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


class KeptLane(NamedTuple):
    """A lane as a journal has it: `seq` is its last batch's number, -1 before the first, `newest_s` that one's date.
    `finished`: it has had its last batch, which may not have been sent yet.
    """

    number: int
    seq: int
    newest_s: int
    finished: bool


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


async def lane_in(journal_dir: Path) -> KeptLane | None:
    """A journal's lane; None when it never began. Raises JournalInUse, JournalDamaged."""
    journal = await _open(journal_dir)
    try:
        recovered = journal.recover()
    finally:
        journal.close()
    if recovered is None:
        return None
    seq = -1 if recovered.head is None else recovered.head.seq
    return KeptLane(recovered.checkpoint.lane, seq, recovered.newest_s, recovered.finished)


async def wait_for_orphans(root: Path) -> None:
    """Wait until the processes of a pool that was killed have gone: they hold their ports and journals for a moment.

    Raises JournalInUse.
    """
    for path in journals_in(root).values():
        (await _open(path)).close()


async def seen_lanes(
    feed: Feed, pool: PoolAddress, edges: Collection[str], since: int | None = None
) -> dict[tuple[str, int], SeenLane]:
    """The lanes of some edge keys as the relays have them, by their batches dated from `since` (Unix seconds) on."""
    wanted = make_filter(kinds=[RECEIPT], authors=sorted(edges), tags={"a": [str(pool)]}, since=since)
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
    """The lanes of `workers` processes. The relays are asked for all batches when a journal is missing or left over,
    else for those that are newer than the journals, and without an answer it goes on with those.

    `closed`: the `<edge>/<lane>` that terms have closed. Raises JournalInUse, JournalDamaged.
    """
    kept: dict[int, tuple[Path, KeptLane]] = {}
    for process, path in journals_in(root).items():
        lane = await lane_in(path)
        if lane is None:
            continue
        if lane.finished and process < ASIDE:
            # Killed between its last batch and putting the journal away: what is unsent is sent, nothing follows.
            set_aside(path, root, lane.number)
            kept[ASIDE + lane.number] = (root / str(ASIDE + lane.number), lane)
        else:
            kept[process] = (path, lane)
    whole = set(kept) == set(range(workers))
    since = min((lane.newest_s for _, lane in kept.values()), default=None) if whole else None
    try:
        everything = await seen_lanes(feed, pool, [edge], since)
    except RelayBridgeError as error:
        if not whole:
            raise
        log.warning("no relay says whether the journals are the newest: %s", error)
        everything = {}
    seen = {number: lane for (_, number), lane in everything.items()}
    # A lane that was finished or closed while its journal was still there is over; so is one that has been told beyond
    # what its journal knows: the journal was put back from a copy, and going on in it would fork the lane.
    ended = {number for number, lane in seen.items() if lane.finished}
    ended |= {lane.number for _, lane in kept.values() if f"{edge}/{lane.number}" in closed}
    old = {lane.number for _, lane in kept.values() if lane.number in seen and seen[lane.number].head.seq > lane.seq}
    for number in sorted(old - ended):
        log.error("the journal of lane %d is older than what was published of it: another lane is begun", number)
    over = tuple(path for path, lane in kept.values() if lane.number in ended | old)
    kept = {process: (path, lane) for process, (path, lane) in kept.items() if lane.number not in ended | old}
    used = {*seen, *(lane.number for _, lane in kept.values()), *_numbers(edge, closed), *ended}
    fresh = max(used, default=-1) + 1
    lanes = []
    for process in range(workers):
        if process in kept:
            lanes.append(kept[process][1].number)
        else:
            lanes.append(fresh)
            fresh += 1
    known = {lane.number for _, lane in kept.values()} | ended | _numbers(edge, closed)
    # With a lane's journal at hand only its newest batches were asked for: others' heads are not known then.
    lost = {number: lane for number, lane in seen.items() if number not in known and (not whole or number in old)}
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
