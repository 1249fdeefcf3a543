"""Archive files on the disk: written from the accounting's own log or from relays, read line by line."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from accounting.adapters.stored_log import StoredLog
from accounting.archive import (
    MAX_LINE,
    ArchiveError,
    ArchiveHeader,
    ArchiveIndex,
    ArchiveReader,
    ArchiveWriter,
    Stub,
    canonical_order,
    stub_of,
)
from nips.errors import InvalidEvent, InvalidPoolEvent
from nips.nip01 import Event, VerifiedEvent, make_filter, verify
from nips.nip57 import ZAP_RECEIPT
from nips.pool.address import PoolAddress, address_of
from nips.pool.archive import ArchiveBody, Digest
from nips.pool.kinds import LEDGER_KINDS, PAYOUT, TERMS
from nips.pool.terms import parse_terms
from noncestr.errors import NoncestrError
from relay_bridge.adapters.fetch import fetch_events

# zlib's default; higher levels gain a percent, since hashes and signatures don't compress.
LEVEL = 6
# Ids a filter: relays bound a filter's size, and 500 results are a usual cap.
IDS_A_FILTER = 400
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Archived:
    """A file that was written: its header, index, and what to announce of it."""

    path: Path
    header: ArchiveHeader
    index: ArchiveIndex
    file: Digest

    def body(self, urls: tuple[str, ...] = ()) -> ArchiveBody:
        """What a 4220 says of it."""
        index, header = self.index, self.header
        return ArchiveBody(header.from_s, header.to_s, index.events, index.stream, self.file, index.heads(), urls)


def pool_keys(terms: Iterable[VerifiedEvent], pool: PoolAddress) -> frozenset[str]:
    """The pool's key and every key that its terms ever named."""
    keys = {pool.pubkey}
    for event in terms:
        if event.pubkey == pool.pubkey:
            try:
                keys.update(key for key, _ in parse_terms(event).body.keys)
            except InvalidPoolEvent:
                continue
    return frozenset(keys)


def is_of_log(event: Event, pool: PoolAddress, keys: frozenset[str]) -> bool:
    """Whether an event is of the pool's log and a key of the pool signed it: anybody can write its name on others."""
    try:
        return event.kind in LEDGER_KINDS and event.pubkey in keys and address_of(event) == pool
    except InvalidPoolEvent:
        return False


