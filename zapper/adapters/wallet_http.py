"""HTTP towards the operator's own node or wallet server: it is trusted to hold money, not to answer, soon, or little.

No redirects, no proxies, no compression, no retries: what is sent is sent once. Nothing that is raised or logged here
holds the credentials.
"""

import base64
import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import msgspec

from zapper.adapters.http_client import USER_AGENT
from zapper.errors import HttpFailed
from zapper.secret import Secret, hide

# A payment with its attempts, or the channels of a large node.
MAX_BODY = 4 * 1024 * 1024
# Less than the zapper's patience with a question (fetch_timeout_s), so that its reason is this one.
ASK_TIMEOUT_S = 9.0
# How long a node may look for a way, and how long we wait for its word about that: both less than the zapper's
# patience with a payment (pay_timeout_s), so that most payments end with an answer.
ATTEMPT_S = 45
PAY_TIMEOUT_S = 57.0
# What a server says goes into our log and to people: a line, not a page.
MAX_WORDS = 300


def url_problem(url: str) -> str | None:
    """What is wrong with a wallet server's URL, None if it will do."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or not url.isascii():
        return "must be https://HOST:PORT (or http:// to this machine or its private network)"
    if "@" in parts.netloc:
        return "must not hold user and password: they have keys of their own, and addresses are logged"
    if parts.scheme == "http" and not _is_near(host):
        return f"would send the credentials in clear text to {host}: use https://"
    return None


def _basic(password: Secret) -> str:
    return base64.b64encode(f":{password.reveal()}".encode("ascii")).decode("ascii")


def _is_near(host: str) -> bool:
    """Whether a name or address is of this machine, its network, or of Tor (whose addresses are keys)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan", ".onion"))
    return not address.is_global


@dataclass(frozen=True, slots=True)
class WalletServer:
    """Where a wallet answers and who we are to it.

    `headers`: sent with each request, name to secret. `basic_password`: for HTTP basic authentication without a user
    name. `tls_cert`: a PEM file; then this certificate, or the one it
    signed, is the only one believed. `ask_timeout_s`, `pay_timeout_s`: for a whole answer.
    """

    url: str
    headers: Mapping[str, Secret] = field(default_factory=dict)
    basic_password: Secret | None = None
    tls_cert: Path | None = None
    ask_timeout_s: float = ASK_TIMEOUT_S
    pay_timeout_s: float = PAY_TIMEOUT_S
    max_body: int = MAX_BODY


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body that came in time and whole. `secrets`: what the server may quote of what it was sent."""

    status: int
    body: bytes
    secrets: Sequence[Secret] = ()

    @property
    def words(self) -> str:
        """The body as a line for people, with nothing secret in it."""
        # Hidden before cut: half a secret is one too.
        text = hide(self.body.decode("utf-8", "replace"), self.secrets)[:MAX_WORDS]
        return "".join(char if char.isprintable() else " " for char in text).strip() or "nothing"

    def json(self) -> object:
        """The body's value; None when it is no JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None


class WalletHttp:
    """Asks one server. Made by `open_wallet_http`."""

    def __init__(self, client: httpx.AsyncClient, server: WalletServer) -> None:
        self._client = client
        self._server = server
        self._secrets = [*server.headers.values()]
        if server.basic_password is not None:
            self._secrets += [server.basic_password, Secret(_basic(server.basic_password))]
        self.host = urlsplit(server.url).netloc

    def failed(self, reason: str) -> HttpFailed:
        """An error of this server, with nothing secret in it."""
        return HttpFailed(self.host, hide(reason, self._secrets))

    async def get(self, path: str, *, query: Mapping[str, str] | None = None, first_line: bool = False) -> Answer:
        """A GET. `first_line`: only that of a stream. Raises HttpFailed."""
        return await self._ask("GET", path, self._server.ask_timeout_s, first_line=first_line, params=query)

    async def post(self, path: str, value: Mapping[str, object], *, pays: bool = False) -> Answer:
        """A POST of JSON. `pays`: the answer may take as long as a payment. Raises HttpFailed."""
        return await self._ask(
            "POST",
            path,
            self._patience(pays),
            content=msgspec.json.encode(value),
            headers={"Content-Type": "application/json"},
        )

    async def post_form(self, path: str, form: Mapping[str, str], *, pays: bool = False) -> Answer:
        """A POST of a form, else as `post`."""
        return await self._ask("POST", path, self._patience(pays), data=form)

    def _patience(self, pays: bool) -> float:
        return self._server.pay_timeout_s if pays else self._server.ask_timeout_s

    async def _ask(
        self, method: str, path: str, timeout_s: float, *, first_line: bool = False, **what: object
    ) -> Answer:
        url = self._server.url.rstrip("/") + path
        try:
            with anyio.fail_after(timeout_s):
                async with self._client.stream(method, url, **what) as response:  # type: ignore[arg-type] # httpx's own keywords
                    status, body = response.status_code, await self._read(response, first_line=first_line)
        except TimeoutError:
            raise self.failed(f"no whole answer within {timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            raise self.failed(f"{type(error).__name__} {error}".strip()) from None
        return Answer(status, body, self._secrets)

    async def _read(self, response: httpx.Response, *, first_line: bool) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise self.failed("it sends compressed data unasked")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._server.max_body:
                raise self.failed(f"its answer has more than {self._server.max_body} bytes")
            if first_line and b"\n" in body:
                return bytes(body.partition(b"\n")[0])
        return bytes(body)


def _believed(server: WalletServer) -> ssl.SSLContext:
    """Whose certificates are; nobody's for an address without TLS."""
    if server.url.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context(cafile=None if server.tls_cert is None else str(server.tls_cert))


@asynccontextmanager
async def open_wallet_http(server: WalletServer) -> AsyncIterator[WalletHttp]:
    """A client for one server. Raises ValueError for a URL that is none, OSError for a certificate that is none."""
    problem = url_problem(server.url)
    if problem is not None:
        raise ValueError(f"the wallet's URL {problem}")
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    headers |= {name: secret.reveal() for name, secret in server.headers.items()}
    if server.basic_password is not None:
        headers["Authorization"] = f"Basic {_basic(server.basic_password)}"
    async with httpx.AsyncClient(
        verify=_believed(server),
        follow_redirects=False,
        trust_env=False,
        # For each step; `_ask` bounds the whole.
        timeout=max(server.ask_timeout_s, server.pay_timeout_s),
        # A connection kept may be closed under an order to pay, which then is in doubt for nothing.
        limits=httpx.Limits(max_keepalive_connections=0),
        headers=headers,
    ) as client:
        yield WalletHttp(client, server)
