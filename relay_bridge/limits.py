"""What a relay says about itself (NIP-11), in the terms of what we ask of it; and what is to be said about that."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nips.nip11 import RelayInformation
from nips.pool import kinds
from relay_bridge.roles import Role

# SPEC.md: "before its event passes 60,000 bytes".
LEDGER_EVENT_BYTES = 60_000
# ["EVENT", ...] around an event; in a subscription's answer also an id of 64 characters.
ENVELOPE_BYTES = 100
# A receipt may name 256 jobs and 380 miners, and has some six tags besides.
LEDGER_TAGS = 700
# strfry's default for results a filter. More is cut by most relays.
PAGE_LIMIT = 500
# A promise without end (a log kept "for good"): a hundred years in seconds.
FOREVER_S = 100 * 365 * 86_400
# A relay that says less is not believed: below, a page of one second could hide events from any paging.
LEAST_PAGE = 10
# Kinds that a ledger cannot do without, of those a relay may keep for a while only.
_KEPT_KINDS = kinds.LEDGER_KINDS


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """What a relay takes and gives. None: it does not say, so it is tried."""

    event_bytes: int | None = None
    page: int = PAGE_LIMIT
    subscriptions: int | None = None
    filters: int | None = None
    reconciles: bool = False
    counts: bool = False


def peer_limits(told: RelayInformation | None) -> PeerLimits:
    """The limits in a relay's document; without one, those that most relays have."""
    if told is None:
        return PeerLimits()
    limitation = told.limitation
    most = limitation.max_message_length if limitation else None
    page = limitation.max_limit if limitation else None
    return PeerLimits(
        event_bytes=None if not most else max(most - ENVELOPE_BYTES, 0),
        page=PAGE_LIMIT if not page else max(min(page, PAGE_LIMIT), LEAST_PAGE),
        subscriptions=(limitation.max_subscriptions or None) if limitation else None,
        filters=(limitation.max_filters or None) if limitation else None,
        reconciles=77 in told.supported_nips,
        counts=45 in told.supported_nips,
    )


def complaints(
    told: RelayInformation, roles: Collection[Role], *, retention_s: int, can_authenticate: bool
) -> tuple[str, ...]:
    """What makes the relay unfit, or less fit, for its roles, in words. `retention_s`: how long the pool promises its
    log to be kept, 0 if it promises nothing."""
    found: list[str] = []
    limitation = told.limitation
    if limitation is not None:
        if limitation.payment_required:
            found.append("it takes events of paying users only (payment_required)")
        if limitation.auth_required and not can_authenticate:
            found.append("it asks for authentication (auth_required) and the bridge was given no key")
        if limitation.min_pow_difficulty:
            found.append(f"it wants proof of work of {limitation.min_pow_difficulty} bits in every event")
        if Role.LOG in roles:
            found += _log_limits(
                limitation.max_message_length, limitation.max_content_length, limitation.max_event_tags
            )
            lower = limitation.created_at_lower_limit
            if lower is not None and lower < retention_s:
                found.append(
                    f"it takes no events older than {lower} seconds, so it can't be filled with the log's past"
                )
    if Role.LOG in roles:
        found += _retention(told, retention_s)
    return tuple(found)


def _log_limits(message_bytes: int | None, content: int | None, tags: int | None) -> Iterable[str]:
    if message_bytes is not None and message_bytes < LEDGER_EVENT_BYTES + ENVELOPE_BYTES:
        yield (
            f"unfit as a log relay: it takes messages of {message_bytes} bytes, receipts and statements have up to"
            f" {LEDGER_EVENT_BYTES}"
        )
    if content is not None and content < LEDGER_EVENT_BYTES:
        yield f"unfit as a log relay: it takes contents of {content} characters, receipts need {LEDGER_EVENT_BYTES}"
    if tags is not None and tags < LEDGER_TAGS:
        yield f"unfit as a log relay: it takes {tags} tags an event, receipts have up to {LEDGER_TAGS}"


def _retention(told: RelayInformation, retention_s: int) -> Iterable[str]:
    shorter: dict[str, list[int]] = {}
    for kind in sorted(_KEPT_KINDS):
        entry = told.retention_of(kind)
        if entry is None:
            continue
        if entry.time is not None and (entry.time == 0 or entry.time < retention_s):
            promised = "to keep them for good" if retention_s >= FOREVER_S else f"{retention_s}"
            shorter.setdefault(f"keeps them {entry.time} seconds, the pool promises {promised}", []).append(kind)
        elif entry.count is not None:
            shorter.setdefault(f"keeps {entry.count} of them", []).append(kind)
    for what, which in shorter.items():
        yield f"kinds {', '.join(map(str, which))}: the relay {what}"
