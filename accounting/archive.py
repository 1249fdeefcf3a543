"""The file of an archive (4220): a period's log as JSON lines, the same bytes for everybody who has the same events.

    {"archive":1,"pool":"34210:<pubkey>:<network>","from_s":...,"to_s":...}
    <event>                       as NIP-01 writes one, fields in its order, no white space; in canonical order
    ...
    {"events":...,"kinds":{...},"chains":{"<pubkey>/<chain>":[seq,id,seq,id]},"sha256":"<of all before this line>"}

Canonical order: every event after those it names, else by date, kind, key, number in its chain and id. So one pass over
the file meets nothing that waits for long. `chains` says of each chain its first and its last event in the file.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, NamedTuple

import msgspec

from accounting.errors import AccountingError
from nips.errors import InvalidEvent, InvalidPoolEvent
from nips.nip01 import Event, VerifiedEvent, encode_event, parse_event
from nips.pool.address import PoolAddress, parse_address
from nips.pool.archive import Digest
from nips.pool.chain import Head, chain_name, link_of
from nips.pool.content import decode_content
from nips.pool.kinds import JOB, LEDGER_KINDS, PAYOUT, STATEMENT, SUMMARY

FORMAT = 1
# Pool events stay below 60,000 bytes, zap receipts come from others: relays take no event larger than this.
MAX_LINE = 1 << 20


class ArchiveError(AccountingError):
    """A file that is no archive, or not the whole of one. `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


class Stub(NamedTuple):
    """An event as far as its place in the file depends on it. `seq` is -1 and `chain` "" outside of chains."""

    created_at: int
    kind: int
    pubkey: str
    seq: int
    id: str
    chain: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArchiveHeader:
    """The first line: whose log, of which time (Unix seconds, from_s <= created_at < to_s)."""

    pool: PoolAddress
    from_s: int
    to_s: int


@dataclass(slots=True)
class ArchiveIndex:
    """The last line. `chains`: the first and the last event of each chain; `stream`: the digest of the whole file's
    lines, known once all of them were written or read.
    """

    events: int = 0
    kinds: dict[int, int] = field(default_factory=dict)
    chains: dict[str, tuple[Head, Head]] = field(default_factory=dict)
    stream: Digest = field(default_factory=lambda: Digest("", 0))

    def heads(self) -> dict[str, Head]:
        """The newest event of each chain."""
        return {name: last for name, (_, last) in self.chains.items()}

    def count(self, stub: Stub) -> None:
        """Take an event in."""
        self.events += 1
        self.kinds[stub.kind] = self.kinds.get(stub.kind, 0) + 1
        if stub.chain:
            head = Head(stub.seq, stub.id)
            first, last = self.chains.get(stub.chain, (head, head))
            self.chains[stub.chain] = (min(first, head), max(last, head))

    def to_json(self) -> dict[str, Any]:
        """What the last line says, less its hash."""
        return {
            "events": self.events,
            "kinds": {str(kind): count for kind, count in sorted(self.kinds.items())},
            "chains": {name: [*first, *last] for name, (first, last) in sorted(self.chains.items())},
        }


def _named(event: Event) -> Iterator[object]:
    for tag in event.tags:
        if len(tag) > 1 and tag[0] in ("e", "prev"):
            yield tag[1]
    if event.kind not in (JOB, STATEMENT, SUMMARY, PAYOUT):
        return
    try:
        fields = decode_content(event.content)
    except InvalidPoolEvent:
        return
    if event.kind == PAYOUT:
        proof = fields.get("proof")
        yield proof.get("receipt") if isinstance(proof, dict) else None
        return
    yield fields.get("terms")
    window = fields.get("window") if event.kind == STATEMENT else fields
    heads = window.get("heads") if isinstance(window, dict) else None
    for head in heads.values() if isinstance(heads, dict) else ():
        yield head[1] if isinstance(head, list) and len(head) == 2 else head


def stub_of(event: Event) -> Stub:
    """What the order asks of an event, whatever its form."""
    seq, chain = -1, ""
    if event.kind in LEDGER_KINDS:
        try:
            name = chain_name(event)
            if name is not None:
                seq, chain = link_of(event).seq, f"{event.pubkey}/{name}"
        except InvalidPoolEvent:
            pass
    needs = tuple(dict.fromkeys(name for name in _named(event) if isinstance(name, str) and name))
    return Stub(event.created_at, event.kind, event.pubkey, seq, event.id, chain, needs)


def canonical_order(stubs: Iterable[Stub]) -> list[str]:
    """The ids in the file's order. What an event names that is not among them holds it up in no way.

    O(n log n); the same for the same events in any order.
    """
    by_id = {stub.id: stub for stub in stubs}
    waits: dict[str, int] = {}
    named_by: dict[str, list[str]] = {}
    ready: list[tuple[int, int, str, int, str]] = []
    for stub in by_id.values():
        needs = [name for name in stub.needs if name in by_id and name != stub.id]
        for name in needs:
            named_by.setdefault(name, []).append(stub.id)
        if needs:
            waits[stub.id] = len(needs)
        else:
            heappush(ready, stub[:5])
    ordered: list[str] = []
    while ready:
        event = heappop(ready)[4]
        ordered.append(event)
        for name in named_by.pop(event, ()):
            waits[name] -= 1
            if not waits[name]:
                heappush(ready, by_id[name][:5])
    # An id is a hash: no two events name each other.
    assert len(ordered) == len(by_id)
    return ordered


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


class ArchiveWriter:
    """Makes the lines. Give it events in canonical order, then ask for the last line; `index` then says it all."""

    def __init__(self, header: ArchiveHeader) -> None:
        self.header = header
        self.index = ArchiveIndex()
        self._hash = hashlib.sha256()
        self._size = 0

    def first_line(self) -> bytes:
        """The header's."""
        header = self.header
        fields = {"archive": FORMAT, "pool": str(header.pool), "from_s": header.from_s, "to_s": header.to_s}
        return self._told(_line(fields))

    def event_line(self, event: VerifiedEvent) -> bytes:
        """An event's."""
        self.index.count(stub_of(event))
        return self._told(encode_event(event) + b"\n")

    def last_line(self) -> bytes:
        """The index's."""
        line = self._told(_line({**self.index.to_json(), "sha256": self._hash.hexdigest()}))
        self.index.stream = Digest(self._hash.hexdigest(), self._size)
        return line

    def _told(self, line: bytes) -> bytes:
        self._hash.update(line)
        self._size += len(line)
        return line


def write_lines(header: ArchiveHeader, events: Iterable[VerifiedEvent]) -> Iterator[bytes]:
    """The file's lines, each with its line feed; `events` in canonical order."""
    writer = ArchiveWriter(header)
    yield writer.first_line()
    yield from map(writer.event_line, events)
    yield writer.last_line()


class ArchiveReader:
    """Reads the lines of an archive, one after another.

    `header` is there once the first line was read, `index` at the end, when the hash, the counts and the chains were
    found as the last line says. Until then nothing of the file can be relied on.
    """

    def __init__(self) -> None:
        self.header: ArchiveHeader | None = None
        self.index: ArchiveIndex | None = None
        self._seen = ArchiveIndex()
        self._hash = hashlib.sha256()
        self._size = 0
        self._number = 0

    def read(self, lines: Iterable[bytes]) -> Iterator[Event]:
        """The events as they stand, ids and signatures unchecked. Raises ArchiveError, with the place."""
        for line in lines:
            self._number += 1
            if self.index is not None:
                raise self._wrong("something follows the index")
            if not line.endswith(b"\n"):
                raise self._wrong("the line is cut off")
            if len(line) > MAX_LINE:
                raise self._wrong(f"the line is longer than {MAX_LINE} bytes")
            event = self._take(line)
            if event is not None:
                yield event
        if self.index is None:
            self._number += 1
            raise self._wrong("the file ends before its index")

    def _take(self, line: bytes) -> Event | None:
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._wrong(f"this is no JSON: {error}") from None
        if self.header is None:
            self.header = self._header(value)
        elif isinstance(value, dict) and "sha256" in value:
            self._end(value)
        else:
            self._feed(line)
            return self._event(value, line)
        self._feed(line)
        if self.index is not None:
            self.index.stream = Digest(self._hash.hexdigest(), self._size)
        return None

    def _feed(self, line: bytes) -> None:
        self._hash.update(line)
        self._size += len(line)

    def _header(self, value: Any) -> ArchiveHeader:
        if not isinstance(value, dict) or "archive" not in value:
            raise self._wrong("this is no archive of a pool's log")
        if value["archive"] != FORMAT:
            raise self._wrong(f"an archive of form {value['archive']!r} is not known here")
        try:
            pool = parse_address(str(value.get("pool")))
        except InvalidPoolEvent as error:
            raise self._wrong(str(error)) from None
        from_s, to_s = value.get("from_s"), value.get("to_s")
        if type(from_s) is not int or type(to_s) is not int or not 0 <= from_s < to_s:
            raise self._wrong("the period is from_s to to_s, in Unix seconds")
        return ArchiveHeader(pool, from_s, to_s)

    def _event(self, value: Any, line: bytes) -> Event:
        assert self.header is not None
        try:
            event = parse_event(value)
        except InvalidEvent as error:
            raise self._wrong(str(error)) from None
        if encode_event(event) + b"\n" != line:
            raise self._wrong("the event is not written as NIP-01 hashes it")
        if event.kind in LEDGER_KINDS and not self.header.from_s <= event.created_at < self.header.to_s:
            raise self._wrong(f"event {event.id} is not of the file's period")
        self._seen.count(stub_of(event))
        return event

    def _end(self, value: dict[str, Any]) -> None:
        told = {name: content for name, content in value.items() if name != "sha256"}
        if value["sha256"] != self._hash.hexdigest():
            raise self._wrong("the lines before are not those that were written: the hash differs")
        if told != self._seen.to_json():
            raise self._wrong("the index does not fit what stands before it")
        self.index = self._seen

    def _wrong(self, reason: str) -> ArchiveError:
        return ArchiveError(self._number, reason)


def read_lines(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events of an archive's lines (each with its line feed), ids and signatures unchecked.

    Raises ArchiveError as soon as something is wrong, at the last line if the hash is: what was read by then is void.
    """
    return ArchiveReader().read(lines)


def check_lines(lines: Iterable[bytes]) -> tuple[ArchiveHeader, ArchiveIndex]:
    """Read a whole archive for its form and hash. Raises ArchiveError."""
    reader = ArchiveReader()
    for _ in reader.read(lines):
        pass
    assert reader.header is not None
    assert reader.index is not None
    return reader.header, reader.index
