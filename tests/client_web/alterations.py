"""Logs altered at random, after they were told and while they are: what two verifiers are compared by.

What the alteration touches is signed anew by the key that signed it; where it stands in a chain whose events no work
rests on, all that follows is signed on top of it, as a pool that cheats would do.
"""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event
from nips.pool import kinds
from tests.accounting.conftest import KEYS
from tests.accounting.tampering import mutations

Signed = VerifiedEvent
KEY_OF: Mapping[str, SecretKey] = {key.pubkey: key for key in KEYS}
# Chains on whose events no work rests: they can be told otherwise from any place on.
LATER = {
    kinds.STATEMENT: "accounting",
    kinds.STATUS: "accounting",
    kinds.STATEMENT_PART: "accounting",
    kinds.ARCHIVE: "accounting",
    kinds.SUMMARY: "accounting",
    kinds.PAYOUT: "payouts",
}
BIG = 2**53 - 1
# What one reader might take for something else than another.
NUMBERS = (
    "0", "-0", "1", "-1", "1e3", "1E3", "1.0", "0.5", "01", "+1", "0x10", "1_000", "NaN", "Infinity", "-Infinity",
    str(BIG), str(BIG + 1), str(-BIG), str(-BIG - 1), "9" * 30, "1e400", "null", "true", '"1"', '""', "[]", "{}",
    "[1]", '"\\u0031"', " 1 ", "\t1", "\u00a01", "\ufeff1", "1 2", "'1'", "undefined", "1,", "٣",
)  # fmt: skip
TEXTS = (
    '"\n"', '""', '" "', '"\\u0000"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00"', '"\\u00e9"', '"\\/"', '"\\x41"',
    '"\\u12"',
    '"\u0001"', '"\u007f"', '"\u2028"', '"é"', '"0"', '"00"', '"1e3"', '"-1"', '"+1"', '" 1"', '"1\\n"', '"A"',
    '"__proto__"', '"constructor"', '"0x1"', '"1_0"', '"٣"', '"１"', "0", "1", "null", "true", "[]", "{}", '["a"]',
)  # fmt: skip
_LEAF = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+')


@dataclass(frozen=True)
class Source:
    """A log to be altered, as told by `tell(tamper)`; `after_ms` its end, ms after it began."""

    name: str
    tell: Callable[..., Any]
    after_ms: int


def _date(event: Signed, second: int) -> UnsignedEvent:
    return UnsignedEvent(event.kind, max(0, second), event.tags, event.content)


def _bare(event: Signed) -> UnsignedEvent:
    return UnsignedEvent(event.kind, event.created_at, event.tags, event.content)


def spell(event: UnsignedEvent, chance: random.Random) -> UnsignedEvent:
    """A leaf of the content's JSON spelt otherwise, or a name told twice, or white space."""
    content = event.content
    spots = list(_LEAF.finditer(content))
    way = chance.random()
    if way < 0.1:
        at = chance.choice([spot.start() for spot in re.finditer(r"[,:{}\[\]]", content)] or [0])
        content = content[:at] + chance.choice((" ", "\t", "\n", "\r", "\u00a0", "\ufeff", "\x00", "\v")) + content[at:]
    elif way < 0.2 and spots:
        name = chance.choice([spot for spot in spots if spot[0][0] == '"'])
        content = content[: name.end()] + ":0," + name[0] + content[name.end() :]
    elif way < 0.25:
        deep = chance.choice((62, 63, 64, 65, 1000))
        content = content[:-1] + ',"x":' + "[" * deep + "]" * deep + "}"
    elif way < 0.3:
        content = content[:-1] + f',"x":{chance.choice(NUMBERS + TEXTS)}' + "}"
    elif spots:
        spot = chance.choice(spots)
        value = chance.choice(NUMBERS if spot[0][0] != '"' else (*TEXTS, spot[0].upper(), f'"{spot[0][1:-1]} "'))
        content = content[: spot.start()] + value + content[spot.end() :]
    return UnsignedEvent(event.kind, event.created_at, event.tags, content)


