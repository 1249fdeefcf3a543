"""What the pool posts (kind 1): a block found, and what a day brought. Pure: the same facts give the same note."""

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from nips.nip01 import Event, Tag, UnsignedEvent
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from noncestr.citizen.facts import BlockFacts, DayFacts
from noncestr.citizen.words import (
    and_list,
    counted,
    difficulty_text,
    effort_percent,
    hashrate_text,
    luck_text,
    sat_text,
)

NOTE: Final = 1
# What a template may hold.
BLOCK_PLACES: Final = frozenset(
    {"pool", "network", "height", "block", "finder", "difficulty", "needed", "effort", "luck", "reward"}
)
DAY_PLACES: Final = frozenset(
    {"pool", "network", "date", "blocks", "heights", "finders", "hashrate", "miners", "best", "paid", "payees"}
)
# A summary names no more of its day's blocks and finders: who is named is notified.
MAX_NAMED: Final = 5
# The tags by which a note is known again.
_SUBJECTS: Final = ("block", "day")
SOMEBODY: Final = "one of our miners"


@dataclass(frozen=True, slots=True)
class NoteStyle:
    """How a pool writes: its name, whether it names finders, its own templates ("": the words below)."""

    name: str
    name_finders: bool = True
    block: str = ""
    day: str = ""


def template_problem(template: str, places: Iterable[str]) -> str | None:
    """What is wrong with a template, if anything."""
    known = sorted(places)
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        return f"must be text with places such as {{{known[0]}}}: {error}"
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if name not in known or spec or conversion:
            return f"has no place {{{name}}}; there are {', '.join(known)}"
    return None


def network_name(network: str) -> str:
    """Where coins are nothing worth, a note says so."""
    return "" if network == "main" else f" on {network} (coins for play)"


def block_subject(block: str) -> str:
    """What a note of this block (its hash as RPC names it) is about: no two notes have the same subject."""
    return f"block:{block}"


def day_subject(date: str) -> str:
    """What a note of this day (YYYY-MM-DD) is about."""
    return f"day:{date}"


def subjects_of(note: Event) -> list[str]:
    """What a note of ours is about."""
    return [f"{name}:{value}" for name in _SUBJECTS for value in note.tag_values(name)]


def block_note(pool: PoolAddress, block: BlockFacts, work: int | None, style: NoteStyle) -> UnsignedEvent:
    """The note of a block in the chain. `work`: the hashes the pool did for it, None if nobody knows. Dated at the
    share.
    """
    finder = f"nostr:{encode_npub(block.finder)}" if style.name_finders else SOMEBODY
    words = {
        "pool": style.name,
        "network": network_name(pool.network),
        "height": f"{block.height:,}",
        "block": block.block,
        "finder": finder,
        "difficulty": difficulty_text(block.value),
        "needed": difficulty_text(block.target),
        "reward": sat_text(block.gross_msat),
        "effort": "" if work is None else f"{effort_percent(work, block.expected)} %",
        "luck": "" if work is None else luck_text(work, block.expected),
    }
    named: tuple[Tag, ...] = (("p", block.finder),) if style.name_finders else ()
    tags = (pool.tag(), ("q", block.event), ("block", block.block), *named, ("t", _topic(pool)))
    content = style.block.format_map(words) if style.block else _block_words(words)
    return UnsignedEvent(NOTE, block.found_ms // 1000, tags, content)


def _block_words(words: Mapping[str, str]) -> str:
    lines = [
        "⛏️ Block {height}{network} found by {finder}",
        "{block}",
        "worth {reward}; its difficulty is {difficulty} where {needed} was needed",
    ]
    if words["effort"]:
        lines.append("it took {effort} of the average work: {luck}")
    return "\n".join(lines).format_map(words)


def day_note(pool: PoolAddress, day: DayFacts, style: NoteStyle) -> UnsignedEvent:
    """The summary of a day, dated at its end."""
    finders = list(dict.fromkeys(block.finder for block in day.blocks))
    shown = finders[:MAX_NAMED] if style.name_finders else []
    people = list(shown)
    best = "none"
    if day.best is not None:
        best = difficulty_text(day.best.target)
        if style.name_finders:
            best += f" by nostr:{encode_npub(day.best.miner)}"
            people = list(dict.fromkeys([*shown, day.best.miner]))
    words = {
        "pool": style.name,
        "network": network_name(pool.network),
        "date": day.date,
        "blocks": counted(len(day.blocks), "block"),
        "heights": _heights(day.blocks),
        "finders": _finders(shown, len(finders)),
        "hashrate": hashrate_text(day.hashrate),
        "miners": counted(day.miners, "miner"),
        "best": best,
        "paid": sat_text(day.paid_msat),
        "payees": counted(day.payees, "miner"),
    }
    named = tuple(("p", miner) for miner in people)
    tags = (pool.tag(), ("day", day.date), *named, ("t", _topic(pool)))
    content = style.day.format_map(words) if style.day else _day_words(words, day)
    return UnsignedEvent(NOTE, day.end_ms // 1000, tags, content)


def _day_words(words: Mapping[str, str], day: DayFacts) -> str:
    lines = ["📅 {pool}{network} on {date}"]
    if day.blocks:
        lines.append("{blocks} ({heights})" + (" found by {finders}" if words["finders"] else ""))
    else:
        lines.append("no block: they come at random, and the next day is as good as any")
    if day.work:
        lines.append("{hashrate} on average by {miners}")
    if day.best is not None:
        lines.append("hardest share: {best}")
    if day.payees:
        lines.append("paid out: {paid} to {payees}")
    return "\n".join(lines).format_map(words)


def _heights(blocks: tuple[BlockFacts, ...]) -> str:
    shown = [f"{block.height:,}" for block in blocks[:MAX_NAMED]]
    more = len(blocks) - len(shown)
    return and_list([*shown, f"{more:,} more"] if more else shown) if shown else ""


def _finders(shown: list[str], total: int) -> str:
    if not shown:
        return ""
    names = [f"nostr:{encode_npub(finder)}" for finder in shown]
    more = total - len(shown)
    return and_list([*names, f"{more:,} more"] if more else names)


def _topic(pool: PoolAddress) -> str:
    return "bitcoin" if pool.network == "main" else pool.network
