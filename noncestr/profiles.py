"""How the pool shows itself to people: profiles of its keys (kind 0), its relay list (NIP-65), its demo miners.

Every delegated key has a profile that names the pool, so that a zap or a statement does not come from a stranger.
"""

from collections.abc import Iterable

import msgspec

from nips.keys import Signer
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.nip19 import encode_npub
from nips.nip65 import BOTH, Use, build_relay_list

METADATA = 0


def profile(signer: Signer, now_s: int, **fields: str) -> VerifiedEvent:
    """A kind 0 event of NIP-01's and NIP-24's fields (name, about, lud16, ...)."""
    content = msgspec.json.encode(fields).decode()
    return signer.sign(UnsignedEvent(METADATA, now_s, (), content))


def relay_list(signer: Signer, now_s: int, relays: Iterable[str], social: Iterable[str] = ()) -> VerifiedEvent:
    """A kind 10002 event (NIP-65): the log's relays are written to and read from, the social ones are written to."""
    listed = [*((relay, BOTH) for relay in relays), *((relay, Use.WRITE) for relay in social)]
    return signer.sign(build_relay_list(listed, created_at=now_s))


def pool_profiles(
    pool: Signer,
    name: str,
    network: str,
    delegates: Iterable[tuple[str, Signer]],
    relays: tuple[str, ...],
    now_s: int,
    social: tuple[str, ...] = (),
) -> list[VerifiedEvent]:
    """The pool's own profile and relay list, and a profile for each delegated key."""
    npub = encode_npub(pool.pubkey)
    about = f"A Nostr-native mining pool on {network}. Mine with your npub; check every receipt with noncestr verify."
    events = [
        profile(pool, now_s, name=name, display_name=name, about=about),
        relay_list(pool, now_s, relays, social),
    ]
    events += [
        profile(
            signer, now_s, name=f"{name} {role}", about=f"The {role} key of the mining pool nostr:{npub} ({network})."
        )
        for role, signer in delegates
    ]
    return events
