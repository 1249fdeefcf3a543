"""4221 hourly summary: what an hour's batches add up to, by miner and worker (SPEC.md). 4218: a part of its rows."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from nips.errors import InvalidPoolEvent
from nips.nip01 import MAX_SAFE_INTEGER, UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.alts import alt_tag
from nips.pool.chain import Head, Link, link_of, parse_lane
from nips.pool.content import (
    decode_content,
    encode_content,
    parse_bits,
    parse_id,
    parse_work,
    read_dict,
    read_int,
    read_list,
    require_kind,
    values_of,
)
from nips.pool.kinds import STATEMENT_PART, SUMMARY
from nips.pool.targets import target_from_bits

HOUR_MS = 3_600_000
# A row and its p tag take about 130 bytes: so many bytes of rows leave room for the rest of an event of 60,000.
ROWS_BYTES = 50_000
# One event's rows, so that a reader knows what to allow; the bytes are usually reached first.
MAX_ROWS = 1_000
# Parts are counted by a reader before it has them; 10,000 of them hold four million rows.
MAX_PARTS = 10_000
# What a miner's further workers are summed up under; no worker can be called so.
OTHER_WORKERS = "*"
_WORKER = re.compile(r"[A-Za-z0-9._-]{0,32}|#[0-9a-f]{8}|\*")
_TAG_BYTES = len('["p",""],') + 64


class Refused(NamedTuple):
    """Shares an edge refused: the Stratum error code, how many. The edge's word."""

    code: int
    times: int


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """What a miner's worker did: credited work and how many shares, what was refused (by code), and its best share: the
    smallest canonical compact target that its lowest hash meets, 0 without a share.
    """

    miner: str
    worker: str
    work: int
    shares: int
    rejects: tuple[Refused, ...] = ()
    best_bits: int = 0


