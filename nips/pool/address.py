"""Which pool an event belongs to: its `a` tag, the address of the pool's announcement."""

import re
from typing import NamedTuple

from nips.errors import InvalidPoolEvent
from nips.nip01 import Event
from nips.pool.content import one_tag
from nips.pool.kinds import ANNOUNCEMENT, NETWORKS

_FORM = re.compile(rf"{ANNOUNCEMENT}:([0-9a-f]{{64}}):({'|'.join(NETWORKS)})")


class PoolAddress(NamedTuple):
    """A pool on a network: the pool's public key in hex, and main, testnet4, signet or regtest."""

    pubkey: str
    network: str

    def __str__(self) -> str:
        return f"{ANNOUNCEMENT}:{self.pubkey}:{self.network}"

    def tag(self) -> tuple[str, str]:
        """The `a` tag every event of the pool carries."""
        return ("a", str(self))


def parse_address(text: str) -> PoolAddress:
    """Raises InvalidPoolEvent."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise InvalidPoolEvent(f"the a tag must be {ANNOUNCEMENT}:<pool pubkey>:<network>")
    return PoolAddress(found[1], found[2])


def address_of(event: Event) -> PoolAddress:
    """The pool an event names. Raises InvalidPoolEvent."""
    return parse_address(one_tag(event, "a")[1])
