"""What people type for times, relays and pools."""

from datetime import UTC, datetime
from typing import Final

from nips.errors import InvalidKey
from nips.nip19 import parse_pubkey
from nips.pool.address import PoolAddress
from nips.pool.kinds import NETWORKS
from noncestr.config.checks import relay_urls
from noncestr.errors import NoncestrError

_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400}


def parse_moment(option: str, text: str, now_s: int) -> int:
    """Unix seconds of 2026-01-31, 2026-01-31T12:00 (UTC), 1767225600, or so long ago: 90m, 36h, 7d.

    Raises NoncestrError.
    """
    if text.isdecimal():
        return int(text)
    if text[-1:] in _UNITS and text[:-1].isdecimal():
        return now_s - int(text[:-1]) * _UNITS[text[-1]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NoncestrError(
            f"{option} {text!r}: write a date such as 2026-01-31, Unix seconds, or a span such as 90m, 36h, 7d"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def parse_relays(text: str) -> list[str]:
    """Relay addresses, with commas between them. Raises NoncestrError."""
    urls = [url.strip() for url in text.split(",") if url.strip()]
    if not urls or relay_urls(tuple(urls)) is not None:
        raise NoncestrError(f"--relay {text!r}: addresses that begin with ws:// or wss://, with commas between them")
    return urls


def parse_pool(pool: str, network: str) -> PoolAddress:
    """A pool by npub, nprofile or hex key. Raises NoncestrError."""
    try:
        pubkey = parse_pubkey(pool)
    except InvalidKey as error:
        raise NoncestrError(f"--pool: {error}") from None
    if network not in NETWORKS:
        raise NoncestrError(f"--network {network!r}: one of {', '.join(NETWORKS)}")
    return PoolAddress(pubkey, network)
