"""4214 reward statement: how one reward was split (SPEC.md). 4216 reward status: what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.alts import alt_tag
from nips.pool.chain import Head, Link, link_of
from nips.pool.content import (
    decode_content,
    encode_content,
    one_tag,
    parse_id,
    parse_work,
    read_dict,
    read_int,
    read_list,
    read_str,
    require_kind,
)
from nips.pool.kinds import STATEMENT, STATUS

# Past this many rows a statement's rows stand in parts of their own (kind 4218).
MAX_ROWS = 400
MATURED, ORPHANED, VOID = "matured", "orphaned", "void"
STATUSES = (MATURED, ORPHANED, VOID)


@dataclass(frozen=True, slots=True)
class Row:
    """A miner's part: credited work within the window, and millisatoshi."""

    miner: str
    work: int
    msat: int


@dataclass(frozen=True, slots=True)
class BlockReward:
    """A reward of type "block": found_ms is the time of the share that is the block."""

    block: str
    height: int
    found_ms: int
    gross_msat: int

    def to_json(self) -> dict[str, Any]:
        """The reward as it stands in a statement."""
        return {
            "type": "block",
            "block": self.block,
            "height": self.height,
            "found_ms": self.found_ms,
            "gross_msat": self.gross_msat,
        }


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

    reward: BlockReward
    terms: str
    offer: str
    window: Window
    fee_msat: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement(StatementBody):
    """A 4214 event. `announced_by`: the id of the 4213 that it names as the block's, "" if it names none."""

    id: str
    signer: str
    pool: PoolAddress
    link: Link
    created_at: int
    announced_by: str = ""


def build_statement(
    pool: PoolAddress, link: Link, body: StatementBody, created_at: int, block_event: str
) -> UnsignedEvent:
    """The event the accounting's key signs; `block_event` is the id of the 4213 that announced the reward.

    Raises ValueError for more rows than one event holds.
    """
    if len(body.rows) > MAX_ROWS:
        raise ValueError(f"a statement holds at most {MAX_ROWS} rows")
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
        "parts": 0,
        "rows": [[str(row.work), row.msat] for row in body.rows],
    }
    tags = (
        pool.tag(),
        *link.tags(),
        ("e", block_event, "", "block"),
        *(("p", row.miner) for row in body.rows),
        alt_tag(STATEMENT),
    )
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
    reward = read_dict(fields, "reward")
    if read_str(reward, "type") != "block":
        raise InvalidPoolEvent(f"a reward of type {reward['type'][:32]!r} is not known here")
    if read_int(fields, "parts") != 0:
        raise InvalidPoolEvent("statements in parts are not known here")
    miners = [parse_id(value, "a miner") for value in event.tag_values("p")]
    if miners != sorted(set(miners)):
        raise InvalidPoolEvent("a statement's miners must be sorted, none twice")
    values = read_list(fields, "rows")
    if len(values) != len(miners) or len(values) > MAX_ROWS:
        raise InvalidPoolEvent(f"a statement has a row for each miner, {MAX_ROWS} at most")
    rows = []
    for miner, value in zip(miners, values, strict=True):
        if type(value) is not list or len(value) != 2:
            raise InvalidPoolEvent("a row is [work, msat]")
        row = {"msat": value[1]}
        rows.append(Row(miner, parse_work(value[0], "a row's work"), read_int(row, "msat")))
    return Statement(
        reward=BlockReward(
            block=parse_id(reward.get("block"), "block"),
            height=read_int(reward, "height"),
            found_ms=read_int(reward, "found_ms"),
            gross_msat=read_int(reward, "gross_msat"),
        ),
        terms=parse_id(fields.get("terms"), "terms"),
        offer=read_str(fields, "offer"),
        window=_window(read_dict(fields, "window")),
        fee_msat=read_int(fields, "fee_msat"),
        rows=tuple(rows),
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
        link=link_of(event),
        created_at=event.created_at,
        announced_by=next((tag[1] for tag in event.tags if tag[0] == "e" and tag[3:] == ("block",)), ""),
    )


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
    if one_tag(event, "e")[1] != statement:
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
