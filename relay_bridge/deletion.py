"""NIP-09 deletion requests, and the kinds for which they do nothing here."""

from dataclasses import dataclass

from nips.nip01 import MAX_KIND, Event
from nips.pool import kinds

KIND_DELETION = 5
# SPEC.md: deletions of ledger kinds are never issued and are ignored. A miner's settings are the miner's to delete.
UNDELETABLE = kinds.LEDGER_KINDS | kinds.VIEW_KINDS | (kinds.MINER_KINDS - {kinds.SETTINGS})


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a kind 5 event asks to delete: ids, and addresses up to `until` (its created_at)."""

    author: str
    ids: frozenset[str]
    addresses: frozenset[str]
    until: int


def parse_deletion(event: Event) -> Deletion | None:
    """The request in a kind 5 event, None if the event is none.

    Addresses of other authors and of kinds that are kept are left out; the kind behind an id is the store's to check.
    """
    if event.kind != KIND_DELETION:
        return None
    addresses = set()
    for address in event.tag_values("a"):
        kind, _, rest = address.partition(":")
        author = rest.partition(":")[0]
        is_kind = kind.isascii() and kind.isdigit() and len(kind) <= len(str(MAX_KIND))
        if author == event.pubkey and is_kind and int(kind) not in UNDELETABLE:
            addresses.add(address)
    return Deletion(event.pubkey, frozenset(event.tag_values("e")), frozenset(addresses), event.created_at)


def is_deletable(kind: int) -> bool:
    """Whether a deletion request may remove events of that kind. "Publishing a deletion request event against a
    deletion request has no effect.\""""
    return kind != KIND_DELETION and kind not in UNDELETABLE