def tags(event: UnsignedEvent, chance: random.Random) -> UnsignedEvent:
    """A tag left out, told twice, moved, given more values, or with another value."""
    rows = [list(tag) for tag in event.tags]
    at = chance.randrange(len(rows))
    way = chance.randrange(8)
    if way == 0:
        del rows[at]
    elif way == 1:
        rows.insert(chance.randrange(len(rows) + 1), list(rows[at]))
    elif way == 2:
        other = chance.randrange(len(rows))
        rows[at], rows[other] = rows[other], rows[at]
    elif way == 3:
        rows[at].append(chance.choice(("", "x", rows[at][-1])))
    elif way == 4:
        rows[at] = rows[at][: chance.randrange(1, len(rows[at]) + 1)]
    elif way == 5:
        rows.append([rows[at][0]])
    elif way == 6:
        place = chance.randrange(len(rows[at]))
        rows[at][place] = chance.choice(
            ("", "0", "00", "-1", "+1", "1e3", str(BIG), str(BIG + 1), " 1", "x", "1\n", "٣")
        )
    else:
        row = list(rows[at])
        row[-1] = chance.choice(("", "0", "00" * 32, row[-1].upper(), row[-1] + " "))
        rows.insert(at, row)
    return UnsignedEvent(event.kind, event.created_at, tuple(map(tuple, rows)), event.content)


def swap(event: UnsignedEvent, other: Signed, chance: random.Random) -> UnsignedEvent:
    """A field of the content, or the tags of a name, as another event of the kind has them."""
    try:
        mine, theirs = json.loads(event.content), json.loads(other.content)
    except (ValueError, RecursionError):
        return event
    if not isinstance(mine, dict):
        return event
    if chance.random() < 0.25:
        name = chance.choice(other.tags)[0]
        rest = [tag for tag in event.tags if tag[0] != name]
        put = [tag for tag in other.tags if tag[0] == name]
        at = next((i for i, tag in enumerate(event.tags) if tag[0] == name), len(rest))
        return UnsignedEvent(event.kind, event.created_at, (*rest[:at], *put, *rest[at:]), event.content)
    name = chance.choice(sorted(theirs))
    text = json.dumps({**mine, name: theirs[name]}, separators=(",", ":"), ensure_ascii=False)
    return UnsignedEvent(event.kind, event.created_at, event.tags, text)


def small(event: UnsignedEvent, chance: random.Random) -> UnsignedEvent:
    """An integer or decimal text of the content a little greater or less, twice as large, or negative."""
    spots = [spot for spot in re.finditer(r'(?<=[:\[,"])-?\d+(?=[,\]}"])', event.content) if len(spot[0]) < 30]
    if not spots:
        return event
    spot = chance.choice(spots)
    old = int(spot[0])
    new = chance.choice(
        (old + 1, old - 1, 2 * old, -old, 0, old + 1000, old - 1000, old + 3_600_000, BIG - old, old * 2**40)
    )
    content = event.content[: spot.start()] + str(new) + event.content[spot.end() :]
    return UnsignedEvent(event.kind, event.created_at, event.tags, content)


def rewritten(event: Signed, events: Sequence[Signed], chance: random.Random) -> UnsignedEvent:
    """What one event says told otherwise; its date and signer stay."""
    bare = _bare(event)
    for _ in range(chance.choice((1, 1, 1, 2))):
        way = chance.choice(("spell", "spell", "tags", "tags", "swap", "small", "tamper"))
        if way == "spell":
            bare = spell(bare, chance)
        elif way == "tags":
            bare = tags(bare, chance) if bare.tags else bare
        elif way == "swap":
            bare = swap(bare, chance.choice([each for each in events if each.kind == event.kind]), chance)
        elif way == "small":
            bare = small(bare, chance)
        else:
            try:
                bare = chance.choice(list(mutations("", event))).apply(bare)
            except (ValueError, KeyError, IndexError, TypeError, RecursionError):
                continue  # what it would alter is there no more
    try:
        encode_event(
            VerifiedEvent(event.id, event.pubkey, bare.created_at, bare.kind, bare.tags, bare.content, event.sig)
        )
    except UnicodeEncodeError:
        return _bare(event)  # half of a surrogate pair stands in no event
    return bare


