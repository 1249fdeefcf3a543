"""How people find the pool: its page, its relays as strangers reach them, its keys and their names (NIP-05)."""

from collections.abc import Mapping
from dataclasses import dataclass

from client_web.site import RELAY_PATH
from nips.nip05 import ROOT
from nips.pool.address import PoolAddress
from noncestr.banner import stratum_url, web_url
from noncestr.config.sections import Config
from noncestr.places import Places
from noncestr.terms.promises import Keys, further_edges


@dataclass(frozen=True, slots=True)
class Presence:
    """`web`: the page. `relays` carry the log, `social` what people follow. `keys`: (name, hex) of the pool's own
    delegated keys first, then of edges elsewhere. Without a `domain` names have no place.
    """

    name: str
    about: str
    pool: PoolAddress
    domain: str
    web: str
    stratum: str
    relays: tuple[str, ...]
    social: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]

    @property
    def names(self) -> Mapping[str, str]:
        """NIP-05 local parts and keys; `_` is the domain itself, which is the pool."""
        return {ROOT: self.pool.pubkey, "pool": self.pool.pubkey, **dict(self.keys)}

    def identifier(self, name: str) -> str | None:
        """`name@domain`."""
        return f"{name}@{self.domain}" if self.domain else None


def find_presence(
    config: Config, places: Places, address: PoolAddress, keys: Keys, relays: tuple[str, ...]
) -> Presence:
    """`relays`: the log's, the embedded one first if there is one: strangers reach it through the domain's page."""
    domain = config.social.domain
    if domain and places.relay is not None:
        relays = (f"wss://{domain}{RELAY_PATH}", *relays[1:])
    elsewhere = [key for key in further_edges(config) if key != keys.edge.pubkey]
    return Presence(
        name=config.pool.name,
        about=config.social.about,
        pool=address,
        domain=domain,
        web=f"https://{domain}" if domain else web_url(places),
        stratum=stratum_url(places),
        relays=relays,
        social=config.relay.social,
        keys=(
            *((role, signer.pubkey) for role, signer in keys.roles()),
            *((f"edge{number}", key) for number, key in enumerate(elsewhere, 2)),
        ),
    )
