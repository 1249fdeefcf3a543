"""What `noncestr edge status` and `sessions` print for people."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from nips.nip19 import encode_npub
from noncestr.edge.watermarks import largest_skew
from stratum_edge.messages import DUPLICATE, LOW_DIFFICULTY, NOT_SUBSCRIBED, OTHER, STALE, UNAUTHORIZED

# What Stratum's error codes say.
REASONS: Final[Mapping[int, str]] = {
    OTHER: "other",
    STALE: "stale",
    DUPLICATE: "duplicate",
    LOW_DIFFICULTY: "low difficulty",
    UNAUTHORIZED: "unauthorized",
    NOT_SUBSCRIBED: "not subscribed",
}
# More than any line needs, so that nothing is folded where a program reads on.
PIPE_WIDTH: Final = 400
# Blocks named beside a lane; the others are counted.
HELD_SHOWN: Final = 2
_UNITS: Final = ("H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s", "ZH/s")


def hashrate(hashes_per_second: int) -> str:
    """Four digits at most, and the unit."""
    value, unit = float(hashes_per_second), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 100 else f"{value:.1f} {_UNITS[unit]}"


def duration(ms: int) -> str:
    """The two largest units."""
    seconds = ms // 1000
    for size, unit, below, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // below}{smaller}"
    return f"{seconds}s"


def rejects(counts: Mapping[Any, int]) -> str:
    """Each reason with its count, most first."""
    found = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{REASONS.get(int(code), str(code))} {count}" for code, count in found) or "none"


def short(npub: str) -> str:
    """Enough of an npub to know it by."""
    return f"{npub[:12]}…{npub[-6:]}" if len(npub) > 20 else npub


def session_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A connection with its miner's npub, "" before it is authorized."""
    return {**row, "miner": encode_npub(row["miner"]) if row["miner"] else ""}


def _console() -> Console:
    """Standard output; a pipe has no width of its own and gets whole lines. Nothing in it is markup: miners say what
    their agents are called.
    """
    console = Console(markup=False, emoji=False)
    return console if console.is_terminal else Console(width=PIPE_WIDTH, markup=False, emoji=False)


def _table(*columns: str) -> Table:
    table = Table(box=None)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def show_status(found: Mapping[str, Any], console: Console | None = None) -> None:
    """The pool's edge: its lanes, and what holds for all."""
    console = console or _console()
    total = found["total"]
    ports = ", ".join(f"{name} {number}" for name, number in found["ports"].items())
    console.print(f"{found['network']} pool {found['pool']}", highlight=False, soft_wrap=True)
    console.print(f"edge {found['edge']}, noncestr {found['version']}", highlight=False, soft_wrap=True)
    console.print(f"ports: {ports}" + (", being drained" if found["draining"] else ""), highlight=False)
    lost = total["node_lost_s"]
    console.print(
        f"node: {'answers' if not lost else f'silent for {lost:.0f} s'}, height {total['height']}, job {total['job']}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    lanes = _table("lane", "pid", "sessions", "miners", "hashrate", "accepted", "refused", "batch", "unpublished")
    for report in found["lanes"]:
        edge = report["edge"]
        lanes.add_row(
            str(report["lane"]), str(report["pid"]), str(edge["sessions"]), str(edge["miners"]),
            hashrate(edge["hashrate_hs"]), str(edge["accepted"]), str(sum(edge["rejected"].values())),
            str(edge["batch_seq"]), f"{edge['unpublished']}{', STALLED' if edge['stalled'] else ''}",
        )  # fmt: skip
    console.print(lanes)
    console.print(
        f"{total['sessions']} sessions, {hashrate(total['hashrate_hs'])}; refused: {rejects(total['rejected'])}",
        highlight=False,
    )
    blocks = ", ".join(f"{outcome} {count}" for outcome, count in total["blocks"].items()) or "none"
    console.print(f"blocks since the start: {blocks}", highlight=False)
    if total["stalled"]:
        console.print("stalled: a lane is down or can't write its journal, see the log", highlight=False)
    if found.get("watermarks"):
        show_watermarks(found["watermarks"], console)
    if "clock" in found:
        console.print(f"clock: {clock_words(found['clock'])}", highlight=False)
    for relay in found["relays"]:
        state = "connected" if relay["connected"] else f"away ({relay['error'] or 'not reached yet'})"
        console.print(f"relay {relay['url']}: {state}, {relay['backlog']} events behind", highlight=False)


def show_watermarks(marks: Sequence[Mapping[str, Any]], console: Console) -> None:
    """How far each lane of the pool has been told, and what waits for it."""
    table = _table("lane of the pool", "batch", "told up to", "heard", "clock", "holds up")
    for mark in marks:
        held = ", ".join(f"{held['height']} {held['block'][:12]}…" for held in mark["holds_up"][:HELD_SHOWN])
        more = len(mark["holds_up"]) - HELD_SHOWN
        heard = f"{duration(mark['quiet_ms'])} ago" + (", SILENT" if mark["silent"] else "")
        table.add_row(
            mark["lane"] + (" (own)" if mark["own"] else ""), str(mark["batch"]), f"{duration(mark['age_ms'])} ago",
            heard, clock_difference(mark["clock_ms"]),
            f"{held} and {more} more" if more > 0 else held or "-",
        )  # fmt: skip
    console.print(table)
    skew = largest_skew(marks)
    if skew is not None:
        console.print(f"largest difference of a lane's clock: {clock_difference(skew)}", highlight=False)


def clock_difference(ms: int | None) -> str:
    """A clock against ours: the sign says ahead or behind."""
    return "?" if ms is None else f"{ms / 1000:+.1f} s"


def clock_words(clock: Mapping[str, Any]) -> str:
    """How an edge's clock stands against its pool's and its node's."""
    pool, node = clock_difference(clock["pool_ms"]), clock_difference(clock["node_ms"])
    return f"{pool} against the pool's, {node} against the node's; no mining beyond {clock['bound_ms'] // 1000} s"


def show_lost(reports: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """What counts nowhere, lane by lane, miner by miner."""
    console = console or _console()
    if not reports:
        console.print("nothing is lost: no lane of this edge was closed before all of it was published")
    for report in reports:
        state = "" if report["complete"] else "; not all of it is on the relays yet, this grows"
        console.print(
            f"lane {report['lane']}, closed at batch {report['batch']}: {report['shares']} shares, work"
            f" {report['work']}, in {report['batches']} batches count nowhere{state}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        table = _table("miner", "shares", "work")
        for row in report["miners"]:
            table.add_row(row["miner"], str(row["shares"]), row["work"])
        if report["miners"]:
            console.print(table)
        for block in report["blocks"]:
            console.print(f"block {block['height']} {block['block']}: no reward is split for it", highlight=False)


def show_sessions(rows: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """A line a connection."""
    console = console or _console()
    if not rows:
        console.print("nobody is connected")
        return
    table = _table(
        "lane", "port", "address", "miner", "workers", "agent", "difficulty", "hashrate", "shares", "refused",
        "since", "idle",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            str(row["lane"]), row["port"], row["address"], short(row["miner"]) or "-", ", ".join(row["workers"]),
            row["agent"], row["difficulty"], hashrate(row["hashrate_hs"]), str(row["accepted"]),
            str(row["rejected"]), duration(row["since_ms"]), duration(row["idle_ms"]),
        )  # fmt: skip
    console.print(table)
