"""How the pool shows itself to people: profiles of its keys (kind 0), relay lists (NIP-65, NIP-17), its page (NIP-89).

Every delegated key has a profile that names the pool, so that a zap or a statement does not come from a stranger.
"""

from collections.abc import Iterable

from nips.keys import AsyncSigner, Signer
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.nip17 import MAX_RELAYS, build_dm_relays
from nips.nip19 import encode_npub
from nips.nip24 import METADATA, Metadata, build_metadata
from nips.nip65 import BOTH, Use, build_relay_list
from nips.nip89 import PLACEHOLDER, build_handler
from nips.pool.address import PoolAddress
from nips.pool.kinds import LEDGER_KINDS, MINER_KINDS, VIEW_KINDS
from noncestr.citizen.presence import Presence

# What a delegated key does, after "It".
_DOES = {
    "edge": "signs jobs, share receipts and blocks",
    "accounting": "signs reward statements and balances",
    "zapper": "pays the miners and signs payout records",
}


def profile(
    signer: Signer,
    now_s: int,
    *,
    name: str | None = None,
    about: str | None = None,
    lud16: str | None = None,
    lud06: str | None = None,
) -> VerifiedEvent:
    """The kind 0 of a person."""
    metadata = Metadata(name=name, about=about, lud16=lud16, lud06=lud06)
    return signer.sign(build_metadata(metadata, created_at=now_s))


def delegate_profile(pool: PoolAddress, role: str, now_s: int, *, name: str, nip05: str | None = None) -> UnsignedEvent:
    """The profile of a key that works for a pool. Its tags name the pool too, for programs."""
    about = f"The {role} of the mining pool nostr:{encode_npub(pool.pubkey)} on {pool.network}. It {_DOES[role]}."
    # NIP-24: a bot's content "is entirely or partially the result of automation".
    metadata = Metadata(name=f"{name} {role}", about=about, nip05=nip05, bot=True)
    return UnsignedEvent(METADATA, now_s, (("p", pool.pubkey), pool.tag()), metadata.to_text())


def relay_list(now_s: int, relays: Iterable[str], social: Iterable[str] = ()) -> UnsignedEvent:
    """A kind 10002 event (NIP-65): the log's relays are written to and read from, the social ones are written to."""
    listed = [*((relay, BOTH) for relay in relays), *((relay, Use.WRITE) for relay in social)]
    return build_relay_list(listed, created_at=now_s)


def page_handler(presence: Presence, now_s: int) -> UnsignedEvent:
    """The 31990 by which clients offer the pool's page for the pool's kinds (NIP-89). What stands after the # never
    leaves the reader's browser. Without content the pool's profile stands for it.
    """
    return build_handler(
        identifier=presence.pool.network,
        kinds=LEDGER_KINDS | VIEW_KINDS | MINER_KINDS,
        urls={("web", ""): f"{presence.web}/#{PLACEHOLDER}"},
        created_at=now_s,
    )


def pool_profiles(
    presence: Presence, pool: AsyncSigner, delegates: Iterable[tuple[str, AsyncSigner]], now_s: int
) -> list[tuple[AsyncSigner, UnsignedEvent]]:
    """The pool's own profile, relay lists and handler; a profile and a relay list for each delegated key; and who is to
    sign them.
    """
    metadata = Metadata(
        name=presence.name,
        display_name=presence.name,
        about=presence.about or _about(presence.pool),
        website=presence.web if presence.domain else None,
        nip05=presence.identifier("_"),
        bot=True,
    )
    events = [
        (pool, UnsignedEvent(METADATA, now_s, (presence.pool.tag(),), metadata.to_text())),
        (pool, relay_list(now_s, presence.relays, presence.social)),
        (pool, build_dm_relays(presence.relays[:MAX_RELAYS], created_at=now_s)),
        (pool, page_handler(presence, now_s)),
    ]
    for role, signer in delegates:
        nip05 = presence.identifier(role)
        events.append((signer, delegate_profile(presence.pool, role, now_s, name=presence.name, nip05=nip05)))
        events.append((signer, relay_list(now_s, presence.relays, presence.social)))
    return events


def _about(pool: PoolAddress) -> str:
    coins = "" if pool.network == "main" else f" on {pool.network} (coins for play)"
    return (
        f"A Nostr-native mining pool{coins}. Mine with your npub; check every share and every sat with noncestr verify."
        " Write me hashrate or balance in a private message."
    )
