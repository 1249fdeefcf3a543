"""Which receipts the accounting's store may let go of, once an archive (4220) has them.

What stays of one is the check: what its shares came to, by which the log is folded again and windows are counted. What
goes is the proof, which is in the archive. So a receipt stays where the check is not enough: where it is missing or of
another version, where something was wrong with the batch, and where its shares may still be repeated.
"""

from collections.abc import Iterable

from accounting.checks import Known, open_check
from accounting.kept_events import unpack_raw
from nips.nip01 import Event, VerifiedEvent, encode_event
from nips.pool.kinds import RECEIPT
from nips.pool.receipt import parse_receipt
from nips.pool.terms import EVERY_CHAIN, Terms

# A lane must have gone on for so long after the archive's end (or for a job's life, if that is longer): until then its
# jobs may bring more shares, and these are hashed together with those before.
MARGIN_S = 86_400


def margin_s(terms: Iterable[Terms]) -> int:
    """How long after an archive's end its lanes must have gone on, seconds."""
    return max([MARGIN_S, *(-(-each.body.limits.job_ms // 1000) for each in terms)])


def is_spare(event: Event, kept: bytes, check: bytes | None) -> bool:
    """Whether the store, which has it as `kept` and `check`, can do without a receipt; archived as `event`."""
    if event.kind != RECEIPT or not kept or check is None or not _is_same(event, kept):
        return False
    known = open_check(event.id, check, kept)
    return known is not None and not known.head.bad and not known.head.unchecked


def _is_same(event: Event, kept: bytes) -> bool:
    try:
        return unpack_raw(kept) == encode_event(event)
    except ValueError:
        # Damaged: the store is to be made anew, which begins by saying so.
        return False


def open_lanes(ends: Iterable[VerifiedEvent], terms: Iterable[Terms], later: Iterable[Known]) -> list[str]:
    """The lanes, `<edge>/<number>`, whose last receipts these are and that neither ended, by any of the `terms`, nor
    went on, by the checked batches `later` than the margin.
    """
    ended = {name for each in terms for name in each.body.closed}
    lanes = set()
    for event in ends:
        receipt = parse_receipt(event)
        name = f"{receipt.signer}/{receipt.lane}"
        if not receipt.fin and not {name, f"{receipt.signer}/{EVERY_CHAIN}"} & ended:
            lanes.add(name)
    unread = iter(later)
    while lanes and (known := next(unread, None)) is not None:
        lanes.discard(f"{known.signer}/{known.lane}")
    return sorted(lanes)