@dataclass(frozen=True, slots=True)
class SummaryBody:
    """A summary before it is signed. It counts whole batches: of each lane in `heads` those after the last summary that
    named it, up to the head, which is the last that ended by `to_ms` (Unix ms, on the hour). `rows` are sorted by miner
    and worker. `treasury`: what the pool says of its funds, if anything.
    """

    from_ms: int
    to_ms: int
    heads: Mapping[str, Head]
    rows: tuple[SummaryRow, ...]
    treasury: Mapping[str, Any] | None = None

    @property
    def work(self) -> int:
        """All credited work."""
        return sum(row.work for row in self.rows)

    @property
    def shares(self) -> int:
        """All good credited shares."""
        return sum(row.shares for row in self.rows)

    @property
    def rejects(self) -> tuple[Refused, ...]:
        """What was refused, by code."""
        return sum_rejects(reject for row in self.rows for reject in row.rejects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A 4221 event. `rows` are its own; with `parts` > 0 there are none, they stand in that many events before it."""

    id: str
    signer: str
    pool: PoolAddress
    link: Link
    created_at: int
    from_ms: int
    to_ms: int
    heads: Mapping[str, Head]
    work: int
    shares: int
    rejects: tuple[Refused, ...]
    parts: int
    rows: tuple[SummaryRow, ...]
    treasury: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryPart:
    """A 4218 event that holds rows of a summary; `part` counts from 0."""

    id: str
    signer: str
    pool: PoolAddress
    link: Link
    created_at: int
    part: int
    rows: tuple[SummaryRow, ...]


def sum_rejects(rejects: Iterator[Refused]) -> tuple[Refused, ...]:
    """Rejects added up by code, in the codes' order."""
    sums: dict[int, int] = {}
    for code, times in rejects:
        sums[code] = sums.get(code, 0) + times
    return tuple(Refused(code, times) for code, times in sorted(sums.items()))


def _row_fields(row: SummaryRow, number: int) -> list[Any]:
    best = f"{row.best_bits:08x}" if row.best_bits else ""
    return [number, row.worker, str(row.work), row.shares, [list(reject) for reject in row.rejects], best]


def _row_bytes(row: SummaryRow, number: int) -> int:
    text = json.dumps(_row_fields(row, number), separators=(",", ":"))
    # Quotes are escaped once more inside the event's JSON.
    return len(text) + text.count('"') + 1


def split_rows(rows: Sequence[SummaryRow]) -> list[tuple[SummaryRow, ...]]:
    """The rows as they are spread over events, in order: always the same for the same rows. One entry: no parts."""
    parts: list[tuple[SummaryRow, ...]] = []
    part: list[SummaryRow] = []
    miners, size = 0, 0
    for row in rows:
        is_new = not part or part[-1].miner != row.miner
        wanted = _row_bytes(row, miners - (not is_new)) + (_TAG_BYTES if is_new else 0)
        if part and (size + wanted > ROWS_BYTES or len(part) == MAX_ROWS):
            parts.append(tuple(part))
            part, miners, size, is_new = [], 0, 0, True
            wanted = _row_bytes(row, 0) + _TAG_BYTES
        part.append(row)
        miners += is_new
        size += wanted
    return [*parts, tuple(part)]


def _told_rows(rows: Sequence[SummaryRow]) -> tuple[list[list[Any]], list[tuple[str, str]]]:
    miners = list(dict.fromkeys(row.miner for row in rows))
    numbers = {miner: number for number, miner in enumerate(miners)}
    return [_row_fields(row, numbers[row.miner]) for row in rows], [("p", miner) for miner in miners]


def build_summary_part(
    pool: PoolAddress, link: Link, part: int, rows: Sequence[SummaryRow], created_at: int
) -> UnsignedEvent:
    """The part numbered `part`; the accounting's key signs it."""
    told, miners = _told_rows(rows)
    fields = {"of": SUMMARY, "part": part, "rows": told}
    tags = (pool.tag(), *link.tags(), *miners, alt_tag(STATEMENT_PART))
    return UnsignedEvent(STATEMENT_PART, created_at, tags, encode_content(fields))


def build_summary(
    pool: PoolAddress, link: Link, body: SummaryBody, created_at: int, *, parts: int = 0
) -> UnsignedEvent:
    """The summary itself; the accounting's key signs it. With `parts`, the rows stand in that many parts before it.

    Raises ValueError for more rows than one event holds.
    """
    if not parts and len(split_rows(body.rows)) > 1:
        raise ValueError("these rows need parts")
    told, miners = ([], []) if parts else _told_rows(body.rows)
    fields: dict[str, Any] = {
        "from_ms": body.from_ms,
        "to_ms": body.to_ms,
        "heads": {name: [head.seq, head.id] for name, head in sorted(body.heads.items())},
        "work": str(body.work),
        "shares": body.shares,
        "rejects": [list(reject) for reject in body.rejects],
        "parts": parts,
        "rows": told,
    }
    if body.treasury is not None:
        fields["treasury"] = dict(body.treasury)
    tags = (pool.tag(), *link.tags(), *miners, alt_tag(SUMMARY))
    return UnsignedEvent(SUMMARY, created_at, tags, encode_content(fields))


def _rejects(values: Sequence[object]) -> tuple[Refused, ...]:
    rejects = []
    for value in values:
        if type(value) is not list or len(value) != 2:
            raise InvalidPoolEvent("a reject is [code, count]")
        fields = {"code": value[0], "count": value[1]}
        rejects.append(Refused(read_int(fields, "code", -MAX_SAFE_INTEGER), read_int(fields, "count", 1)))
    if any(old.code >= new.code for old, new in pairwise(rejects)):
        raise InvalidPoolEvent("rejects are sorted by code, none twice")
    return tuple(rejects)


def _best(value: object) -> int:
    if value == "":
        return 0
    bits = parse_bits(value, "the best share")
    target_from_bits(bits)
    return bits


def _rows(event: VerifiedEvent, values: Sequence[object]) -> tuple[SummaryRow, ...]:
    miners = [parse_id(value, "a miner") for value in values_of(event, "p")]
    if miners != sorted(set(miners)):
        raise InvalidPoolEvent("a summary's miners must be sorted, none twice")
    if len(values) > MAX_ROWS:
        raise InvalidPoolEvent(f"an event holds at most {MAX_ROWS} rows")
    rows: list[SummaryRow] = []
    named = set()
    last: tuple[int, str] | None = None
    for value in values:
        if type(value) is not list or len(value) != 6:
            raise InvalidPoolEvent("a row is [p index, worker, work, shares, rejects, best share]")
        number, worker, work, shares, rejects, best = value
        number = read_int({"p index": number}, "p index", 0, len(miners) - 1)
        if type(worker) is not str or not _WORKER.fullmatch(worker):
            raise InvalidPoolEvent("a worker's name is at most 32 of [A-Za-z0-9._-], # and 8 hex digits, or *")
        if last is not None and (number, worker) <= last:
            raise InvalidPoolEvent("rows are sorted by miner and worker, none twice")
        last = (number, worker)
        named.add(number)
        if type(rejects) is not list:
            raise InvalidPoolEvent("a row's rejects must be an array")
        count = read_int({"shares": shares}, "shares")
        rows.append(SummaryRow(miners[number], worker, parse_work(work, "work"), count, _rejects(rejects), _best(best)))
        if not count and not rejects:
            raise InvalidPoolEvent("a row has shares or rejects")
        if (count > 0) != (rows[-1].best_bits > 0):
            raise InvalidPoolEvent("a row has a best share exactly when it has shares")
    if len(named) != len(miners):
        raise InvalidPoolEvent("each miner of a summary has a row")
    return tuple(rows)


def _heads(fields: dict[str, Any]) -> dict[str, Head]:
    heads = {}
    for name, head in read_dict(fields, "heads").items():
        edge, _, number = name.partition("/")
        parse_id(edge, "an edge in heads")
        parse_lane(number)
        if type(head) is not list or len(head) != 2:
            raise InvalidPoolEvent("heads must map <edge>/<lane> to [seq, id]")
        heads[name] = Head(read_int({"seq": head[0]}, "seq"), parse_id(head[1], "a head"))
    return heads


def parse_summary(event: VerifiedEvent) -> Summary:
    """Raises InvalidPoolEvent. Whether it adds up is for the verifier to recompute."""
    require_kind(event, SUMMARY)
    fields = decode_content(event.content)
    from_ms = read_int(fields, "from_ms")
    to_ms = read_int(fields, "to_ms", from_ms + 1)
    if from_ms % HOUR_MS or to_ms % HOUR_MS:
        raise InvalidPoolEvent("a summary begins and ends on the hour")
    heads = _heads(fields)
    if not heads:
        raise InvalidPoolEvent("a summary names the lanes it counts")
    parts = read_int(fields, "parts", 0, MAX_PARTS)
    rows = _rows(event, read_list(fields, "rows"))
    if parts and (rows or parts == 1):
        raise InvalidPoolEvent("a summary has rows of its own, or two parts and more")
    return Summary(
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
        link=link_of(event),
        created_at=event.created_at,
        from_ms=from_ms,
        to_ms=to_ms,
        heads=heads,
        work=parse_work(fields.get("work"), "work"),
        shares=read_int(fields, "shares"),
        rejects=_rejects(read_list(fields, "rejects")),
        parts=parts,
        rows=rows,
        treasury=read_dict(fields, "treasury") if "treasury" in fields else None,
    )


def parse_summary_part(event: VerifiedEvent) -> SummaryPart:
    """Raises InvalidPoolEvent, also for a part of something else than a summary."""
    require_kind(event, STATEMENT_PART)
    fields = decode_content(event.content)
    if read_int(fields, "of", 0, MAX_SAFE_INTEGER) != SUMMARY:
        raise InvalidPoolEvent("this is no part of a summary")
    rows = _rows(event, read_list(fields, "rows"))
    if not rows:
        raise InvalidPoolEvent("a part holds rows")
    return SummaryPart(
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
        link=link_of(event),
        created_at=event.created_at,
        part=read_int(fields, "part", 0, MAX_PARTS - 1),
        rows=rows,
    )
