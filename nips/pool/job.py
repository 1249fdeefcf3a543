"""4211 job: work an edge hands out, signed before the first miner hears of it (SPEC.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.chain import parse_lane
from nips.pool.coinbase import Coinbase, check_shape
from nips.pool.content import (
    decode_content,
    encode_content,
    parse_bits,
    parse_hex,
    parse_id,
    read_dict,
    read_hex,
    read_int,
    read_list,
    read_str,
    require_kind,
)
from nips.pool.kinds import JOB
from nips.pool.sizes import BINDING_SIZE, EXTRANONCE1_SIZE, EXTRANONCE2_SIZE

# Stratum clients take at most 32 branches: a block of 2^32 transactions.
MAX_BRANCHES = 32
MAX_U32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class JobBody:
    """A block template as miners get it, and what it promises.

    `ms`: when it was made (Unix ms). `terms`: the 4210's id. `heads`: lane number -> id of the last batch that lane had
    closed, "" for none yet; only these lanes may use the job. prevhash and merkle are in serialisation order; version,
    ntime, nbits and version_mask are u32 numbers.
    """

    ms: int
    terms: str
    offer: str
    heads: Mapping[int, str]
    height: int
    version: int
    prevhash: bytes
    nbits: int
    ntime: int
    coinb1: bytes
    coinb2: bytes
    merkle: tuple[bytes, ...]
    version_mask: int
    upstream: Mapping[str, object] | None = field(default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(JobBody):
    """A 4211 event: its id is what shares bind to."""

    id: str
    signer: str
    pool: PoolAddress

    def coinbase(self) -> Coinbase:
        """The coinbase's parts. Raises InvalidPoolEvent unless it has the protocol's shape and the job's height."""
        return check_shape(self.coinb1, self.coinb2, self.height)


def build_job(pool: PoolAddress, body: JobBody) -> UnsignedEvent:
    """The event an edge's key signs; created_at is the job's second."""
    fields: dict[str, object] = {
        "ms": body.ms,
        "terms": body.terms,
        "offer": body.offer,
        "heads": {str(lane): head for lane, head in body.heads.items()},
        "height": body.height,
        "version": body.version,
        "prevhash": body.prevhash.hex(),
        "nbits": f"{body.nbits:08x}",
        "ntime": body.ntime,
        "coinb1": body.coinb1.hex(),
        "coinb2": body.coinb2.hex(),
        "merkle": [branch.hex() for branch in body.merkle],
        "version_mask": f"{body.version_mask:08x}",
        "bind_size": BINDING_SIZE,
        "en1_size": EXTRANONCE1_SIZE,
        "en2_size": EXTRANONCE2_SIZE,
    }
    if body.upstream is not None:
        fields["upstream"] = dict(body.upstream)
    return UnsignedEvent(JOB, body.ms // 1000, (pool.tag(),), encode_content(fields))


def _heads(value: dict[str, object]) -> dict[int, str]:
    heads = {}
    for lane, head in value.items():
        heads[parse_lane(lane)] = "" if head == "" else parse_id(head, "a head")
    return heads


def parse_job(event: VerifiedEvent) -> Job:
    """Raises InvalidPoolEvent. The coinbase's shape is checked by `Job.coinbase`, the rest by the reader of the log."""
    require_kind(event, JOB)
    fields = decode_content(event.content)
    ms = read_int(fields, "ms")
    if event.created_at != ms // 1000:
        raise InvalidPoolEvent("a job's created_at must be its ms in seconds")
    branches = read_list(fields, "merkle")
    if len(branches) > MAX_BRANCHES:
        raise InvalidPoolEvent(f"a job has at most {MAX_BRANCHES} merkle branches")
    upstream = read_dict(fields, "upstream") if "upstream" in fields else None
    if upstream is None:
        for name, size in (
            ("bind_size", BINDING_SIZE),
            ("en1_size", EXTRANONCE1_SIZE),
            ("en2_size", EXTRANONCE2_SIZE),
        ):
            if read_int(fields, name) != size:
                raise InvalidPoolEvent(f"{name} must be {size}")
    return Job(
        ms=ms,
        terms=parse_id(fields.get("terms"), "terms"),
        offer=read_str(fields, "offer"),
        heads=_heads(read_dict(fields, "heads")),
        height=read_int(fields, "height", 1, (1 << 31) - 1),
        version=read_int(fields, "version", 0, MAX_U32),
        prevhash=read_hex(fields, "prevhash", 32),
        nbits=parse_bits(fields.get("nbits"), "nbits"),
        ntime=read_int(fields, "ntime", 0, MAX_U32),
        coinb1=read_hex(fields, "coinb1"),
        coinb2=read_hex(fields, "coinb2"),
        merkle=tuple(parse_hex(branch, 32, "a merkle branch") for branch in branches),
        version_mask=parse_bits(fields.get("version_mask"), "version_mask"),
        upstream=upstream,
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
    )
