"""What a miner's newest profile (kind 0) says of being paid: its lightning address or LNURL."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from nips.lnurl import address_url, decode_lnurl
from nips.nip01 import VerifiedEvent, supersedes
from zapper.errors import PaymentBlocked

PROFILE = 0
# Profiles hold a name, a picture's URL and a few lines; larger ones are not worth parsing.
MAX_CONTENT = 64 * 1024
# A profile dated ahead would win over all honest ones until then (SPEC: none over 15 minutes ahead).
MAX_AHEAD_S = 900


@dataclass(frozen=True, slots=True)
class Destination:
    """`to`: id of the kind 0; `text`: what it names (shown to people); `url`: the LNURL-pay URL under it."""

    to: str
    text: str
    url: str


def newest(events: Iterable[VerifiedEvent], kind: int, miner: str, *, now_s: int) -> VerifiedEvent | None:
    """The replaceable event that counts: the latest by created_at, of those the one with the lowest id (NIP-01).

    One dated ahead would win over all honest ones until then, and is passed over (SPEC: none over 15 minutes ahead).
    """
    found: VerifiedEvent | None = None
    for event in events:
        if event.kind != kind or event.pubkey != miner or event.created_at > now_s + MAX_AHEAD_S:
            continue
        if found is None or supersedes(event, found):
            found = event
    return found


def newest_profile(events: Iterable[VerifiedEvent], miner: str, *, now_s: int) -> VerifiedEvent | None:
    """The kind 0 that counts."""
    return newest(events, PROFILE, miner, now_s=now_s)


def lightning_of(profile: VerifiedEvent | None) -> str:
    """Where the profile wants zaps, as it says it: lud16, else lud06 (NIP-57). Raises PaymentBlocked."""
    if profile is None:
        raise PaymentBlocked("no profile (kind 0) of this npub was found on the relays asked")
    try:
        fields = json.loads(profile.content) if len(profile.content) <= MAX_CONTENT else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise PaymentBlocked("the newest profile (kind 0) is not readable")
    lud16, lud06 = fields.get("lud16"), fields.get("lud06")
    if isinstance(lud16, str) and lud16.strip():
        return lud16.strip()
    if isinstance(lud06, str) and lud06.strip():
        return lud06.strip()
    raise PaymentBlocked("the newest profile (kind 0) names no lightning address (lud16) and no LNURL (lud06)")


def destination_of(profile: VerifiedEvent | None, *, allow_http_loopback: bool = False) -> Destination:
    """Where the profile wants zaps, and the URL under it. Raises PaymentBlocked or InvalidLnurl."""
    text = lightning_of(profile)
    assert profile is not None
    return Destination(profile.id, text, lnurl_of(text, allow_http_loopback=allow_http_loopback))


def lnurl_of(text: str, *, allow_http_loopback: bool = False) -> str:
    """The LNURL-pay URL of a lightning address (LUD-16) or a bech32 LNURL (LUD-01). Raises InvalidLnurl."""
    if "@" in text or not text.lower().removeprefix("lightning:").startswith("lnurl1"):
        return address_url(text, allow_http_loopback=allow_http_loopback)
    return decode_lnurl(text, allow_http_loopback=allow_http_loopback)
