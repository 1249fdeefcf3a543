"""HTTP towards servers nobody vouches for: a lightning address may name any host in the world, or in this house.

The host is resolved once, every address must be public, and the connection goes to the very address that was judged
(no second look-up a malicious name server could answer otherwise). No redirects, no compression, small, and soon.
Onions are asked through a Tor proxy alone, which gets the name itself: it is never looked up here (RFC 7686).
"""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import httpx
import msgspec

from zapper.adapters.resolver import resolve
from zapper.errors import AddressRefused, HttpFailed, PoolFault
from zapper.plan import OURS

# LNURL answers are a few hundred bytes to some KiB (metadata with a small picture).
MAX_BODY = 64 * 1024
# Tor and phones are slow; a payee that takes longer is tried again later.
TIMEOUT_S = 10.0
# Building a circuit to an onion service takes several seconds alone.
ONION_TIMEOUT_S = 30.0
# Version 3: 56 letters of base32, the service's key; there are no others since 2021.
_ONION = re.compile(r"([a-z0-9-]+\.)*[a-z2-7]{56}\.onion")
# An LNURL's headers need no more; httptools and h11 read them into memory.
USER_AGENT = "noncestr-zapper"


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What is asked of servers. `allow_private`: addresses of this machine and network too, over plain HTTP (tests).
    `private_hosts`: only these of them, as "host:port" (the demo's wallet provider): a miner's profile must not make
    the pool ask whatever else listens here. `tor_proxy`: a SOCKS5 proxy as "host:port"; "" for no onions.
    """

    timeout_s: float = TIMEOUT_S
    max_body: int = MAX_BODY
    allow_private: bool = False
    private_hosts: frozenset[str] = frozenset()
    tor_proxy: str = ""

    def may_be_private(self, host: str, port: int) -> bool:
        """Whether this server may have a private address and speak plain HTTP."""
        return self.allow_private or f"{host}:{port}" in self.private_hosts


class HttpClient:
    """See `zapper.ports.Http`. Made by `open_http_client`."""

    def __init__(self, client: httpx.AsyncClient, limits: HttpLimits, onions: httpx.AsyncClient | None = None) -> None:
        """`onions`: the client that goes through the Tor proxy."""
        self._client = client
        self._onions = onions
        self._limits = limits

    async def get_json(self, url: str) -> object:
        """The decoded JSON of a GET; an error status with a JSON body counts as an answer (LNURL servers do that).

        Raises HttpFailed, AddressRefused.
        """
        host = urlsplit(url).hostname or ""
        status, body = await self._ask("GET", url, None)
        if status >= 500 and not body.lstrip().startswith(b"{"):
            raise HttpFailed(host, f"status {status}")
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise HttpFailed(host, "the answer is not JSON") from None

    async def post_json(self, url: str, body: str) -> None:
        """POST this JSON. Raises HttpFailed, AddressRefused unless the server took it (status 2xx)."""
        status, _ = await self._ask("POST", url, body.encode())
        if not 200 <= status < 300:
            raise HttpFailed(urlsplit(url).hostname or "", f"status {status}")

    def check_url(self, url: str) -> tuple[str, int]:
        """Host and port of a URL that may be asked, as far as its text tells. Raises AddressRefused."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise AddressRefused("", "this is no URL") from None
        host = parts.hostname or ""
        if not url.isascii() or not url.isprintable() or " " in url:
            raise AddressRefused(host, "a URL is printable ASCII")
        if parts.scheme not in ("https", "http") or not host:
            raise AddressRefused(host, "only http and https are asked")
        is_onion = host.rstrip(".").endswith(".onion")
        if is_onion and self._onions is None:
            raise AddressRefused(host, "onion addresses need a Tor proxy, and none is configured ([payouts] tor_proxy)")
        if is_onion and not _ONION.fullmatch(host):
            raise AddressRefused(host, "it is no onion address of version 3")
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise AddressRefused(host, "the port is not a number up to 65535") from None
        if parts.scheme == "http" and not is_onion and not self._limits.may_be_private(host, port):
            raise AddressRefused(host, "only https is asked")
        return host, port

    async def _ask(self, method: str, url: str, content: bytes | None) -> tuple[int, bytes]:
        """Status and body of the answer, whatever they are. Raises HttpFailed, AddressRefused, PoolFault (no Tor)."""
        host, port = self.check_url(url)
        is_onion = host.rstrip(".").endswith(".onion")
        timeout_s = ONION_TIMEOUT_S if is_onion else self._limits.timeout_s
        try:
            with anyio.fail_after(timeout_s):
                return await self._go(method, url, host, port, content)
        except TimeoutError:
            raise HttpFailed(host, f"no whole answer within {timeout_s:g} s") from None
        except httpx.ConnectError as error:
            if is_onion:
                raise PoolFault(f"{OURS}the Tor proxy of [payouts] tor_proxy does not answer") from None
            raise HttpFailed(host, f"{type(error).__name__} {error}".strip()) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise HttpFailed(host, f"{type(error).__name__} {error}".strip()) from None

    async def _go(self, method: str, url: str, host: str, port: int, content: bytes | None) -> tuple[int, bytes]:
        if self._onions is not None and host.endswith(".onion"):
            return await self._go_to(self._onions, host, method, url, host, content)
        addresses = await resolve(host, port, allow_private=self._limits.may_be_private(host, port))
        for address in addresses[:-1]:
            try:
                return await self._go_to(self._client, address, method, url, host, content)
            except httpx.ConnectError:
                continue  # a name may have an IPv6 address where there is no IPv6
        return await self._go_to(self._client, addresses[-1], method, url, host, content)

    async def _go_to(
        self, client: httpx.AsyncClient, address: str, method: str, url: str, host: str, content: bytes | None
    ) -> tuple[int, bytes]:
        parts = urlsplit(url)
        request = client.build_request(
            method,
            httpx.URL(scheme=parts.scheme, host=address, port=parts.port),
            content=content,
            headers={
                "Host": parts.netloc,
                "Accept-Encoding": "identity",
                "Accept": "application/json",
                **({} if content is None else {"Content-Type": "application/json"}),
            },
            extensions={
                # TLS still asks for, and checks, the certificate of the name.
                "sni_hostname": host,
                # The path and query to the letter: httpx would escape a second time what is escaped.
                "target": f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}".encode("ascii"),
            },
        )
        response = await client.send(request, stream=True)
        try:
            if response.is_redirect or 300 <= response.status_code < 400:
                raise HttpFailed(host, f"it redirects (status {response.status_code}), which is not followed")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise HttpFailed(host, "it sends compressed data unasked")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._limits.max_body:
                    raise HttpFailed(host, f"its answer has more than {self._limits.max_body} bytes")
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        return response.status_code, bytes(body)


@asynccontextmanager
async def open_http_client(limits: HttpLimits | None = None) -> AsyncIterator[HttpClient]:
    """A client; its connections are not kept, since each goes to a pinned address."""
    limits = limits or HttpLimits()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(_client(limits.timeout_s))
        onions = None
        if limits.tor_proxy:
            # As socks5://, httpx hands the proxy the name: Tor alone knows what is behind it.
            onions = await stack.enter_async_context(_client(ONION_TIMEOUT_S, f"socks5://{limits.tor_proxy}"))
        yield HttpClient(client, limits, onions)


def _client(timeout_s: float, proxy: str | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        follow_redirects=False,
        trust_env=False,
        timeout=timeout_s,
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"User-Agent": USER_AGENT},
        proxies=proxy,
    )