def write_file(
    path: Path, header: ArchiveHeader, stubs: Iterable[Stub], find: Callable[[str], VerifiedEvent]
) -> Archived:
    """Write the events of these stubs, which `find` gives by id, in canonical order. Raises NoncestrError.

    The file is there whole or not at all. Memory: the stubs.
    """
    order = canonical_order(stubs)
    draft = path.with_name(path.name + ".part")
    writer = ArchiveWriter(header)
    try:
        with draft.open("wb") as raw:
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=LEVEL, mtime=0) as packed:
                packed.write(writer.first_line())
                for name in order:
                    packed.write(writer.event_line(find(name)))
                packed.write(writer.last_line())
            raw.flush()
            os.fsync(raw.fileno())
        file = _digest(draft)
        draft.rename(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise NoncestrError(f"cannot write the archive {path}: {error}") from None
    return Archived(path, header, writer.index, file)


def _digest(path: Path) -> Digest:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Digest(digest.hexdigest(), size)


def archive_ledger(log: StoredLog, path: Path, from_s: int | None, to_s: int | None) -> Archived:
    """Write what the accounting's file holds of a period (Unix seconds; None: its beginning or end)."""
    bounds = log.bounds()
    if bounds is None:
        raise NoncestrError("the log is empty: there is nothing to archive")
    keys = pool_keys(log.terms(), log.pool)
    begin, end = bounds[0] if from_s is None else from_s, bounds[1] + 1 if to_s is None else to_s
    stubs: dict[str, Stub] = {}
    for event in log.between(begin, end):
        if is_of_log(event, log.pool, keys):
            stubs[event.id] = stub_of(event)
            for name in stubs[event.id].needs if event.kind == PAYOUT else ():
                proof = log.event(name)
                if proof is not None and proof.kind == ZAP_RECEIPT:
                    stubs[name] = stub_of(proof)
    if not stubs:
        raise NoncestrError("the log has nothing of this period")

    def find(name: str) -> VerifiedEvent:
        event = log.event(name)
        if event is None:
            raise NoncestrError(f"event {name} is gone from the ledger")
        return event

    return write_file(path, ArchiveHeader(log.pool, begin, end), stubs.values(), find)


async def archive_relays(
    urls: list[str], pool: PoolAddress, path: Path, from_s: int | None, to_s: int | None, timeout_s: float
) -> Archived:
    """The same out of what relays have; it is all in memory meanwhile."""
    until = None if to_s is None else to_s - 1
    tags = {"a": [str(pool)]}
    terms = await fetch_events(urls, [make_filter(kinds=[TERMS], tags=tags)], timeout_s=timeout_s)
    result = await fetch_events(
        urls, [make_filter(kinds=LEDGER_KINDS, tags=tags, since=from_s, until=until)], timeout_s=timeout_s
    )
    for asked in result.relays:
        if not asked.complete:
            raise NoncestrError(f"{asked.url} did not give a whole answer: {asked.error}")
    keys = pool_keys(terms.events, pool)
    events = {event.id: event for event in result.events if is_of_log(event, pool, keys)}
    if not events:
        raise NoncestrError("the relays have nothing of this period")
    dates = [event.created_at for event in events.values()]
    proofs = sorted(
        {name for event in events.values() if event.kind == PAYOUT for name in stub_of(event).needs} - set(events)
    )
    for at in range(0, len(proofs), IDS_A_FILTER):
        asked_for = make_filter(ids=proofs[at : at + IDS_A_FILTER], kinds=[ZAP_RECEIPT])
        found = await fetch_events(urls, [asked_for], timeout_s=timeout_s)
        events.update((event.id, event) for event in found.events)
    begin, end = min(dates) if from_s is None else from_s, max(dates) + 1 if to_s is None else to_s
    return write_file(path, ArchiveHeader(pool, begin, end), map(stub_of, events.values()), events.__getitem__)


def _lines(readline: Callable[[int], bytes]) -> Iterator[bytes]:
    number = 0
    while True:
        number += 1
        try:
            line = readline(MAX_LINE + 2)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ArchiveError(number, f"the compressed file is damaged or cut off: {error}") from None
        if not line:
            return
        yield line


def archive_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, compressed or not. Raises ArchiveError, OSError."""
    with path.open("rb") as raw:
        is_packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if is_packed:
            with gzip.GzipFile(fileobj=raw, mode="rb") as packed:
                yield from _lines(packed.readline)
        else:
            yield from _lines(raw.readline)


def check_archive(path: Path) -> tuple[ArchiveHeader, ArchiveIndex]:
    """Read a whole file for its form and hash. Raises NoncestrError with the place of what is wrong."""
    reader = ArchiveReader()
    for _ in _read(path, reader):
        pass
    assert reader.header is not None
    assert reader.index is not None
    return reader.header, reader.index


def read_archive(path: Path) -> Iterator[VerifiedEvent]:
    """The events of an archive, each verified, in canonical order: first the whole file is read for its hash, so that
    nothing of a damaged one is given. Raises NoncestrError.
    """
    check_archive(path)
    for number, event in enumerate(_read(path, ArchiveReader()), start=2):
        try:
            yield verify(event)
        except InvalidEvent as error:
            raise NoncestrError(f"{path}: line {number}: {error}") from None


def read_unverified(path: Path) -> Iterator[Event]:
    """The same, ids and signatures unchecked: for whoever checks many at once."""
    check_archive(path)
    yield from _read(path, ArchiveReader())


def _read(path: Path, reader: ArchiveReader) -> Iterator[Event]:
    try:
        yield from reader.read(archive_lines(path))
    except ArchiveError as error:
        raise NoncestrError(f"{path}: {error}") from None
    except OSError as error:
        raise NoncestrError(f"cannot read the archive {path}: {error}") from None
