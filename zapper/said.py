"""What a payee has said of being paid, kept: the event of each kind that counts, and where money goes by it.

Relays may bring back what came before, or hold back what came after; what was seen once holds against both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nips.nip01 import VerifiedEvent, supersedes
from nips.nip61 import NUTZAP_INFO, InvalidNutzapInfo, parse_info
from nips.pool.kinds import SETTINGS
from nips.pool.settings import SettingsBody
from zapper.errors import PaymentBlocked
from zapper.profile import PROFILE, lightning_of, newest
from zapper.wishes import settings_of

# What people are shown of an address; one of a profile may be as long as the profile.
MAX_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Move:
    """An event of a miner, a profile (0) or nutzap info (10019), that changed where its money goes.

    `goes`: to where now, for people; "" when the event names no way any more. `seen_ms`: since when payouts newly made
    go there (Unix ms).
    """

    event: str
    miner: str
    kind: int
    goes: str
    seen_ms: int


def counting(events: Sequence[VerifiedEvent], miner: str, *, pool: str, now_s: int) -> dict[int, VerifiedEvent]:
    """By kind, the miner's event that counts: profile, nutzap info, and settings for the pool with this key (hex)."""
    found = {kind: newest(events, kind, miner, now_s=now_s) for kind in (PROFILE, NUTZAP_INFO)}
    settings = settings_of(events, miner, pool=pool, now_s=now_s)
    found[SETTINGS] = None if settings is None else next(event for event in events if event.id == settings.id)
    return {kind: event for kind, event in found.items() if event is not None}


def news_of(before: Mapping[int, VerifiedEvent], after: Mapping[int, VerifiedEvent]) -> list[VerifiedEvent]:
    """What counts now and did not before. A clock that was set back makes nothing older count for good."""
    return [event for kind, event in after.items() if kind not in before or supersedes(event, before[kind])]


def moves_of(
    before: Mapping[int, VerifiedEvent],
    news: Sequence[VerifiedEvent],
    body: SettingsBody | None,
    *,
    order: Sequence[str],
    now_ms: int,
) -> list[Move]:
    """What of the `news` sends money elsewhere than what counted `before`; settings are told of by who follows them.

    `body`: of the settings in force now, which may name an address of their own; `order`: of methods, where they name
    none. What is known of a miner for the first time changes nothing.
    """
    if not before:
        return []
    methods = (body.methods if body is not None else ()) or order
    counts = {
        PROFILE: ("zap" in methods or "lnurl" in methods) and not (body is not None and body.lightning),
        NUTZAP_INFO: "nutzap" in methods,
    }
    found = []
    for event in news:
        goes = _goes(event)
        if counts.get(event.kind) and goes != _goes(before.get(event.kind)):
            found.append(Move(event.id, event.pubkey, event.kind, _shown(goes), now_ms))
    return found


def _goes(event: VerifiedEvent | None) -> str:
    """Where money goes by a profile or a nutzap info; "" nowhere."""
    if event is None or event.kind not in (PROFILE, NUTZAP_INFO):
        return ""
    try:
        if event.kind == PROFILE:
            return lightning_of(event)
        info = parse_info(event)
    except (PaymentBlocked, InvalidNutzapInfo):
        return ""
    return f"ecash locked to {info.pubkey}, of {' or '.join(sorted(mint.url for mint in info.mints))}"


def _shown(text: str) -> str:
    """On one line, of a length that people read."""
    return " ".join(text.split())[:MAX_SHOWN]
