"""A lane: one chain of share receipts, and the batch that is open at its end (SPEC.md, "4212 share receipt").

Windows are contiguous: a batch begins where the one before ended. The lane's time line never runs back, whatever the
wall clock does, so that no window, share or job is dated before what it follows.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from nips.keys import Signer
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import Head, next_link
from nips.pool.receipt import (
    CREDITED_STATUSES,
    MAX_EVENT_BYTES,
    MAX_JOBS,
    MAX_SESSIONS,
    ReceiptBody,
    Rejects,
    Session,
    ShareRecord,
    build_receipt,
    receipt_second,
)
from nips.pool.targets import work_from_bits

# Record times are u32 milliseconds since the window's start (49 days).
MAX_WINDOW_MS: Final = 0xFFFFFFFF
# Upper bounds of what each part adds to the event's JSON. The content is a string inside the event, so its quotes are
# escaped. An empty receipt: id, key, signature, a, seq, prev, lane, window, shares, work, fin and the field names.
_EMPTY_BYTES: Final = 1000
_JOB_BYTES: Final = 64 + len('["e","","","job"],')
_MINER_BYTES: Final = 64 + len('["p",""],')
_SESSION_BYTES: Final = len('[65535,\\"\\",\\"00000000\\",\\"00000000\\"],')
_REJECT_BYTES: Final = len("[65535,99,9999999999],")
# A share's record, as SPEC.md lays it out and ShareRecord.pack writes it.
_RECORD: Final = struct.Struct("<HBBIIII8s")
# 28 bytes in base64 are 37.33 characters.
_SHARE_BYTES: Final = 38


class SessionKey(NamedTuple):
    """Whose shares at which target: miner (hex), worker, extranonce1 (4 bytes), compact bits."""

    miner: str
    worker: str
    extranonce1: bytes
    share_bits: int


class Entry(NamedTuple):
    """A share's place in the open batch, and what the batch had not yet known: a new job, a new session."""

    number: int
    record: bytes
    new_job: bool
    new_session: bool


class Lane:
    """The open batch and where the chain stands. Times are Unix ms."""

    def __init__(
        self, pool: PoolAddress, number: int, from_ms: int, head: Head | None = None, newest_s: int = 0
    ) -> None:
        """`head`: the last batch closed; `from_ms`: its window's end; `newest_s`: its created_at."""
        self.pool = pool
        self.number = number
        self.from_ms = from_ms
        self.head = head
        self.newest_s = newest_s
        self._time = from_ms
        self._begin()

    def _begin(self) -> None:
        self.jobs: dict[str, int] = {}
        self.miners: dict[str, int] = {}
        self.sessions: dict[SessionKey, int] = {}
        self._works: list[int] = []
        self._records = bytearray()
        self.count = 0
        self.work = 0
        self._rejects: dict[tuple[SessionKey, int], int] = {}
        self._bytes = _EMPTY_BYTES

    @property
    def is_empty(self) -> bool:
        """Whether the batch holds no share."""
        return self.count == 0

    @property
    def head_id(self) -> str:
        """What jobs name as this lane's head: the last closed batch, "" for none."""
        return "" if self.head is None else self.head.id

    def at(self, now: int) -> int:
        """The time line at `now`: never before what it said last."""
        if now > self._time:
            self._time = now
        return self._time

    def after(self, now: int) -> int:
        """The same, and later than everything dated so far: for a job that ends others, for a window's end."""
        self._time = max(now, self._time + 1)
        return self._time

    def fits(self, key: SessionKey, job: str) -> bool:
        """Whether a share of that session on that job still fits into the batch; if not, close it first."""
        size = self._bytes + _SHARE_BYTES
        if job not in self.jobs:
            if len(self.jobs) >= MAX_JOBS:
                return False
            size += _JOB_BYTES
        if key not in self.sessions:
            if len(self.sessions) >= MAX_SESSIONS:
                return False
            size += _SESSION_BYTES + len(key.worker) + (_MINER_BYTES if key.miner not in self.miners else 0)
        return size < MAX_EVENT_BYTES

    def _session(self, key: SessionKey) -> int:
        slot = self.sessions.get(key)
        if slot is None:
            if key.miner not in self.miners:
                self.miners[key.miner] = len(self.miners)
                self._bytes += _MINER_BYTES
            slot = self.sessions[key] = len(self.sessions)
            self._works.append(work_from_bits(key.share_bits))
            self._bytes += _SESSION_BYTES + len(key.worker)
        return slot

    def add(
        self, key: SessionKey, job: str, status: int, at: int, ntime: int, nonce: int, version: int, extranonce2: bytes
    ) -> Entry:
        """Write a share down; `at` is from `self.at`, and `fits` has said yes."""
        new_job = job not in self.jobs
        if new_job:
            self.jobs[job] = len(self.jobs)
            self._bytes += _JOB_BYTES
        new_session = key not in self.sessions
        session = self._session(key)
        record = ShareRecord(
            session, self.jobs[job], status, at - self.from_ms, ntime, nonce, version, extranonce2
        ).pack()
        self._records += record
        self._bytes += _SHARE_BYTES
        if status in CREDITED_STATUSES:
            self.work += self._works[session]
        self.count += 1
        return Entry(self.count - 1, record, new_job, new_session)

    def restore(self, jobs: Sequence[str], sessions: Sequence[SessionKey], records: Sequence[bytes]) -> None:
        """Take up the open batch a journal tells of: jobs and sessions in the order of their numbers."""
        for record in records:
            share = ShareRecord._make(_RECORD.unpack(record))
            self.add(
                sessions[share.session],
                jobs[share.job],
                share.status,
                self.at(self.from_ms + share.ms),
                share.ntime,
                share.nonce,
                share.version,
                share.extranonce2,
            )

    def reject(self, key: SessionKey, code: int) -> None:
        """Count a refused share; left out when the batch has no room to tell of it."""
        place = (key, code)
        if place not in self._rejects:
            # The session gets its number when the batch closes: until then numbers are the shares', as journaled.
            size = _REJECT_BYTES + _SESSION_BYTES + len(key.worker) + _MINER_BYTES
            if self._bytes + size + _SHARE_BYTES >= MAX_EVENT_BYTES or len(self._rejects) >= MAX_SESSIONS // 2:
                return
            self._bytes += size
            self._rejects[place] = 0
        self._rejects[place] += 1

    def close(self, signer: Signer, now: int, *, fin: bool = False) -> VerifiedEvent:
        """Close the batch: its signed receipt. The next one begins where this ends.

        After a gap longer than a window can be (49 days), an empty batch only bridges part of it: close again.
        """
        to_ms = self.after(now)
        if to_ms - self.from_ms > MAX_WINDOW_MS:
            to_ms = self.from_ms + MAX_WINDOW_MS
        rejects = tuple(Rejects(self._session(key), code, times) for (key, code), times in self._rejects.items())
        body = ReceiptBody(
            lane=self.number,
            link=next_link(self.head),
            from_ms=self.from_ms,
            to_ms=to_ms,
            jobs=tuple(self.jobs),
            miners=tuple(self.miners),
            sessions=tuple(
                Session(self.miners[key.miner], key.worker, key.extranonce1, key.share_bits) for key in self.sessions
            ),
            shares=bytes(self._records),
            rejects=rejects,
            work=self.work,
            fin=fin,
        )
        second = receipt_second(to_ms, self.newest_s)
        event = signer.sign(build_receipt(self.pool, body, second))
        self.head = Head(body.link.seq, event.id)
        self.from_ms = to_ms
        self.newest_s = second
        self._begin()
        return event
