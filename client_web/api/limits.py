"""How often one address may ask, and who that is."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from client_web.api.answers import PUBLIC

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket of `burst` questions that fills with `per_second`."""

    name: str
    per_second: float
    burst: int


# A page asks some questions when it opens and one every few seconds; a script that reads a history page by page is
# served, one that knows no pause is not.
READ: Final = Limit("read", 10, 60)
# Lists of everybody, and a year of a miner, are reckoned anew each time, a tenth of a second in a pool of 10,000.
FLAT: Final = Limit("flat", 0.2, 5)
FLAT_PATHS: Final = re.compile(r"/api/v1/(balance|total|attest|miners/[^/]*/taxes\.csv)")
# Addresses remembered, some 300 bytes each. When so many ask within a bucket's time, the others share one.
MAX_ADDRESSES: Final = 10_000
_OTHERS: Final = "others"
# An IPv6 customer has a /64 at least: all its addresses are one.
_V6_PREFIX: Final = 64
_GUARDED: Final = ("/api/v1/", "/metrics")
_MAX_FORWARDED: Final = 32


@dataclass(slots=True)
class _Bucket:
    level: float
    ms: int


class Buckets:
    """The buckets of one limit, by address. Times in ms of any clock that only goes on."""

    def __init__(self, limit: Limit, max_addresses: int = MAX_ADDRESSES) -> None:
        self._limit = limit
        self._max = max_addresses
        self._buckets: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, address: str, now_ms: int) -> int:
        """0 if the question may be answered; else the seconds, at least 1, after which the next one may."""
        if address not in self._buckets and len(self._buckets) >= self._max:
            self._sweep(now_ms)
            if len(self._buckets) >= self._max:
                address = _OTHERS
        bucket = self._buckets.setdefault(address, _Bucket(self._limit.burst, now_ms))
        filled = bucket.level + (now_ms - bucket.ms) * self._limit.per_second / 1000
        bucket.level, bucket.ms = min(self._limit.burst, filled), now_ms
        if bucket.level >= 1:
            bucket.level -= 1
            return 0
        return max(1, -int((bucket.level - 1) // self._limit.per_second))

    def _sweep(self, now_ms: int) -> None:
        full_ms = self._limit.burst / self._limit.per_second * 1000
        self._buckets = {name: each for name, each in self._buckets.items() if now_ms - each.ms < full_ms}


def parse_proxies(names: Iterable[str]) -> tuple[Network, ...]:
    """Addresses or networks of proxies. Raises ValueError."""
    return tuple(ip_network(name) for name in names)


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address, given as text, is in one of the networks; what is no address is in none."""
    try:
        return any(ip_address(address) in network for network in networks)
    except ValueError:
        return False


def address_of(peer: str, forwarded: str, proxies: tuple[Network, ...]) -> str:
    """Who asks: the peer, or, if that is a proxy of ours, the last address of X-Forwarded-For that is none."""
    asker = peer
    if is_within(peer, proxies):
        for hop in map(str.strip, reversed(forwarded.split(",")[-_MAX_FORWARDED:])):
            try:
                ip_address(hop)
            except ValueError:
                break
            asker = hop
            if not is_within(hop, proxies):
                break
    try:
        parsed = ip_address(asker)
    except ValueError:
        return asker
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((int(parsed), _V6_PREFIX), strict=False))
    return str(parsed)


class ApiGate:
    """In front of the API and the metrics: limits by address, and what a browser of another origin asks first."""

    def __init__(self, app: ASGIApp, now_ms: Callable[[], int], refused: Counter[str]) -> None:
        """`refused`: where who asks too often is counted, as "rate". Behind `client_web.askers.Askers`."""
        self._app = app
        self._now_ms = now_ms
        self._refused = refused
        self._read, self._flat = Buckets(READ), Buckets(FLAT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_GUARDED):
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            await _preflight(send)
            return
        address = scope["state"]["address"]
        now = self._now_ms()
        wait = self._read.take(address, now)
        if not wait and FLAT_PATHS.fullmatch(scope["path"]):
            wait = self._flat.take(address, now)
        if wait:
            self._refused["rate"] += 1
            await _too_often(send, wait)
            return
        await self._app(scope, receive, send)


async def _preflight(send: Send) -> None:
    headers = {
        **PUBLIC,
        "access-control-allow-methods": "GET, HEAD, POST",
        "access-control-allow-headers": "If-None-Match, Cache-Control, Content-Type, Last-Event-ID",
        "access-control-max-age": "86400",
        "allow": "GET, HEAD, POST, OPTIONS",
    }
    await _send(send, 204, headers, b"")


async def _too_often(send: Send, wait_s: int) -> None:
    headers = {**PUBLIC, "retry-after": str(wait_s), "content-type": "application/json"}
    await _send(send, 429, headers, b'{"error":"asked too often; wait as Retry-After says"}')


async def _send(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
