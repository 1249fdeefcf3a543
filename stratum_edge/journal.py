"""The journal's records and what they add up to after a crash.

A record is `kind(u8) length(u32) payload`, little-endian; `segment.py` puts the records of one write into a frame,
which has the checksums. A segment begins with a checkpoint; what follows is everything that happened to the lane, in
order. All a restarted edge has to know is in it: the chain's end, the open batch, receipts that may not have been sent,
blocks whose fate is not known.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgspec

from nips.nip01 import Event, VerifiedEvent, verify
from nips.pool.chain import Head
from nips.pool.receipt import RECORD_SIZE
from stratum_edge.errors import JournalDamaged
from stratum_edge.lane import SessionKey
from stratum_edge.segment import Frame

_HEAD: Final = struct.Struct("<BI")


class Kind(IntEnum):
    """What a record tells. Numbers are on disks: never reuse one."""

    CHECKPOINT = 1  # JSON: Checkpoint
    JOB = 2  # JSON: a job event, before its first share of the segment
    USE = 3  # 32 bytes: a job's id, which gets the next number in the open batch
    SESSION = 4  # JSON: a session, which gets the next number in the open batch
    SHARE = 5  # 28 bytes, as in the receipt
    SEALED = 6  # JSON: Sealed, which ends the open batch
    PUBLISHED = 7  # decimal: the sequence number of a batch that is durable in the outbox, with its jobs and blocks
    BLOCK = 8  # msgpack: FoundBlock, right before its share
    OUTCOME = 9  # 32 bytes: the hash of a block whose submission has an answer


_SHARE_HEAD: Final = _HEAD.pack(Kind.SHARE, RECORD_SIZE)


class FoundBlock(msgspec.Struct, frozen=True):
    """A block's share: all that is needed to announce it (4213) and to hand the block in.

    `hash` in serialisation order; `coinbase` without witness; `block` whole; `found_ms` the share's time; `record` its
    share's, so that a crash between the two (a block is megabytes) leaves no share without its block and no block
    without its share.
    """

    height: int
    hash: bytes
    header: bytes
    coinbase: bytes
    merkle: list[bytes]
    miner: str
    index: int
    found_ms: int
    block: bytes
    record: bytes


class Sealed(msgspec.Struct, frozen=True):
    """A closed batch: its receipt, the jobs published before it, the 4213 of its blocks."""

    receipt: Event
    jobs: list[str]
    blocks: list[Event]


class Publication(NamedTuple):
    """What goes out with a batch, in this order: the jobs it is the first to use, the receipt, its blocks."""

    seq: int
    events: tuple[VerifiedEvent, ...]


class Checkpoint(msgspec.Struct, frozen=True):
    """Where a segment begins: no open batch, `pending` what may not have been sent, `blocks` those whose submission has
    no answer yet, `finished` whether the lane has had its last batch.
    """

    pool: str
    pubkey: str
    lane: int
    from_ms: int
    newest_s: int
    seq: int | None
    head: str
    pending: list[tuple[int, list[Event]]]
    blocks: list[FoundBlock]
    finished: bool = False
    v: int = 1

    def chain_head(self) -> Head | None:
        """The last batch closed."""
        return None if self.seq is None else Head(self.seq, self.head)


class SessionRecord(msgspec.Struct, frozen=True, array_like=True):
    """A SESSION record: `SessionKey` with extranonce1 in hex."""

    miner: str
    worker: str
    extranonce1: str
    share_bits: int


def encode_record(kind: Kind, payload: bytes) -> bytes:
    """The bytes of one record."""
    return _HEAD.pack(kind, len(payload)) + payload


def encode_share(record: bytes) -> bytes:
    """A SHARE record: the share path makes one a share."""
    return _SHARE_HEAD + record


def encode_json(kind: Kind, value: Any) -> bytes:
    """A record whose payload is JSON."""
    return encode_record(kind, msgspec.json.encode(value))


def encode_block(block: FoundBlock) -> bytes:
    """A BLOCK record."""
    return encode_record(Kind.BLOCK, msgspec.msgpack.encode(block))


def encode_session(key: SessionKey) -> bytes:
    """A SESSION record."""
    return encode_json(Kind.SESSION, SessionRecord(key.miner, key.worker, key.extranonce1.hex(), key.share_bits))


class Record(NamedTuple):
    """A whole record and the offset behind it."""

    kind: Kind
    payload: bytes
    end: int


def read_records(data: bytes) -> Iterator[Record]:
    """The whole records from the start, until the data ends. Raises JournalDamaged for a kind there is none of."""
    at, size = 0, len(data)
    while at + _HEAD.size <= size:
        kind, length = _HEAD.unpack_from(data, at)
        start, at = at + _HEAD.size, at + _HEAD.size + length
        if at > size:
            return
        if kind not in Kind._value2member_map_:
            raise JournalDamaged(f"there is no record of kind {kind}: it was written by a newer version")
        yield Record(Kind(kind), data[start:at], at)


def records_of(frames: Iterable[Frame]) -> Iterator[Record]:
    """The records of whole frames, in order."""
    for frame in frames:
        yield from read_records(frame.body or b"")


@dataclass(slots=True)
class Recovered:
    """What a journal adds up to. `jobs`, `sessions`, `shares`, `found`: the open batch's, in their order."""

    checkpoint: Checkpoint
    head: Head | None
    from_ms: int
    newest_s: int
    known_jobs: dict[str, VerifiedEvent] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)
    jobs: list[str] = field(default_factory=list)
    sessions: list[SessionKey] = field(default_factory=list)
    shares: list[bytes] = field(default_factory=list)
    found: list[FoundBlock] = field(default_factory=list)
    # Whether the lane has had its last batch: nothing may follow it.
    finished: bool = False
    pending: dict[int, Publication] = field(default_factory=dict)
    blocks: dict[bytes, FoundBlock] = field(default_factory=dict)

    def seal(self, sealed: Sealed) -> None:
        """Take in a SEALED record."""
        receipt = verify(sealed.receipt)
        seq = int(receipt.tag_value("seq") or "0")
        events = [*(self.known_jobs[id] for id in sealed.jobs), receipt, *(verify(event) for event in sealed.blocks)]
        self.pending[seq] = Publication(seq, tuple(events))
        self.announced.update(sealed.jobs)
        window = receipt.tag("window")
        if window is None or len(window) != 3:
            raise JournalDamaged(f"the receipt {receipt.id} in the journal has no window")
        self.head = Head(seq, receipt.id)
        self.finished = receipt.tag_value("fin") == "1"
        self.from_ms = int(window[2])
        self.newest_s = receipt.created_at
        for batch in (self.jobs, self.sessions, self.shares, self.found):
            batch.clear()

    def take(self, kind: Kind, payload: bytes) -> None:
        """Take in a record after the checkpoint. Raises JournalDamaged."""
        match kind:
            case Kind.SHARE:
                if len(payload) != RECORD_SIZE:
                    raise JournalDamaged(f"a share in the journal has {len(payload)} bytes")
                self.shares.append(payload)
            case Kind.SESSION:
                row = msgspec.json.decode(payload, type=SessionRecord)
                self.sessions.append(SessionKey(row.miner, row.worker, bytes.fromhex(row.extranonce1), row.share_bits))
            case Kind.JOB:
                event = verify(msgspec.json.decode(payload, type=Event))
                self.known_jobs[event.id] = event
            case Kind.USE:
                self.jobs.append(payload.hex())
            case Kind.SEALED:
                self.seal(msgspec.json.decode(payload, type=Sealed))
            case Kind.PUBLISHED:
                self.pending.pop(int(payload), None)
            case Kind.BLOCK:
                block = msgspec.msgpack.decode(payload, type=FoundBlock)
                self.found.append(block)
                self.blocks[block.hash] = block
            case Kind.OUTCOME:
                self.blocks.pop(payload, None)
            case Kind.CHECKPOINT:
                raise JournalDamaged("a second checkpoint stands in one segment")


def recover(records: Iterable[Record]) -> Recovered | None:
    """Fold a segment; None when it has no whole checkpoint: the crash came while it was begun.

    Raises JournalDamaged.
    """
    found: Recovered | None = None
    try:
        for record in records:
            if found is not None:
                found.take(record.kind, record.payload)
                continue
            if record.kind is not Kind.CHECKPOINT:
                raise JournalDamaged("a segment of the journal does not begin with a checkpoint")
            start = msgspec.json.decode(record.payload, type=Checkpoint)
            found = Recovered(start, start.chain_head(), start.from_ms, start.newest_s)
            for seq, events in start.pending:
                found.pending[seq] = Publication(seq, tuple(verify(event) for event in events))
            found.blocks = {block.hash: block for block in start.blocks}
            found.finished = start.finished
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise JournalDamaged(f"a record of the journal does not read: {error}") from error
    if found is not None and found.found and found.found[-1].index == len(found.shares):
        found.shares.append(found.found[-1].record)
    return found
