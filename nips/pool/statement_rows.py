"""The rows of a reward statement, and the 4218 events that they stand in where one event can't hold them (SPEC.md)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from nips.errors import InvalidPoolEvent
from nips.nip01 import MAX_SAFE_INTEGER, UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.alts import alt_tag
from nips.pool.chain import Link, link_of
from nips.pool.content import (
    decode_content,
    encode_content,
    parse_id,
    parse_work,
    read_int,
    read_list,
    require_kind,
    values_of,
)
from nips.pool.kinds import STATEMENT, STATEMENT_PART

# What one event holds: 50 KB with bonuses, where relays take 64 KB. A row that gives a donation counts for two.
MAX_ROWS = 400
GIVING_ROW = 2
# Four million miners.
MAX_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Row:
    """A miner's part: credited work that counts, and millisatoshi; `bonus_msat` of these come out of the fee."""

    miner: str
    work: int
    msat: int
    bonus_msat: int = 0

    def to_json(self) -> list[str | int]:
        """`[work, msat]`, and the bonus where there is one."""
        return [str(self.work), self.msat, *([self.bonus_msat] if self.bonus_msat else [])]


class Donation(NamedTuple):
    """`[p index, settings id, msat]`: `row` is the donor's among the rows, `settings` the 34216 that asks for it."""

    row: int
    settings: str
    msat: int


@dataclass(frozen=True, slots=True)
class RowsPart:
    """Rows that stand in one event, and the donations of these rows; `row` counts them from the event's first."""

    rows: tuple[Row, ...]
    donations: tuple[Donation, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The content's fields; donations only if there are any."""
        fields: dict[str, Any] = {"rows": [row.to_json() for row in self.rows]}
        if self.donations:
            fields["donations"] = [list(donation) for donation in self.donations]
        return fields

    def tags(self) -> tuple[tuple[str, str], ...]:
        """A `p` tag for each row."""
        return tuple(("p", row.miner) for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementPart(RowsPart):
    """A 4218 event that holds rows of a statement; `part` counts from 0."""

    id: str
    signer: str
    pool: PoolAddress
    link: Link
    created_at: int
    part: int


def split_statement(rows: Sequence[Row], donations: Sequence[Donation] = ()) -> list[RowsPart]:
    """The rows as they are spread over events, in order, each with as many as fit. One entry: no parts."""
    given: Mapping[int, Donation] = {donation.row: donation for donation in donations}
    parts: list[RowsPart] = []
    start = size = 0
    for at in range(len(rows)):
        wanted = GIVING_ROW if at in given else 1
        if size + wanted > MAX_ROWS:
            parts.append(_part(rows, given, start, at))
            start, size = at, 0
        size += wanted
    return [*parts, _part(rows, given, start, len(rows))]


def _part(rows: Sequence[Row], given: Mapping[int, Donation], start: int, end: int) -> RowsPart:
    donations = tuple(given[at]._replace(row=at - start) for at in range(start, end) if at in given) if given else ()
    return RowsPart(tuple(rows[start:end]), donations)


def join_rows(parts: Sequence[RowsPart]) -> RowsPart:
    """What `split_statement` was given. Raises InvalidPoolEvent if miners are not sorted from part to part."""
    donations: list[Donation] = []
    count = 0
    for part in parts:
        donations += [donation._replace(row=donation.row + count) for donation in part.donations]
        count += len(part.rows)
    rows = tuple(row for part in parts for row in part.rows)
    if any(old.miner >= new.miner for old, new in pairwise(rows)):
        raise InvalidPoolEvent("a statement's miners must be sorted, none twice, from part to part")
    return RowsPart(rows, tuple(donations))


def build_statement_part(pool: PoolAddress, link: Link, part: int, held: RowsPart, created_at: int) -> UnsignedEvent:
    """The part numbered `part`, of `split_statement`; the accounting's key signs it."""
    fields = {"of": STATEMENT, "part": part, **held.to_json()}
    tags = (pool.tag(), *link.tags(), *held.tags(), alt_tag(STATEMENT_PART))
    return UnsignedEvent(STATEMENT_PART, created_at, tags, encode_content(fields))


def parse_rows(event: VerifiedEvent, fields: dict[str, Any]) -> RowsPart:
    """The rows of a statement or part, and their donations. Raises InvalidPoolEvent."""
    miners = [parse_id(value, "a miner") for value in values_of(event, "p")]
    if miners != sorted(set(miners)):
        raise InvalidPoolEvent("a statement's miners must be sorted, none twice")
    values = read_list(fields, "rows")
    if len(values) != len(miners):
        raise InvalidPoolEvent("a statement has a row for each miner")
    rows = []
    for miner, value in zip(miners, values, strict=True):
        if type(value) is not list or len(value) not in (2, 3):
            raise InvalidPoolEvent("a row is [work, msat], or [work, msat, bonus]")
        told = dict(zip(("work", "msat", "bonus"), value, strict=False))
        msat = read_int(told, "msat")
        bonus = read_int(told, "bonus", 1, msat) if "bonus" in told else 0
        rows.append(Row(miner, parse_work(value[0], "a row's work"), msat, bonus))
    donations = tuple(_donations(read_list(fields, "donations"), len(rows))) if "donations" in fields else ()
    if len(rows) + len(donations) * (GIVING_ROW - 1) > MAX_ROWS:
        raise InvalidPoolEvent(f"an event holds {MAX_ROWS} rows at most, where one that gives counts for {GIVING_ROW}")
    return RowsPart(tuple(rows), donations)


def _donations(values: Sequence[object], rows: int) -> Iterator[Donation]:
    last = -1
    for value in values:
        if type(value) is not list or len(value) != 3:
            raise InvalidPoolEvent("a donation is [p index, settings, msat]")
        fields = {"p index": value[0], "msat": value[2]}
        last = read_int(fields, "p index", last + 1, rows - 1)
        yield Donation(last, parse_id(value[1], "a donation's settings"), read_int(fields, "msat", 1))


def part_of(event: VerifiedEvent) -> int:
    """The kind that a 4218 says it is a part of. Raises InvalidPoolEvent if it says nothing readable."""
    return read_int(decode_content(event.content), "of", 0, MAX_SAFE_INTEGER)


def parse_statement_part(event: VerifiedEvent) -> StatementPart:
    """Raises InvalidPoolEvent, also for a part of something else than a statement."""
    require_kind(event, STATEMENT_PART)
    fields = decode_content(event.content)
    if read_int(fields, "of", 0, MAX_SAFE_INTEGER) != STATEMENT:
        raise InvalidPoolEvent("this is no part of a statement")
    held = parse_rows(event, fields)
    if not held.rows:
        raise InvalidPoolEvent("a part holds rows")
    return StatementPart(
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
        link=link_of(event),
        created_at=event.created_at,
        part=read_int(fields, "part", 0, MAX_PARTS - 1),
        rows=held.rows,
        donations=held.donations,
    )
