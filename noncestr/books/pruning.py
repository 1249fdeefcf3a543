"""Letting go of receipts that archives have, in the accounting's store, beside the pool or without it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from accounting.adapters.stored_log import StoredLog
from accounting.archive import ArchiveHeader, ArchiveIndex
from accounting.pruning import is_spare, margin_s, open_lanes
from nips.errors import InvalidEvent, InvalidPoolEvent
from nips.nip01 import verify
from nips.pool.archive import parse_archive
from nips.pool.kinds import ARCHIVE, RECEIPT
from nips.pool.terms import Terms, parse_terms
from noncestr.books.archive import check_archive, read_unverified
from noncestr.errors import NoncestrError

# Receipts a statement: some MB of the log, so that the accounting beside us waits for a moment only.
GROUP = 100


@dataclass(frozen=True, slots=True)
class Pruned:
    """What came of it: how many receipts were let go and the bytes they took; how many stay, since something was wrong
    with them or this version did not check them.
    """

    let_go: int
    size: int
    stay: int


def prune(log: StoredLog, path: Path) -> Pruned:
    """Let go of the receipts that the archive at `path` has. Raises NoncestrError, StoreError; what was let go by then
    stays so, and the next time goes on.
    """
    header, index = check_archive(path)
    _accept(log, path, header, index)
    let_go = size = stay = 0
    receipts = (event for event in read_unverified(path) if event.kind == RECEIPT)
    while group := {event.id: event for event in islice(receipts, GROUP)}:
        kept = {name: (bytes(raw), check) for name, raw, check in log.kept(sorted(group)) if raw}
        spare = sorted(name for name, (raw, check) in kept.items() if is_spare(group[name], raw, check))
        if spare:
            log.let_go(spare)
        let_go += len(spare)
        size += sum(len(kept[name][0]) for name in spare)
        stay += len(kept) - len(spare)
    return Pruned(let_go, size, stay)


def _accept(log: StoredLog, path: Path, header: ArchiveHeader, index: ArchiveIndex) -> None:
    if header.pool != log.pool:
        raise NoncestrError(f"{path} is of another pool, {header.pool}")
    if not _is_announced(log, index):
        raise NoncestrError(f"{path} was not announced: `noncestr archive` has the accounting do it")
    terms = list(_terms(log))
    heads = {head.id for head in index.heads().values()}
    try:
        ends = [verify(event) for event in read_unverified(path) if event.kind == RECEIPT and event.id in heads]
    except InvalidEvent as error:
        raise NoncestrError(f"{path}: {error}") from None
    waits = open_lanes(ends, terms, log.batches_since(header.to_s + margin_s(terms)))
    if waits:
        raise NoncestrError(
            f"lanes have not gone on for long enough after the end of {path}, nor ended: {', '.join(waits)}; "
            "try again a day later, or have terms close them"
        )


def _is_announced(log: StoredLog, index: ArchiveIndex) -> bool:
    """Whether an accounting of the pool has signed its hash: so that everybody can tell what is in it."""
    keys = {key for terms in _terms(log) for key, role in terms.body.keys if role == "accounting"}
    for event in log.of_kind(ARCHIVE):
        if event.pubkey in keys:
            try:
                if parse_archive(event).stream == index.stream:
                    return True
            except InvalidPoolEvent:
                continue
    return False


def _terms(log: StoredLog) -> Iterator[Terms]:
    """The pool's own."""
    for event in log.terms():
        if event.pubkey == log.pool.pubkey:
            try:
                yield parse_terms(event)
            except InvalidPoolEvent:
                continue
