"""4213 block found: a share that is a block, with what proves it (SPEC.md)."""

from dataclasses import dataclass

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.alts import alt_tag
from nips.pool.content import (
    decode_content,
    encode_content,
    one_marked,
    one_tag,
    parse_decimal,
    parse_hex,
    parse_id,
    read_hex,
    read_int,
    read_list,
    require_kind,
)
from nips.pool.hashing import HEADER_SIZE, display, sha256d
from nips.pool.job import MAX_BRANCHES
from nips.pool.kinds import BLOCK


@dataclass(frozen=True, slots=True)
class BlockBody:
    """A block the pool found. `header`: 80 bytes; `coinbase`: the transaction without its witness; `merkle`: the
    branches, serialisation order; `receipt` and `index`: where its share stands; `finder`: the miner, hex.
    """

    height: int
    header: bytes
    coinbase: bytes
    merkle: tuple[bytes, ...]
    finder: str
    receipt: str
    index: int

    @property
    def block(self) -> str:
        """The block's hash as RPC names it."""
        return display(sha256d(self.header))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFound(BlockBody):
    """A 4213 event."""

    id: str
    signer: str
    pool: PoolAddress
    created_at: int


def build_block(pool: PoolAddress, body: BlockBody, created_at: int) -> UnsignedEvent:
    """The event an edge's key signs."""
    tags = (
        pool.tag(),
        ("p", body.finder),
        ("e", body.receipt, "", "receipt"),
        ("share", str(body.index)),
        alt_tag(BLOCK),
    )
    fields = {
        "height": body.height,
        "block": body.block,
        "header": body.header.hex(),
        "coinbase": body.coinbase.hex(),
        "merkle": [branch.hex() for branch in body.merkle],
    }
    return UnsignedEvent(BLOCK, created_at, tags, encode_content(fields))


def parse_block(event: VerifiedEvent) -> BlockFound:
    """Raises InvalidPoolEvent, also when the header does not hash to the block named."""
    require_kind(event, BLOCK)
    fields = decode_content(event.content)
    branches = read_list(fields, "merkle")
    if len(branches) > MAX_BRANCHES:
        raise InvalidPoolEvent(f"a block has at most {MAX_BRANCHES} merkle branches")
    found = BlockFound(
        height=read_int(fields, "height", 1, (1 << 31) - 1),
        header=read_hex(fields, "header", HEADER_SIZE),
        coinbase=read_hex(fields, "coinbase"),
        merkle=tuple(parse_hex(branch, 32, "a merkle branch") for branch in branches),
        finder=parse_id(one_tag(event, "p")[1], "the finder"),
        receipt=one_marked(event, "receipt"),
        index=parse_decimal(one_tag(event, "share")[1], "share"),
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
        created_at=event.created_at,
    )
    if found.block != parse_id(fields.get("block"), "block"):
        raise InvalidPoolEvent("the header does not hash to the block named")
    return found
