"""What a damaged segment still tells, and whether its lane can go on. Nothing is guessed.

A lane may go on only if its end is known for certain: no batch was closed in the lost bytes (frames count the batches
closed before them), and every publication can still be made. Shares can't move: a share is credited in the lanes its
job names, so what the open batch holds is sealed in this lane or lost. Of the open batch all is kept that stands before
the damage, and behind it the shares of sessions and jobs that were numbered before.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

import msgspec

from nips.errors import NipError
from nips.nip01 import VerifiedEvent
from stratum_edge.errors import JournalDamaged
from stratum_edge.journal import (
    Checkpoint,
    FoundBlock,
    Kind,
    Record,
    Recovered,
    Sealed,
    encode_block,
    encode_json,
    encode_record,
    encode_session,
    encode_share,
    read_records,
    records_of,
    recover,
)
from stratum_edge.segment import Scan

_SEALED: Final = msgspec.json.Decoder(Sealed)
# A share's record begins with the numbers of its session (u16) and job (u8), as SPEC.md lays it out.
_NUMBERS: Final = struct.Struct("<HB")


class Gap(msgspec.Struct, frozen=True):
    """Bytes that don't read, from `start` to `end`; `records` and closed `batches` that were in them, None: unknown."""

    start: int
    end: int
    records: int | None
    batches: int | None


@dataclass(slots=True)
class Salvage:
    """What a segment holds over its damage. `why_not`: why its lane can't go on, "" if it can.

    `kept`: shares of the open batch that can be sealed. `left`: shares that read, but whose session or job was numbered
    in the lost bytes. `lost_records`: how many records the gaps held that no receipt makes up for, None: unknown.
    """

    recovered: Recovered | None = None
    gaps: list[Gap] = field(default_factory=list)
    why_not: str = ""
    left: int = 0
    lost_records: int | None = 0

    @property
    def kept(self) -> int:
        """Shares of the open batch that can be sealed."""
        return 0 if self.recovered is None else len(self.recovered.shares)

    def unsent(self) -> list[VerifiedEvent]:
        """Signed events that may not have been sent, in their order."""
        if self.recovered is None:
            return []
        return [event for _, pending in sorted(self.recovered.pending.items()) for event in pending.events]


class _OpenBatch:
    """The open batch behind a gap: which sessions and jobs had their number before it."""

    def __init__(self, recovered: Recovered) -> None:
        self.sessions = len(recovered.sessions)
        self.jobs = len(recovered.jobs)

    def holds(self, record: bytes) -> bool:
        """Whether a share's session and job are among them."""
        session, job = _NUMBERS.unpack_from(record)
        return bool(session < self.sessions and job < self.jobs)


def salvage(found: Scan) -> Salvage:
    """Fold a damaged segment over its gaps."""
    result = Salvage()
    try:
        before = list(records_of(found.whole))
        result.recovered = recover(before)
        _fold(result, found, before)
    except (JournalDamaged, NipError, msgspec.MsgspecError, KeyError, ValueError) as error:
        _refuse(result, f"what stands behind the damage does not fit: {error!r}")
    recovered = result.recovered
    if recovered is None:
        _refuse(result, "the checkpoint is damaged, which says where the lane stood")
    elif not set(recovered.jobs) <= recovered.known_jobs.keys():
        _refuse(result, "a job of the open batch was in the lost bytes")
    return result


def _refuse(result: Salvage, why: str) -> None:
    result.why_not = result.why_not or why


def _fold(result: Salvage, found: Scan, before: list[Record]) -> None:
    recovered = result.recovered
    records, sealed = len(before), sum(record.kind is Kind.SEALED for record in before)
    end = found.end
    batch: _OpenBatch | None = None
    for frame in found.behind:
        if frame.at != end or frame.records != records:
            gap = Gap(end, frame.at, frame.records - records, frame.sealed - sealed)
            result.gaps.append(gap)
            if gap.batches:
                _refuse(result, f"{gap.batches} batches were closed in the lost bytes, and may have been published")
            if result.lost_records is not None and gap.records:
                result.lost_records += gap.records
            if recovered is not None and batch is None:
                batch = _OpenBatch(recovered)
        records, sealed = frame.records, frame.sealed
        if frame.body is None:
            end = frame.at
            continue
        end = frame.end
        for record in read_records(frame.body):
            records += 1
            sealed += record.kind is Kind.SEALED
            if recovered is not None:
                batch = _take(result, recovered, record, batch)
    last = found.behind[-1] if found.behind else None
    if last is not None and last.body is None:
        result.gaps.append(Gap(last.at, last.end, None, None))
        result.lost_records = None
        _refuse(result, "the last write is damaged as well, and may have closed a batch that was published")


def _take(result: Salvage, recovered: Recovered, record: Record, batch: _OpenBatch | None) -> _OpenBatch | None:
    """Take in a record behind the gap; `batch` is what was known of the open one, None once another has begun."""
    if record.kind is Kind.SEALED:
        receipt = _SEALED.decode(record.payload).receipt
        head = recovered.head
        if receipt.tag_value("prev") != (None if head is None else head.id):
            raise JournalDamaged(f"the receipt {receipt.id} does not follow the batch before it")
        recovered.take(record.kind, record.payload)
        # The receipt has every share of its batch, those in the gap too.
        result.lost_records, result.left = (None if result.lost_records is None else 0), 0
        return None
    if batch is None or record.kind not in (Kind.USE, Kind.SESSION, Kind.SHARE, Kind.BLOCK):
        recovered.take(record.kind, record.payload)
    elif record.kind is Kind.SHARE:
        if batch.holds(record.payload):
            recovered.take(record.kind, record.payload)
        else:
            result.left += 1
    elif record.kind is Kind.BLOCK:
        block = msgspec.msgpack.decode(record.payload, type=FoundBlock)
        recovered.blocks[block.hash] = block
        if batch.holds(block.record):
            recovered.found.append(msgspec.structs.replace(block, index=len(recovered.shares)))
    return batch


def records_to_go_on(recovered: Recovered) -> list[Record]:
    """A segment's records from which an edge goes on where `recovered` stands."""
    head, start = recovered.head, recovered.checkpoint
    checkpoint = Checkpoint(
        pool=start.pool,
        pubkey=start.pubkey,
        lane=start.lane,
        from_ms=recovered.from_ms,
        newest_s=recovered.newest_s,
        seq=None if head is None else head.seq,
        head="" if head is None else head.id,
        pending=[(pending.seq, list(pending.events)) for _, pending in sorted(recovered.pending.items())],
        blocks=list(recovered.blocks.values()),
    )
    parts = [encode_json(Kind.CHECKPOINT, checkpoint)]
    parts += [encode_json(Kind.JOB, recovered.known_jobs[id]) for id in recovered.jobs]
    parts += [encode_record(Kind.USE, bytes.fromhex(id)) for id in recovered.jobs]
    parts += [encode_session(key) for key in recovered.sessions]
    blocks = {block.index: block for block in recovered.found}
    for index, share in enumerate(recovered.shares):
        if index in blocks:
            parts.append(encode_block(blocks[index]))
        parts.append(encode_share(share))
    return list(read_records(b"".join(parts)))
