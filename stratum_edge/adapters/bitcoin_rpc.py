"""JSON-RPC to one Bitcoin node over HTTP, with bounds on time and size, and a cookie that may change under way."""

import base64
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import httpx
import msgspec

from stratum_edge.errors import SourceUnavailable

# A template of a full block is about 8 MB of hex and 6 MB of names around it when all its transactions are the
# smallest there are; everything else fits the smaller bound many times over.
MAX_TEMPLATE_BYTES: Final = 16 * 1024 * 1024
MAX_ANSWER_BYTES: Final = 1024 * 1024
# Above this, JSON is read beside the loop: a megabyte takes about a millisecond.
DECODE_ASIDE_BYTES: Final = 256 * 1024
# A cookie is `__cookie__:` and 64 hex digits; a password file holds one line.
MAX_SECRET_BYTES: Final = 1024
# Bitcoin Core closes connections that are idle for 30 s (-rpcservertimeout): ours are given up before.
KEEP_ALIVE_S: Final = 20.0
_UNAUTHORIZED: Final = (401, 403)


class NodeAway(SourceUnavailable):
    """A node gave no answer that counts: not reached, too slow, too long, not JSON-RPC, or not to us."""


class NodeRefused(SourceUnavailable):
    """A node answered with an error of its own: `code` and `message` are as in Bitcoin Core's rpc/protocol.h."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} (code {self.code})"


@dataclass(frozen=True, slots=True)
class NodeAuth:
    """How a node knows us: its cookie file, or a user with a password, given or in a file. Files are read anew."""

    cookie_file: Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    password_file: Path | None = None

    def header(self) -> str:
        """The value of the Authorization header. Raises NodeAway for a file that can't be read."""
        if self.cookie_file is not None:
            pair = self._secret(self.cookie_file)
        elif self.password_file is not None:
            pair = f"{self.user}:{self._secret(self.password_file)}"
        else:
            pair = f"{self.user}:{self.password}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    @staticmethod
    def _secret(path: Path) -> str:
        try:
            with path.open("rb") as file:
                return file.read(MAX_SECRET_BYTES).decode().strip()
        except OSError as error:
            raise NodeAway(f"cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise NodeAway(f"{path} is not text") from None


class _Error(msgspec.Struct):
    code: int
    message: str = ""


class _Reply(msgspec.Struct):
    # A missing result must not pass for null: null is how a node says that it took a block.
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: _Error | None = None
    id: int | str | None = None


_DECODER = msgspec.json.Decoder(_Reply)


class BitcoinRpc:
    """One node's JSON-RPC, on connections of its own. Use as an async context manager."""

    def __init__(self, url: str, auth: NodeAuth, context: ssl.SSLContext, *, keep_alive: bool = True) -> None:
        self._url = url
        self._auth = auth
        self._header: str | None = None
        self._last_id = 0
        self._http = httpx.AsyncClient(
            verify=context,
            # A node is named by its operator: no proxy of the environment, no redirect comes between.
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - each call has one deadline for all of it
            limits=httpx.Limits(max_keepalive_connections=None if keep_alive else 0, keepalive_expiry=KEEP_ALIVE_S),
            # Compressed, an answer could be larger than its bound.
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def call(self, method: str, *params: Any, timeout_s: float, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """The result's JSON. Raises NodeAway and NodeRefused."""
        self._last_id = id = self._last_id + 1
        body = msgspec.json.encode({"jsonrpc": "1.0", "id": id, "method": method, "params": params})
        try:
            with anyio.fail_after(timeout_s):
                status, answer = await self._post(body, max_bytes)
                if status in _UNAUTHORIZED:
                    # A node that restarts writes a new cookie.
                    self._header = None
                    status, answer = await self._post(body, max_bytes)
        except TimeoutError:
            raise NodeAway(f"no answer to {method} within {timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise NodeAway(f"{method} failed: {str(error) or type(error).__name__}") from None
        if status in _UNAUTHORIZED:
            raise NodeAway(f"the node does not accept our cookie or password (HTTP {status})")
        return await self._result(method, status, answer, id)

    async def _post(self, body: bytes, max_bytes: int) -> tuple[int, bytes]:
        if self._header is None:
            self._header = await anyio.to_thread.run_sync(self._auth.header)
        request = self._http.stream("POST", self._url, content=body, headers={"Authorization": self._header})
        async with request as response:
            answer = bytearray()
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > max_bytes:
                    raise NodeAway(f"an answer is longer than {max_bytes} bytes")
            return response.status_code, bytes(answer)

    async def _result(self, method: str, status: int, answer: bytes, id: int) -> bytes:
        try:
            if len(answer) > DECODE_ASIDE_BYTES:
                reply = await anyio.to_thread.run_sync(_DECODER.decode, answer)
            else:
                reply = _DECODER.decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Bitcoin Core's "Work queue depth exceeded" is text, with status 503.
            raise NodeAway(f"the answer to {method} is not JSON-RPC (HTTP {status})") from None
        if reply.error is not None:
            raise NodeRefused(reply.error.code, reply.error.message)
        if reply.result is msgspec.UNSET or reply.id != id:
            raise NodeAway(f"the answer to {method} has no result, or is another question's")
        return bytes(reply.result)
