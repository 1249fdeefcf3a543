"""Where a miner wants to be paid: the lightning address or LNURL of its newest profile (kind 0)."""

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


def newest_profile(events: Iterable[VerifiedEvent], miner: str, *, now_s: int) -> VerifiedEvent | None:
    """The kind 0 that counts: the latest by created_at, of those the one with the lowest id (NIP-01)."""
    newest: VerifiedEvent | None = None
    for event in events:
        if event.kind != PROFILE or event.pubkey != miner or event.created_at > now_s + MAX_AHEAD_S:
            continue
        if newest is None or supersedes(event, newest):
            newest = event
    return newest


def destination_of(profile: VerifiedEvent | None, *, allow_http_loopback: bool = False) -> Destination:
    """Where the profile wants zaps: lud16, else lud06 (NIP-57). Raises PaymentBlocked or InvalidLnurl."""
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
        url = address_url(lud16, allow_http_loopback=allow_http_loopback)
        return Destination(profile.id, lud16.strip(), url)
    if isinstance(lud06, str) and lud06.strip():
        return Destination(profile.id, lud06.strip(), decode_lnurl(lud06, allow_http_loopback=allow_http_loopback))
    raise PaymentBlocked("the newest profile (kind 0) names no lightning address (lud16) and no LNURL (lud06)")
