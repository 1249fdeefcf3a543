"""NIP-05 addresses looked up at their domains: servers nobody vouches for, that a stranger's user name points us to.

The host is resolved once, every address of it must be public, and the connection goes to the very address that was
judged (no second look-up that a malicious name server could answer otherwise). HTTPS only, no redirects ("fetchers MUST
ignore any HTTP redirects", NIP-05), no compression, small, and soon. What a domain said first is pinned and never
followed elsewhere.
"""

import asyncio
import ipaddress
import logging
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext
from typing import Final, NamedTuple

import anyio
import anyio.to_thread
import httpx

from nips.nip05 import MAX_DOCUMENT, Identifier, InvalidIdentifier, parse_identifier, pubkey_of
from stratum_edge.adapters.name_pins import NamePins
from stratum_edge.errors import EdgeError, NameRefused
from stratum_edge.names import GET_AN_NPUB

log = logging.getLogger(__name__)

# The whole of it: name server, TLS and answer. A miner waits for its reply meanwhile.
DEADLINE_S: Final = 5.0
# Looked up at a time; those who wait longer than the deadline are told to come again.
CONCURRENT: Final = 8
MAX_WAITING: Final = 256
# The system's resolver blocks a thread, with a slow name server for half a minute: a pool of its own, and bounded.
RESOLVER_THREADS: Final = 4
# An answer that agrees with its pin is good for so long, and the pin itself for so long while its domain is away; a
# refusal is repeated for so long without asking again.
GOOD_S: Final = 600.0
AWAY_S: Final = 60.0
BAD_S: Final = 30.0
# Remembered answers; the oldest are forgotten, which costs a request.
MAX_REMEMBERED: Final = 10_000
# (requests a second, and at once): a pool must not be a tool to knock at strangers' doors. A farm that moves in brings
# one name, rarely two.
PER_DOMAIN: Final = (0.2, 20)
IN_ALL: Final = (5.0, 100)
USER_AGENT: Final = "noncestr-edge"

# NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 address that is the one really meant; addresses of ::/96 are
# obsolete (RFC 4291) and mean nobody.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")

LookUp = Callable[[str], Awaitable[Sequence[str]]]


