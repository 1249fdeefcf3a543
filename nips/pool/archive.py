"""4220 archive: a period's log as one file, announced with its hash so that relays may let the events go (SPEC.md)."""

from collections.abc import Mapping
from dataclasses import dataclass

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.alts import alt_tag
from nips.pool.chain import Head, Link, link_of, parse_lane
from nips.pool.content import (
    decode_content,
    encode_content,
    one_tag,
    parse_id,
    read_dict,
    read_int,
    read_list,
    read_str,
    require_kind,
)
from nips.pool.kinds import ARCHIVE

_CHAINS = frozenset({"terms", "accounting", "payouts"})
# An operator names a mirror or two; more would only fill the event.
MAX_URLS = 16


@dataclass(frozen=True, slots=True)
class Digest:
    """SHA-256 in hex and the length in bytes of one stream."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class ArchiveBody:
    """An archive before it is announced: the events with from_s <= created_at < to_s (Unix seconds).

    `stream` is the JSON lines, the same for everybody who archives the same events; `file` the compressed file, which
    depends on the compressor. `heads`: `<pubkey>/<chain>` -> the newest event of each chain in it. `urls`: where the
    file can be had, none if that is only in the terms.
    """

    from_s: int
    to_s: int
    events: int
    stream: Digest
    file: Digest
    heads: Mapping[str, Head]
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive(ArchiveBody):
    """A 4220 event."""

    id: str
    signer: str
    pool: PoolAddress
    link: Link
    created_at: int


def build_archive(pool: PoolAddress, link: Link, body: ArchiveBody, created_at: int) -> UnsignedEvent:
    """The event the accounting's key signs; its `x` tag is the file's hash, as NIP-94 has it.

    Raises ValueError for more than MAX_URLS places.
    """
    if len(body.urls) > MAX_URLS:
        raise ValueError(f"an archive names at most {MAX_URLS} places")
    fields = {
        "from_s": body.from_s,
        "to_s": body.to_s,
        "events": body.events,
        "stream": {"sha256": body.stream.sha256, "size": body.stream.size},
        "file": {"sha256": body.file.sha256, "size": body.file.size},
        "urls": list(body.urls),
        "heads": {name: [head.seq, head.id] for name, head in sorted(body.heads.items())},
    }
    tags = (pool.tag(), *link.tags(), ("x", body.file.sha256), alt_tag(ARCHIVE))
    return UnsignedEvent(ARCHIVE, created_at, tags, encode_content(fields))


def _digest(fields: dict[str, object], name: str) -> Digest:
    told = read_dict(fields, name)
    return Digest(parse_id(told.get("sha256"), f"the {name}'s sha256"), read_int(told, "size"))


def _check_chain(name: str) -> None:
    pubkey, _, chain = name.partition("/")
    parse_id(pubkey, "a chain's key")
    if chain not in _CHAINS:
        parse_lane(chain)


def parse_archive(event: VerifiedEvent) -> Archive:
    """Raises InvalidPoolEvent. Whether such a file exists, and holds what it says, is for whoever reads it."""
    require_kind(event, ARCHIVE)
    fields = decode_content(event.content)
    heads = {}
    for name, head in read_dict(fields, "heads").items():
        if type(head) is not list or len(head) != 2:
            raise InvalidPoolEvent("heads must map <pubkey>/<chain> to [seq, id]")
        _check_chain(name)
        heads[name] = Head(read_int({"seq": head[0]}, "seq"), parse_id(head[1], "a head"))
    urls = tuple(read_str({"url": url}, "url") for url in read_list(fields, "urls"))
    if len(urls) > MAX_URLS:
        raise InvalidPoolEvent(f"an archive names at most {MAX_URLS} places")
    from_s = read_int(fields, "from_s")
    file = _digest(fields, "file")
    if one_tag(event, "x")[1] != file.sha256:
        raise InvalidPoolEvent("the x tag and the content name different files")
    return Archive(
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
        link=link_of(event),
        created_at=event.created_at,
        from_s=from_s,
        to_s=read_int(fields, "to_s", from_s + 1),
        events=read_int(fields, "events"),
        stream=_digest(fields, "stream"),
        file=file,
        heads=heads,
        urls=urls,
    )
