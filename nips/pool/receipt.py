"""4212 share receipt: a batch of shares of one lane and one window of time (SPEC.md)."""

import base64
import binascii
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from nips.errors import InvalidPoolEvent
from nips.nip01 import Event, UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.chain import Link, lane_of, link_of
from nips.pool.content import (
    decode_content,
    encode_content,
    marked,
    one_tag,
    parse_base64,
    parse_bits,
    parse_decimal,
    parse_hex,
    parse_id,
    parse_work,
    read_list,
    read_str,
    require_kind,
    values_of,
)
from nips.pool.kinds import RECEIPT
from nips.pool.sizes import EXTRANONCE1_SIZE
from nips.pool.targets import target_from_bits

RECORD_SIZE = 28
_RECORD = struct.Struct("<HBBIIII8s")
# An event of 60,000 bytes passes every relay that takes strfry's 65,536.
MAX_EVENT_BYTES = 60_000
# Job numbers are a u8, session numbers a u16.
MAX_JOBS = 256
MAX_SESSIONS = 65_536
_WORKER = re.compile(r"[A-Za-z0-9._-]{0,32}|#[0-9a-f]{8}")
_NOT_WORKER = re.compile(r"[^A-Za-z0-9._-]")
MAX_WORKER = 32

CREDITED = 0
CREDITED_UPSTREAM = 1
STALE_UPSTREAM = 2
REFUSED_UPSTREAM = 3
UNANSWERED_UPSTREAM = 4
LATE_BLOCK = 5
CREDITED_STATUSES = frozenset({CREDITED, CREDITED_UPSTREAM})
STATUSES = frozenset(range(6))


class ShareRecord(NamedTuple):
    """One share: numbers of its session and job within the receipt, status, ms since the window's start, and the
    header's own ntime, nonce and version (u32), and the 8 bytes of extranonce2.
    """

    session: int
    job: int
    status: int
    ms: int
    ntime: int
    nonce: int
    version: int
    extranonce2: bytes

    def pack(self) -> bytes:
        """The 28-byte little-endian record."""
        return _RECORD.pack(*self)


class Session(NamedTuple):
    """Whose shares: the miner's number among the receipt's `p` tags, the worker's name, extranonce1 (4 bytes) and the
    target (compact bits, u32) they were mined at.
    """

    miner: int
    worker: str
    extranonce1: bytes
    share_bits: int


class Rejects(NamedTuple):
    """Shares an edge refused: a session's number, the Stratum error code, how many. The edge's word, not proof."""

    session: int
    code: int
    times: int


@dataclass(frozen=True, slots=True)
class ReceiptBody:
    """A batch before it is signed. `shares` holds 28-byte records in time order; from_ms and to_ms are Unix ms."""

    lane: int
    link: Link
    from_ms: int
    to_ms: int
    jobs: tuple[str, ...]
    miners: tuple[str, ...]
    sessions: tuple[Session, ...]
    shares: bytes
    rejects: tuple[Rejects, ...]
    work: int
    fin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(ReceiptBody):
    """A 4212 event."""

    id: str
    signer: str
    pool: PoolAddress
    created_at: int

    def records(self) -> list[ShareRecord]:
        """The shares, in time order."""
        return [ShareRecord._make(fields) for fields in _RECORD.iter_unpack(self.shares)]

    def rows(self) -> list[tuple[int, int, int, int, int, int, int, bytes]]:
        """The same as plain tuples, for whoever walks many."""
        return list(_RECORD.iter_unpack(self.shares))

    @property
    def count(self) -> int:
        """How many shares the batch holds."""
        return len(self.shares) // RECORD_SIZE


def worker_name(text: str) -> str:
    """A worker's name as receipts write it: at most 32 of [A-Za-z0-9._-], any other character becomes "_"."""
    return _NOT_WORKER.sub("_", text)[:MAX_WORKER]


def is_worker_name(text: str) -> bool:
    """Whether receipts may hold this worker's name: as `worker_name` makes it, or a pseudonym, "#" and 8 hex digits."""
    return _WORKER.fullmatch(text) is not None


