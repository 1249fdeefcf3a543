"""What a value of the configuration must be: each check says what would be right, or None."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final
from urllib.parse import urlsplit

from nips.errors import InvalidKey
from nips.nip19 import parse_pubkey
from nips.nip65 import InvalidRelayUrl, normal_relay_url
from nips.pool.chain import MAX_LANE
from nips.pool.targets import check_difficulty
from stratum_edge.households import parse_networks

STRATUM_SCHEMES: Final = ("stratum+tcp", "stratum+ssl", "stratum+tls")
Check = Callable[[Any], str | None]


def between(lowest: int, highest: int) -> Check:
    """A number within bounds, both allowed."""

    def check(value: int) -> str | None:
        return None if lowest <= value <= highest else f"must lie between {lowest} and {highest}"

    return check


def one_of(*choices: str) -> Check:
    """One of these texts."""

    def check(value: str) -> str | None:
        return None if value in choices else f"must be one of {', '.join(choices)}"

    return check


def difficulty(value: str) -> str | None:
    """A difficulty the protocol has."""
    try:
        check_difficulty(Fraction(value))
    except (ValueError, ZeroDivisionError):
        return 'must be a whole difficulty such as "512", or "1/2^k" written out, such as "1/8192"'
    return None


def relay_urls(values: tuple[str, ...]) -> str | None:
    """Addresses of relays."""
    for value in values:
        try:
            normal_relay_url(value)
        except InvalidRelayUrl:
            return f"must hold ws:// or wss:// addresses, {value!r} is none"
    return None


def stratum_urls(values: tuple[str, ...]) -> str | None:
    """Addresses miners connect to."""
    for value in values:
        try:
            url = urlsplit(value)
            good = url.scheme in STRATUM_SCHEMES and bool(url.hostname) and url.port is not None
        except ValueError:
            good = False
        if not good:
            return f"must hold addresses such as stratum+tcp://pool.example:3333, {value!r} is none"
    return None


def web_url(value: str) -> str | None:
    """The address of a page; empty for none."""
    return None if not value or value.startswith(("https://", "http://")) else "must begin with https:// or http://"


def edge_keys(values: tuple[str, ...]) -> str | None:
    """Public keys."""
    for value in values:
        try:
            parse_pubkey(value)
        except InvalidKey:
            return f"must hold npubs or public keys in hex, {value!r} is none"
    return None


def one_key(value: str) -> str | None:
    """The npub, or the hex key, of one part; empty for none."""
    return edge_keys((value,)) if value else None


def lane_names(values: tuple[str, ...]) -> str | None:
    """Lanes of edges, as KEY/NUMBER."""
    for value in values:
        key, _, number = value.partition("/")
        if edge_keys((key,)) is not None or not (number.isascii() and number.isdecimal() and int(number) <= MAX_LANE):
            return f"must hold npub/NUMBER, {value!r} is none"
    return None


def networks(values: tuple[str, ...]) -> str | None:
    """Networks of addresses."""
    try:
        parse_networks(values)
    except ValueError as error:
        return f"must hold networks: {error}"
    return None


def port_name(value: str) -> str | None:
    """What a port of [[ports]] may be called."""
    if value == "main" or not re.fullmatch(r"[a-z0-9_-]{1,32}", value):
        return "must be 1 to 32 of a-z, 0-9, - and _, and not main, which is [stratum]"
    return None


PORT = between(0, 65535)
SECONDS = between(1, 86_400)
