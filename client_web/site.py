"""What a site says of its pool: the page's `/config.json` and the NIP-05 names."""

from collections.abc import Mapping
from typing import Any

import msgspec

from nips.nip19 import encode_npub

# The path of the relay on the page's own origin: a page on the LAN reaches the relay wherever it reached the page.
RELAY_PATH = "/relay"


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """One pool as its web page shows it. Keys are x-only, in lowercase hex."""

    pool: str
    network: str
    stratum_url: str
    edges: tuple[str, ...]
    accounting: tuple[str, ...]
    zappers: tuple[str, ...]
    # ws:// or wss:// URLs, or RELAY_PATH for the relay behind this server; asked in this order.
    relays: tuple[str, ...] = (RELAY_PATH,)
    # NIP-05 local part -> public key, and the relays where these keys publish.
    names: Mapping[str, str] = msgspec.field(default_factory=dict)
    name_relays: tuple[str, ...] = ()

    def config(self) -> dict[str, Any]:
        """What the page must know before it can ask a relay anything."""
        return {
            "v": 1,
            "pool": {"pubkey": self.pool, "npub": encode_npub(self.pool)},
            "network": self.network,
            "relays": list(self.relays),
            "stratum_url": self.stratum_url,
            "keys": {
                "edge": list(self.edges),
                "accounting": list(self.accounting),
                "zapper": list(self.zappers),
            },
        }

    def nostr_json(self, name: str | None) -> dict[str, Any]:
        """The NIP-05 document: all names, or the one asked for if there is such a name; their relays beside them."""
        names = {local: key for local, key in self.names.items() if name is None or local == name}
        if not names or not self.name_relays:
            return {"names": names}
        return {"names": names, "relays": {key: list(self.name_relays) for key in names.values()}}