def one(event: Signed, events: Sequence[Signed], chance: random.Random) -> tuple[str, SecretKey, UnsignedEvent]:
    """One event told otherwise: how, by whom, and what."""
    key, bare = KEY_OF[event.pubkey], _bare(event)
    way = chance.choice(("spell", "spell", "tags", "swap", "small", "small", "date", "stranger", "tamper"))
    if way == "spell":
        bare = spell(bare, chance)
    elif way == "tags":
        bare = tags(bare, chance)
    elif way == "swap":
        bare = swap(bare, chance.choice([each for each in events if each.kind == event.kind]), chance)
    elif way == "small":
        bare = small(bare, chance)
    elif way == "date":
        second = event.created_at + chance.choice(
            (-86_400, -3600, -601, -600, -599, -30, -1, 1, 30, 599, 600, 601, 3600, 10**9)
        )
        bare = _date(event, chance.choice((second, second, second, 0, BIG)))
    elif way == "stranger":
        key = KEY_OF[chance.choice(sorted(KEY_OF))]
    else:
        ways = list(mutations("", event))
        bare = chance.choice(ways).apply(bare)
    return way, key, bare


def chained(
    events: Sequence[Signed],
    changed: Mapping[str, tuple[SecretKey, UnsignedEvent] | None],
    more: Mapping[str, Sequence[tuple[SecretKey, UnsignedEvent]]],
) -> list[Signed]:
    """The log with events of the later chains told otherwise, left out (None) or more put in after them; the chains go
    on from there, and what names an event names the new one.
    """
    heads: dict[tuple[str, str], tuple[int, str]] = {}
    renamed: dict[str, str] = {}
    told: list[Signed] = []

    def put(key: SecretKey, bare: UnsignedEvent) -> Signed:
        def new(text: str) -> str:
            return re.sub(r"[0-9a-f]{64}", lambda found: renamed.get(found[0], found[0]), text)

        rows = [tuple(map(new, tag)) for tag in bare.tags if tag[0] not in ("seq", "prev")]
        place = (key.pubkey, LATER[bare.kind])
        if place in heads:
            seq, prev = heads[place]
            link = [("seq", str(seq + 1)), ("prev", prev)]
        else:
            seq, link = -1, [("seq", "0")]
        event = key.sign(UnsignedEvent(bare.kind, bare.created_at, (*rows[:1], *link, *rows[1:]), new(bare.content)))
        heads[place] = (seq + 1, event.id)
        told.append(event)
        return event

    for event in events:
        if event.kind not in LATER:
            told.append(event)
            continue
        key, bare = KEY_OF[event.pubkey], _bare(event)
        now = changed.get(event.id, (key, bare))
        if now is not None:
            renamed[event.id] = put(*now).id
        for each in more.get(event.id, ()):
            put(*each)
    return told


def said(statement: str, status: str, like: Signed) -> UnsignedEvent:
    """A status, its tags but the link as another event of the accounting has them."""
    content = json.dumps({"v": 1, "statement": statement, "status": status}, separators=(",", ":"))
    return UnsignedEvent(kinds.STATUS, like.created_at, (like.tags[0], ("e", statement, "", "statement")), content)


