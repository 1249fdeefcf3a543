"""Shares that two statements which stand have both counted (SPEC.md, "Other schemes").

What a statement counts goes by those that stood before it and end earlier. One that comes after others which end later
(stated out of order, made void and stated again, an orphan that came back) may count what they have counted: so may
they. Nothing but the two beside one another shows it.
"""

from collections.abc import Iterator

from accounting.earlier import Stated
from accounting.findings import Code, Finding, finding
from accounting.lanes import Lane
from accounting.log import PoolLog
from accounting.schemes.held import Bound, Held
from accounting.selection import Selection, newest_first
from nips.pool.statement import ORPHANED, VOID


def counted_twice(log: PoolLog) -> Iterator[Finding]:
    """Of each line the statements that count what another one with another end has counted; each with one such."""
    for line in log.statements.earlier.lines():
        yield from _of_line(log, line)


def _of_line(log: PoolLog, line: str) -> Iterator[Finding]:
    earlier = log.statements.earlier
    # What stands and ends before the one looked at; those that end together with it.
    before: list[str] = []
    beside: list[str] = []
    reached: dict[str, Bound] = {}
    end_ms = 0
    for name in earlier.counting(line):
        stated, held = earlier.stated(name), earlier.snapshot(name)
        if not _stands(log, name, stated):
            continue
        if stated.end_ms > end_ms:
            for other in beside:
                _reach(reached, earlier.stated(other))
            before += beside
            beside, end_ms = [], stated.end_ms
        beside.append(name)
        # Mostly it held all of them, and no share is looked at.
        if all(_covers(held.bounds.get(lane), reached[lane]) for lane in stated.heads if lane in reached):
            continue
        for other in reversed(before):
            found = _common(log, other, name)
            if found is not None:
                yield found
                break


def _stands(log: PoolLog, name: str, stated: Stated) -> bool:
    said = set(stated.statuses.values())
    if len(stated.statuses) > 1:
        said = {log.books.rewards[name].state}
    return not said & {ORPHANED, VOID}


def _reach(reached: dict[str, Bound], stated: Stated) -> None:
    for lane, seq in stated.heads.items():
        known = reached.get(lane, Bound(-1, 0))
        reached[lane] = Bound(max(known.seq, seq), max(known.end_ms, stated.end_ms))


def _covers(held: Bound | None, bound: Bound) -> bool:
    return held is not None and held.seq >= bound.seq and held.end_ms >= bound.end_ms


def _common(log: PoolLog, first: str, second: str) -> Finding | None:
    """A finding if two statements count one share; `first` ends before `second`."""
    earlier = log.statements.earlier
    one, other = earlier.stated(first), earlier.stated(second)
    before = (earlier.snapshot(first), earlier.snapshot(second))
    for name in sorted(one.heads.keys() & other.heads.keys()):
        if _covers(before[1].bounds.get(name), Bound(one.heads[name], one.end_ms)):
            continue
        lane = log.lanes.find(name)
        if lane is not None and _counts(log, lane, first, second, before):
            text = f"shares of lane {name} up to {one.end_ms} count in two statements of offer {one.offer[:32]!r}"
            return finding(Code.COUNTED_TWICE, text, first, second)
    return None


def _counts(log: PoolLog, lane: Lane, first: str, second: str, before: tuple[Held, Held]) -> bool:
    """Whether a share of a lane counts in both: then the newest that both may count does, since what is held of a lane
    is all up to some share.
    """
    name, earlier = str(lane.key), log.statements.earlier
    one = earlier.stated(first)
    position = lane.position_of(min(one.heads[name], earlier.stated(second).heads[name]))
    if position < 0:
        return False
    rewards = [log.books.rewards[statement].statement.reward for statement in (first, second)]
    height = min((reward.height for reward in rewards if reward.block), default=None)
    cut = {lane.key: lane.batches[position]}
    return all(
        next(newest_first({lane.key: lane}, cut, Selection(one.offer, one.end_ms, height, 0, held)), None) is not None
        for held in before
    )
