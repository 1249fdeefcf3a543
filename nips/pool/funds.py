"""34215 with d = "treasury": what a holder of the pool's money says it has (SPEC.md, "Views"). Its word, no evidence.

The newest of a key stands, as NIP-01 has it; one that comes again changes nothing. Amounts in msat, times in Unix ms.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from nips.errors import InvalidPoolEvent
from nips.nip01 import MAX_SAFE_INTEGER, UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.content import decode_content, encode_content, read_dict, read_int, require_kind
from nips.pool.kinds import STATISTICS

TREASURY: Final = "treasury"
# As many as an hourly summary names; a host has a wallet or two.
MAX_PLACES: Final = 8
_NAME = re.compile(r"[a-z0-9-]{1,32}")


@dataclass(frozen=True, slots=True)
class Place:
    """A wallet of the holder's. `msat`: what it had at `ms`; None, and 0, if it has not told since the holder began."""

    name: str
    msat: int | None = None
    ms: int = 0


@dataclass(frozen=True, slots=True)
class Funds:
    """A report as it was read. `signer`: the holder's key (hex); `created_at`: Unix s; `places`: none two of a name."""

    id: str
    signer: str
    pool: PoolAddress
    created_at: int
    places: tuple[Place, ...]


def build_funds(pool: PoolAddress, places: tuple[Place, ...], created_at: int) -> UnsignedEvent:
    """34215, signed by the key of the host that holds the money; `places` may be none."""
    tags = (("d", TREASURY), pool.tag(), ("alt", "What a holder of a mining pool's funds has"))
    held = {each.name: [] if each.msat is None else [each.msat, each.ms] for each in places}
    return UnsignedEvent(STATISTICS, created_at, tags, encode_content({"held": held}))


def parse_funds(event: VerifiedEvent) -> Funds:
    """Raises InvalidPoolEvent."""
    require_kind(event, STATISTICS)
    if event.tag_value("d") != TREASURY:
        raise InvalidPoolEvent("these statistics are not of a treasury")
    held = read_dict(decode_content(event.content), "held")
    if len(held) > MAX_PLACES:
        raise InvalidPoolEvent(f"held names more than {MAX_PLACES} places")
    newest_ms = event.created_at * 1000 + 999
    places = tuple(_place(name, told, newest_ms) for name, told in held.items())
    return Funds(event.id, event.pubkey, address_of(event), event.created_at, places)


def _place(name: str, told: Any, newest_ms: int) -> Place:
    if not _NAME.fullmatch(name):
        raise InvalidPoolEvent("a place's name is 1 to 32 of a-z, 0-9 and -")
    if type(told) is not list or len(told) not in (0, 2):
        raise InvalidPoolEvent("a place holds [msat, ms], or [] while it has not told")
    if not told:
        return Place(name)
    # Nothing is known before it is said.
    highest = min(newest_ms, MAX_SAFE_INTEGER)
    return Place(name, read_int({"msat": told[0]}, "msat"), read_int({"ms": told[1]}, "ms", highest=highest))