def build_receipt(pool: PoolAddress, body: ReceiptBody, created_at: int) -> UnsignedEvent:
    """The event an edge's key signs. `created_at` (s) is not before the window's end, nor before the chain's newest."""
    tags: list[tuple[str, ...]] = [
        pool.tag(),
        *body.link.tags(),
        ("lane", str(body.lane)),
        ("window", str(body.from_ms), str(body.to_ms)),
        ("shares", str(len(body.shares) // RECORD_SIZE)),
        ("work", str(body.work)),
        *(("e", job, "", "job") for job in body.jobs),
        *(("p", miner) for miner in body.miners),
    ]
    if body.fin:
        tags.append(("fin", "1"))
    fields = {
        "sessions": [[s.miner, s.worker, s.extranonce1.hex(), f"{s.share_bits:08x}"] for s in body.sessions],
        "shares": base64.b64encode(body.shares).decode(),
        "rejects": [list(reject) for reject in body.rejects],
    }
    return UnsignedEvent(RECEIPT, created_at, tuple(tags), encode_content(fields))


def receipt_second(to_ms: int, newest: int) -> int:
    """created_at of a receipt: the first whole second not before its window's end, nor before the chain's newest."""
    return max(-(-to_ms // 1000), newest)


def _sessions(values: Sequence[object], miners: int) -> tuple[Session, ...]:
    sessions = []
    for value in values:
        if type(value) is not list or len(value) != 4:
            raise InvalidPoolEvent("a session is [p index, worker, extranonce1, share_bits]")
        miner, worker, extranonce1, bits = value
        if type(miner) is not int or not 0 <= miner < miners:
            raise InvalidPoolEvent("a session names a miner that has no p tag")
        if type(worker) is not str or not is_worker_name(worker):
            raise InvalidPoolEvent("a worker's name is at most 32 of [A-Za-z0-9._-], or # and 8 hex digits")
        share_bits = parse_bits(bits, "share_bits")
        target_from_bits(share_bits)
        sessions.append(Session(miner, worker, parse_hex(extranonce1, EXTRANONCE1_SIZE, "extranonce1"), share_bits))
    if len(sessions) > MAX_SESSIONS:
        raise InvalidPoolEvent(f"a receipt has at most {MAX_SESSIONS} sessions")
    return tuple(sessions)


def _rejects(values: Sequence[object], sessions: int) -> tuple[Rejects, ...]:
    rejects = []
    for value in values:
        if type(value) is not list or len(value) != 3 or not all(type(n) is int for n in value):
            raise InvalidPoolEvent("a reject is [session, code, count]")
        if value[2] < 0:
            raise InvalidPoolEvent("a reject counts what was refused")
        if not 0 <= value[0] < sessions:
            raise InvalidPoolEvent("a reject names a session that is not there")
        rejects.append(Rejects(*value))
    return tuple(rejects)


def _check_records(raw: bytes, sessions: int, jobs: int, length_ms: int) -> None:
    last = 0
    for session, job, status, ms, *_ in _RECORD.iter_unpack(raw):
        if session >= sessions or job >= jobs:
            raise InvalidPoolEvent("a share names a session or job that is not there")
        if status not in STATUSES:
            raise InvalidPoolEvent(f"a share's status {status} is not known")
        if ms < last or ms >= length_ms:
            raise InvalidPoolEvent("the shares are not in time order within the window")
        last = ms


def _window(event: Event) -> tuple[int, int]:
    tag = one_tag(event, "window")
    if len(tag) != 3:
        raise InvalidPoolEvent("the window tag is window, from ms, to ms")
    from_ms, to_ms = parse_decimal(tag[1], "from"), parse_decimal(tag[2], "to")
    # Record times are u32 ms since the window's start: 49 days.
    if not from_ms < to_ms or to_ms - from_ms > 0xFFFFFFFF:
        raise InvalidPoolEvent("a window must end after it starts, within 2^32 ms")
    if event.created_at * 1000 < to_ms:
        raise InvalidPoolEvent("a receipt is dated before its window ends")
    return from_ms, to_ms


class _Known(msgspec.Struct):
    sessions: list[tuple[int, str, str, str]]
    shares: str
    rejects: list[Rejects] = []


_KNOWN = msgspec.json.Decoder(_Known)


def read_known_receipt(event: VerifiedEvent) -> Receipt:
    """What `parse_receipt` gives, for an event that it took before: nothing of it is checked again.

    Raises InvalidPoolEvent or ValueError if it could not have.
    """
    try:
        known = _KNOWN.decode(event.content)
    except msgspec.MsgspecError as error:
        raise InvalidPoolEvent(str(error)) from None
    window = one_tag(event, "window")
    return Receipt(
        lane=lane_of(event),
        link=link_of(event),
        from_ms=int(window[1]),
        to_ms=int(window[2]),
        jobs=tuple(marked(event, "job")),
        miners=event.tag_values("p"),
        sessions=tuple(
            [Session(miner, worker, bytes.fromhex(en1), int(bits, 16)) for miner, worker, en1, bits in known.sessions]
        ),
        shares=binascii.a2b_base64(known.shares),
        rejects=tuple(known.rejects),
        work=int(one_tag(event, "work")[1]),
        fin=bool(event.tag_values("fin")),
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
        created_at=event.created_at,
    )


def parse_receipt(event: VerifiedEvent) -> Receipt:
    """Raises InvalidPoolEvent. What needs the jobs and the chain (work, targets, order) is for the log's reader."""
    require_kind(event, RECEIPT)
    fields = decode_content(event.content)
    from_ms, to_ms = _window(event)
    jobs = tuple(parse_id(job, "a job") for job in marked(event, "job"))
    miners = tuple(parse_id(value, "a miner") for value in values_of(event, "p"))
    if len(jobs) > MAX_JOBS or len(set(jobs)) != len(jobs) or len(set(miners)) != len(miners):
        raise InvalidPoolEvent(f"a receipt names at most {MAX_JOBS} jobs, no job and no miner twice")
    sessions = _sessions(read_list(fields, "sessions"), len(miners))
    shares = parse_base64(read_str(fields, "shares"), "shares")
    if len(shares) != RECORD_SIZE * parse_decimal(one_tag(event, "shares")[1], "shares"):
        raise InvalidPoolEvent("the shares tag does not count the records")
    _check_records(shares, len(sessions), len(jobs), to_ms - from_ms)
    fins = values_of(event, "fin")
    if fins not in ([], ["1"]):
        raise InvalidPoolEvent('the fin tag is ["fin","1"]')
    return Receipt(
        lane=lane_of(event),
        link=link_of(event),
        from_ms=from_ms,
        to_ms=to_ms,
        jobs=jobs,
        miners=miners,
        sessions=sessions,
        shares=shares,
        rejects=_rejects(read_list(fields, "rejects") if "rejects" in fields else [], len(sessions)),
        work=parse_work(one_tag(event, "work")[1], "work"),
        fin=bool(fins),
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
        created_at=event.created_at,
    )
