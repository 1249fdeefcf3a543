"""A 4218 that holds a miner's settings (34216): they outlive what replaces them on relays (SPEC.md, "Splits")."""

import json
from dataclasses import dataclass
from typing import Any

from nips.errors import InvalidPoolEvent, NipError
from nips.nip01 import MAX_SAFE_INTEGER, UnsignedEvent, VerifiedEvent, decode_event, encode_event, verify
from nips.pool.address import PoolAddress, address_of
from nips.pool.alts import alt_tag
from nips.pool.chain import Link, link_of
from nips.pool.content import decode_content, encode_content, read_dict, read_int, require_kind
from nips.pool.kinds import SETTINGS, STATEMENT_PART
from nips.pool.settings import Settings, parse_settings

# Quoted once more it stays below the 64 KB that relays take.
MAX_SETTINGS_BYTES = 30_000


@dataclass(frozen=True, slots=True)
class SettingsPart:
    """A 4218 event that holds settings of a miner, whose signature was checked."""

    id: str
    signer: str
    pool: PoolAddress
    link: Link
    created_at: int
    settings: Settings


def fits_settings_part(settings: VerifiedEvent) -> bool:
    """Whether settings are small enough to be put into the log: else they give nothing."""
    return len(encode_event(settings)) <= MAX_SETTINGS_BYTES


def build_settings_part(pool: PoolAddress, link: Link, settings: VerifiedEvent, created_at: int) -> UnsignedEvent:
    """The event the accounting's key signs."""
    told: dict[str, Any] = json.loads(encode_event(settings))
    fields = {"of": SETTINGS, "settings": told}
    tags = (pool.tag(), *link.tags(), alt_tag(STATEMENT_PART))
    return UnsignedEvent(STATEMENT_PART, created_at, tags, encode_content(fields))


def parse_settings_part(event: VerifiedEvent) -> SettingsPart:
    """Raises InvalidPoolEvent, also for a part of something else."""
    require_kind(event, STATEMENT_PART)
    fields = decode_content(event.content)
    if read_int(fields, "of", 0, MAX_SAFE_INTEGER) != SETTINGS:
        raise InvalidPoolEvent("this holds no settings")
    text = json.dumps(read_dict(fields, "settings"), separators=(",", ":"), ensure_ascii=False)
    try:
        held = verify(decode_event(text))
    except InvalidPoolEvent:
        raise
    except NipError as error:
        raise InvalidPoolEvent(f"the settings are no signed event: {error}") from None
    if not fits_settings_part(held):
        raise InvalidPoolEvent(f"settings in the log have at most {MAX_SETTINGS_BYTES} bytes")
    settings, pool = parse_settings(held), address_of(event)
    if settings.pool != pool.pubkey:
        raise InvalidPoolEvent("the settings are for another pool")
    return SettingsPart(event.id, event.pubkey, pool, link_of(event), event.created_at, settings)
