"""4214 reward statement: how one reward was split (SPEC.md). 4216 reward status: what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.alts import alt_tag
from nips.pool.chain import Head, Link, link_of
from nips.pool.content import (
    decode_content,
    encode_content,
    marked,
    one_marked,
    parse_id,
    parse_work,
    read_dict,
    read_int,
    read_str,
    require_kind,
)
from nips.pool.kinds import STATEMENT, STATUS
from nips.pool.reward import BlockReward, PeriodReward, Reward, parse_reward
from nips.pool.statement_rows import (
    MAX_PARTS,
    MAX_ROWS,
    Donation,
    Row,
    RowsPart,
    StatementPart,
    join_rows,
    parse_rows,
    split_statement,
)

__all__ = (
    "MATURED",
    "MAX_ROWS",
    "ORPHANED",
    "STATUSES",
    "VOID",
    "BlockReward",
    "Donation",
    "PeriodReward",
    "Reward",
    "RewardStatus",
    "Row",
    "Statement",
    "StatementBody",
    "Window",
    "build_statement",
    "build_status",
    "parse_statement",
    "parse_status",
    "whole_statement",
)

MATURED, ORPHANED, VOID = "matured", "orphaned", "void"
STATUSES = (MATURED, ORPHANED, VOID)


@dataclass(frozen=True, slots=True)
class Window:
    """Which work a statement counts: from the oldest counted share's ms, its sum, and where each lane was cut:
    `<edge>/<lane>` -> the batch that covers the reward's end.
    """

    from_ms: int
    work: int
    heads: Mapping[str, Head]


@dataclass(frozen=True, slots=True)
class StatementBody:
    """A split before it is signed. `rows` are sorted by miner, none twice; rows + fee = gross."""

    reward: Reward
    terms: str
    offer: str
    window: Window
    fee_msat: int
    rows: tuple[Row, ...]
    donations: tuple[Donation, ...] = ()

    @property
    def reward_key(self) -> str:
        """What no two statements that stand may share: the block, or the offer's period."""
        return self.reward.key(self.offer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement(StatementBody):
    """A 4214 event. `announced_by`: the id of the 4213 that it names as the block's, "" if it names none. `parts`: in
    how many events before it the rows stand; they are empty until `whole_statement` has filled them in.
    """

    id: str
    signer: str
    pool: PoolAddress
    link: Link
    created_at: int
    announced_by: str = ""
    parts: int = 0


def build_statement(
    pool: PoolAddress, link: Link, body: StatementBody, created_at: int, block_event: str = "", *, parts: int = 0
) -> UnsignedEvent:
    """The event the accounting's key signs; `block_event` is the id of the 4213 that announced a block's reward. With
    `parts`, the rows stand in that many parts before it.

    Raises ValueError for more rows than one event holds.
    """
    if not parts and len(split_statement(body.rows, body.donations)) > 1:
        raise ValueError("these rows need parts")
    held = RowsPart(()) if parts else RowsPart(body.rows, body.donations)
    fields = {
        "reward": body.reward.to_json(),
        "terms": body.terms,
        "offer": body.offer,
        "window": {
            "from_ms": body.window.from_ms,
            "work": str(body.window.work),
            "heads": {name: [head.seq, head.id] for name, head in sorted(body.window.heads.items())},
        },
        "fee_msat": body.fee_msat,
        "parts": parts,
        **held.to_json(),
    }
    announced = (("e", block_event, "", "block"),) if body.reward.block else ()
    tags = (pool.tag(), *link.tags(), *announced, *held.tags(), alt_tag(STATEMENT))
    return UnsignedEvent(STATEMENT, created_at, tags, encode_content(fields))


def _window(fields: dict[str, Any]) -> Window:
    heads = {}
    for name, head in read_dict(fields, "heads").items():
        if type(head) is not list or len(head) != 2 or type(head[0]) is not int or head[0] < 0:
            raise InvalidPoolEvent("heads must map <edge>/<lane> to [seq, id]")
        heads[name] = Head(head[0], parse_id(head[1], "a head"))
    return Window(read_int(fields, "from_ms"), parse_work(fields.get("work"), "work"), heads)


def parse_statement(event: VerifiedEvent) -> Statement:
    """Raises InvalidPoolEvent. The split itself is for the verifier to recompute."""
    require_kind(event, STATEMENT)
    fields = decode_content(event.content)
    reward = parse_reward(fields)
    parts = read_int(fields, "parts", 0, MAX_PARTS)
    held, announced = parse_rows(event, fields), marked(event, "block")
    if parts and (held.rows or parts == 1):
        raise InvalidPoolEvent("a statement has rows of its own, or two parts and more")
    return Statement(
        reward=reward,
        terms=parse_id(fields.get("terms"), "terms"),
        offer=read_str(fields, "offer"),
        window=_window(read_dict(fields, "window")),
        fee_msat=read_int(fields, "fee_msat"),
        rows=held.rows,
        donations=held.donations,
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
        link=link_of(event),
        created_at=event.created_at,
        announced_by=announced[0] if len(announced) == 1 else "",
        parts=parts,
    )


def whole_statement(statement: Statement, parts: list[StatementPart]) -> Statement:
    """A statement with the rows of its parts, `parts` being what stands right before it in its chain, in order.

    Raises InvalidPoolEvent if these are not its parts: whole, numbered from 0, touching it.
    """
    first = statement.link.seq - statement.parts
    places = [(part.link.seq, part.part) for part in parts]
    if places != [(first + at, at) for at in range(statement.parts)]:
        raise InvalidPoolEvent(f"the {statement.parts} parts of a statement do not stand right before it")
    held = join_rows(parts)
    filled = split_statement(held.rows, held.donations)
    if [len(part.rows) for part in filled] != [len(part.rows) for part in parts]:
        raise InvalidPoolEvent("the parts of a statement are not filled in order, each with as many rows as fit")
    return replace(statement, rows=held.rows, donations=held.donations)


@dataclass(frozen=True, slots=True)
class RewardStatus:
    """A 4216 event: matured makes a statement's rows payable, orphaned reverses them, void takes the statement back."""

    id: str
    signer: str
    pool: PoolAddress
    link: Link
    created_at: int
    statement: str
    status: str


def build_status(pool: PoolAddress, link: Link, statement: str, status: str, created_at: int) -> UnsignedEvent:
    """The event the accounting's key signs."""
    if status not in STATUSES:
        raise ValueError(f"{status} is not a reward's status")
    tags = (pool.tag(), *link.tags(), ("e", statement, "", "statement"), alt_tag(STATUS))
    return UnsignedEvent(STATUS, created_at, tags, encode_content({"statement": statement, "status": status}))


def parse_status(event: VerifiedEvent) -> RewardStatus:
    """Raises InvalidPoolEvent."""
    require_kind(event, STATUS)
    fields = decode_content(event.content)
    status = read_str(fields, "status")
    if status not in STATUSES:
        raise InvalidPoolEvent(f"the status {status[:32]!r} is not one of {', '.join(STATUSES)}")
    statement = parse_id(fields.get("statement"), "statement")
    if one_marked(event, "statement") != statement:
        raise InvalidPoolEvent("the e tag and the content name different statements")
    return RewardStatus(
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
        link=link_of(event),
        created_at=event.created_at,
        statement=statement,
        status=status,
    )