def is_public(text: str) -> bool:
    """Whether an IP address is one of the open internet, whatever wrapping it comes in."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
        if address in _COMPATIBLE:
            return False
    return address.is_global and not address.is_multicast


class _Failed(Exception):
    """The domain gave no answer; the text is for the miner."""


@dataclass(frozen=True, slots=True)
class NameLimits:
    """`local`: domains answered by a server on 127.0.0.1 at this port (tests, a demo), never anything else of this
    machine; over plain HTTP, unless `tls` says whom to trust instead of the usual authorities.
    """

    deadline_s: float = DEADLINE_S
    max_body: int = MAX_DOCUMENT
    per_domain: tuple[float, int] = PER_DOMAIN
    in_all: tuple[float, int] = IN_ALL
    local: Mapping[str, int] = field(default_factory=dict)
    tls: SSLContext | None = None


class _Bucket:
    """So many requests at once, and so many a second on average."""

    __slots__ = ("_at", "_level", "_rate", "_size")

    def __init__(self, rate: float, size: int, now: float) -> None:
        self._rate, self._size, self._level, self._at = rate, size, float(size), now

    def take(self, now: float) -> bool:
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


class _Answer(NamedTuple):
    """What is said again until then (monotonic s): the key, or "" and why not."""

    until: float
    pubkey: str
    reason: str


class Nip05Names:
    """See `stratum_edge.ports.Names`. Made by `open_names`.

    `counts`: resolved, of these newly pinned, changed, away, refused, limited.
    """

    def __init__(
        self, client: httpx.AsyncClient, pins: NamePins, limits: NameLimits, now: Callable[[], int], look_up: LookUp
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._client = client
        self._pins = pins
        self._limits = limits
        self._now = now
        self._look_up = look_up
        self._slots = anyio.CapacityLimiter(CONCURRENT)
        # SQLite's connection is used by one thread at a time.
        self._disk = anyio.CapacityLimiter(1)
        self._waiting = 0
        self._remembered: OrderedDict[str, _Answer] = OrderedDict()
        self._domains: OrderedDict[str, _Bucket] = OrderedDict()
        self._all = _Bucket(*limits.in_all, time.monotonic())
        self._asked: dict[str, tuple[anyio.Lock, int]] = {}

    async def resolve(self, address: str) -> str:
        """The pinned public key (hex) of `name@domain`. Asks the domain, and refuses if it says another key by now; if
        it says none, is away or asked too often, the pin holds. Raises NameRefused.
        """
        try:
            identifier = parse_identifier(address)
        except InvalidIdentifier as error:
            raise NameRefused(str(error)) from None
        known = str(identifier)
        if self._waiting >= MAX_WAITING:
            self.counts["limited"] += 1
            raise NameRefused("too many names are being looked up just now: try again in a minute")
        # A farm comes with one name a hundred times: one of them asks, the others hear what it heard.
        lock, others = self._asked.get(known, (anyio.Lock(), 0))
        self._asked[known] = (lock, others + 1)
        self._waiting += 1
        try:
            async with lock:
                answer = self._remembered.get(known)
                if answer is None or answer.until <= time.monotonic():
                    answer = await self._find(identifier)
        finally:
            self._waiting -= 1
            others = self._asked[known][1] - 1
            if others:
                self._asked[known] = (lock, others)
            else:
                del self._asked[known]
        if not answer.pubkey:
            raise NameRefused(answer.reason)
        return answer.pubkey

    def _remember(self, address: str, seconds: float, pubkey: str, reason: str = "") -> _Answer:
        answer = _Answer(time.monotonic() + seconds, pubkey, reason)
        self._remembered[address] = answer
        self._remembered.move_to_end(address)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return answer

    async def _find(self, identifier: Identifier) -> _Answer:
        address = str(identifier)
        try:
            pin = await anyio.to_thread.run_sync(self._pins.get, address, limiter=self._disk)
            if not self._may_ask(identifier.domain):
                self.counts["limited"] += 1
                if pin is not None:
                    return _Answer(0, pin.pubkey, "")
                return _Answer(0, "", f"{identifier.domain} was asked for too many names: try again in a minute")
            try:
                pubkey = pubkey_of(await self._ask(identifier), identifier)
            except (_Failed, InvalidIdentifier) as error:
                if pin is not None:
                    self.counts["away"] += 1
                    log.info("%s: %s; its pinned key holds", address, error)
                    return self._remember(address, AWAY_S, pin.pubkey)
                self.counts["refused"] += 1
                reason = f"{error}; if {address} is a lightning address, put it into your Nostr profile; {GET_AN_NPUB}"
                return self._remember(address, BAD_S, "", reason)
            kept = await anyio.to_thread.run_sync(self._pins.keep, address, pubkey, self._now(), limiter=self._disk)
        except EdgeError as error:
            log.error("%s: %s", address, error)
            self.counts["refused"] += 1
            return self._remember(address, BAD_S, "", "this pool can't take in a new name now: mine with your npub")
        if kept.pubkey != pubkey:
            self.counts["changed"] += 1
            log.warning("%s says %s now, and said %s: refused", address, pubkey, kept.pubkey)
            return self._remember(
                *(address, BAD_S, ""),
                f"{address} means another key now than it did before, which this pool does not follow: "
                "mine with your npub, or ask the pool's operator to forget the name",
            )
        if pin is None:
            self.counts["pinned"] += 1
            log.info("%s is %s from now on", address, pubkey)
        self.counts["resolved"] += 1
        return self._remember(address, GOOD_S, pubkey)

    def _may_ask(self, domain: str) -> bool:
        now = time.monotonic()
        bucket = self._domains.get(domain)
        if bucket is None:
            bucket = self._domains[domain] = _Bucket(*self._limits.per_domain, now)
            if len(self._domains) > MAX_REMEMBERED:
                self._domains.popitem(last=False)
        self._domains.move_to_end(domain)
        return bucket.take(now) and self._all.take(now)

    async def _ask(self, identifier: Identifier) -> bytes:
        domain = identifier.domain
        try:
            with anyio.fail_after(self._limits.deadline_s):
                async with self._slots:
                    return await self._get(identifier)
        except TimeoutError:
            raise _Failed(f"{domain} gave no whole answer within {self._limits.deadline_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.info("%s: %s %s", domain, type(error).__name__, error)
            raise _Failed(f"{domain} can't be reached over HTTPS") from None

    async def _get(self, identifier: Identifier) -> bytes:
        domain = identifier.domain
        local = self._limits.local.get(domain)
        if local is not None:
            scheme = "https" if self._limits.tls else "http"
            return await self._get_from(httpx.URL(scheme=scheme, host="127.0.0.1", port=local), identifier)
        try:
            addresses = await self._look_up(domain)
        except (OSError, UnicodeError):
            addresses = ()
        if not addresses:
            raise _Failed(f"there is no domain {domain}")
        if not all(is_public(address) for address in addresses):
            raise _Failed(f"{domain} is not on the public internet")
        for address in addresses[:-1]:
            try:
                return await self._get_from(httpx.URL(scheme="https", host=address), identifier)
            except httpx.ConnectError:
                continue  # a name may have an IPv6 address where there is no IPv6
        return await self._get_from(httpx.URL(scheme="https", host=addresses[-1]), identifier)

    async def _get_from(self, server: httpx.URL, identifier: Identifier) -> bytes:
        domain = identifier.domain
        request = self._client.build_request(
            "GET",
            server,
            headers={"Host": domain, "Accept-Encoding": "identity", "Accept": "application/json"},
            # TLS still asks for, and checks, the certificate of the name.
            extensions={"sni_hostname": domain, "target": identifier.target.encode("ascii")},
        )
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != 200:
                raise _Failed(f"{domain} answers with status {response.status_code}")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise _Failed(f"{domain} sends compressed data unasked")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._limits.max_body:
                    raise _Failed(f"the answer of {domain} has more than {self._limits.max_body} bytes")
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        return bytes(body)


@asynccontextmanager
async def open_names(
    path: Path, now: Callable[[], int], limits: NameLimits | None = None, look_up: LookUp | None = None
) -> AsyncIterator[Nip05Names]:
    """Names, their pins in this file. `now`: Unix ms. `look_up` gives a host's IP addresses instead of the system's
    resolver (tests). Raises EdgeError if the file can't be used.
    """
    limits = limits or NameLimits()
    threads = ThreadPoolExecutor(RESOLVER_THREADS, "names")
    loop = asyncio.get_running_loop()

    def addresses_of(host: str) -> list[str]:
        found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    async def by_system(host: str) -> Sequence[str]:
        return await loop.run_in_executor(threads, addresses_of, host)

    try:
        with NamePins(path) as pins:
            async with httpx.AsyncClient(
                follow_redirects=False,
                trust_env=False,
                verify=limits.tls or True,
                timeout=limits.deadline_s,
                limits=httpx.Limits(max_keepalive_connections=0),
                headers={"User-Agent": USER_AGENT},
            ) as client:
                yield Nip05Names(client, pins, limits, now, look_up or by_system)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