def altered(source: Source, whole: Any, chance: random.Random) -> tuple[str, list[Signed]]:
    """A log altered somehow, and how."""
    events: list[Signed] = whole.all()
    way = chance.random()
    if way < 0.3:
        # Told otherwise from the start: work is done on top of it.
        label = chance.choice(sorted(whole.events))
        how: list[str] = []

        def tamper(unsigned: UnsignedEvent) -> UnsignedEvent:
            event = whole.events[label]
            like = VerifiedEvent(
                event.id, event.pubkey, unsigned.created_at, unsigned.kind, unsigned.tags, unsigned.content, event.sig
            )
            word, _, bare = one(like, events, chance)
            how.append(word)
            return bare

        try:
            log = source.tell({label: tamper})
        except Exception as error:
            return f"{label} untold: {type(error).__name__}", []
        return f"{label} {how}", log.all()
    count = chance.choice((1, 1, 1, 2, 3))
    notes: list[str] = []
    if way < 0.6:
        later = [event for event in events if event.kind in LATER]
        changed: dict[str, tuple[SecretKey, UnsignedEvent] | None] = {}
        more: dict[str, list[tuple[SecretKey, UnsignedEvent]]] = {}
        names = {event.id: label for label, event in whole.events.items()}
        for _ in range(count):
            event = chance.choice(later)
            kind = chance.choice(("drop", "one", "one", "again", "status", "move", "redate"))
            notes.append(f"{names[event.id]} {kind}")
            if kind == "drop":
                changed[event.id] = None
            elif kind == "one":
                word, key, bare = one(event, events, chance)
                notes.append(word)
                changed[event.id] = (key, bare) if bare.kind in LATER and key.pubkey == event.pubkey else None
            elif kind == "again":
                other = chance.choice([each for each in later if each.pubkey == event.pubkey])
                more.setdefault(other.id, []).append((KEY_OF[event.pubkey], _date(event, other.created_at)))
            elif kind == "status":
                statements = [each for each in events if each.kind == kinds.STATEMENT]
                of, after = (
                    chance.choice(statements),
                    chance.choice([each for each in later if LATER[each.kind] == "accounting"]),
                )
                status = chance.choice(("matured", "orphaned", "void"))
                notes.append(f"{names[of.id]} {status} after {names[after.id]}")
                more.setdefault(after.id, []).append((KEY_OF[after.pubkey], said(of.id, status, after)))
            elif kind == "move":
                same = [each for each in later if each.pubkey == event.pubkey]
                other = chance.choice(same)
                if other.id != event.id:
                    changed[event.id] = None
                    more.setdefault(other.id, []).append((KEY_OF[event.pubkey], _date(event, other.created_at)))
            else:
                changed[event.id] = (
                    KEY_OF[event.pubkey],
                    _date(event, event.created_at + chance.choice((-700, -600, -1, 1, 600, 700, 3600))),
                )
        return f"later {notes}", chained(events, changed, more)
    names = {event.id: label for label, event in whole.events.items()}
    for _ in range(count):
        if not events:
            break
        at = chance.randrange(len(events))
        event = events[at]
        kind = chance.choice(("drop", "drop", "one", "one", "twin", "cut", "hide", "reorder", "sameid"))
        notes.append(f"{names.get(event.id, '?')} {kind}")
        if kind == "drop":
            del events[at]
        elif kind in ("one", "twin"):
            word, key, bare = one(event, events, chance)
            notes.append(word)
            new = key.sign(bare)
            if kind == "one":
                events[at] = new
            else:
                events.append(new)
        elif kind == "cut":
            events = events[: at + 1]
        elif kind == "hide":
            events = [each for each in events if each.kind != event.kind or chance.random() < 0.5]
        elif kind == "reorder":
            chance.shuffle(events)
        else:
            events.append(event)
    return f"plain {notes}", events


def run(sources: Sequence[Source], chance: random.Random) -> Iterator[tuple[str, str, Any, list[Signed]]]:
    """Altered logs without end: whose, how, the story, and the events."""
    wholes = {source.name: source.tell() for source in sources}
    while True:
        source = chance.choice(sources)
        how, events = altered(source, wholes[source.name], chance)
        if events:
            yield source.name, how, wholes[source.name], events
