"""What is kept of a checked batch beside its event, so that its shares are hashed once: a head by which it takes its
place again, and what its shares came to. It is bound to the event and its own bytes: what was damaged is not known.
"""

import hashlib
from dataclasses import dataclass

import msgspec

from accounting.kept_events import unpack_event
from accounting.shares import CheckedShares, Number, SharesHead, pack_number, unpack_head, unpack_shares
from nips.nip01 import VerifiedEvent
from nips.pool.chain import Link
from nips.pool.receipt import Receipt, read_known_receipt

# Counts up when these bytes change, or what is made of a receipt. What is of another form is made anew.
FORM = 3
DIGEST_SIZE = 32
_LENGTH_SIZE = 4
_START = 1 + DIGEST_SIZE
_HEAD = msgspec.msgpack.Decoder(tuple[str, int, int, str | None, int, int, int, tuple[str, ...], Number, bool])


@dataclass(frozen=True, slots=True)
class Known:
    """A receipt that was checked before. `raw`: its event (accounting.kept_events), empty if archives alone have it;
    `digest` names the check and all it came to; `data`: the packed shares; `span`: the sums that were kept of the
    batches that end with it (accounting.spans), if any.
    """

    id: str
    signer: str
    lane: int
    link: Link
    from_ms: int
    to_ms: int
    created_at: int
    jobs: tuple[str, ...]
    work: int
    fin: bool
    raw: bytes
    digest: bytes
    data: bytes
    span: bytes | None = None

    def event(self) -> VerifiedEvent:
        """The event."""
        return unpack_event(self.raw)

    def receipt(self) -> Receipt:
        """The whole receipt."""
        return read_known_receipt(self.event())

    @property
    def head(self) -> SharesHead:
        """What its shares come to in short."""
        return unpack_head(self.data)

    @property
    def shares(self) -> CheckedShares:
        """What its shares come to."""
        return unpack_shares(self.data)


def pack_check(receipt: Receipt, data: bytes) -> bytes:
    """What to keep of a batch whose packed shares are `data`."""
    head = msgspec.msgpack.encode(
        (
            receipt.signer,
            receipt.lane,
            receipt.link.seq,
            receipt.link.prev,
            receipt.from_ms,
            receipt.to_ms,
            receipt.created_at,
            receipt.jobs,
            pack_number(receipt.work),
            receipt.fin,
        )
    )
    body = len(head).to_bytes(_LENGTH_SIZE, "big") + head + data
    return bytes([FORM]) + _digest(receipt.id, body) + body


def digest_of(check: bytes) -> bytes:
    """The name of a check."""
    return check[1:_START]


def open_check(receipt: str, check: bytes, raw: bytes, span: bytes | None = None) -> Known | None:
    """A receipt by id as it was kept, its event `raw`; None if these bytes are of another form, or no longer whole."""
    body = memoryview(check)[_START:]
    if check[:1] != bytes([FORM]) or digest_of(check) != _digest(receipt, body):
        return None
    start = _LENGTH_SIZE + int.from_bytes(body[:_LENGTH_SIZE], "big")
    signer, lane, seq, prev, from_ms, to_ms, created_at, jobs, work, fin = _HEAD.decode(body[_LENGTH_SIZE:start])
    return Known(
        receipt, signer, lane, Link(seq, prev), from_ms, to_ms, created_at, jobs, int(work), fin,
        raw, digest_of(check), bytes(body[start:]), span,
    )  # fmt: skip


def _digest(receipt: str, body: bytes | memoryview) -> bytes:
    hashed = hashlib.sha256(bytes([FORM]) + bytes.fromhex(receipt))
    hashed.update(body)
    return hashed.digest()
