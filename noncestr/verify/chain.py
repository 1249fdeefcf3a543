"""The chain that an audit holds the log against: a file of headers, or a Bitcoin node."""

import ssl
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import anyio.from_thread
import msgspec

from accounting.chainfacts import HeaderChain, read_headers
from accounting.onchain_proof import PaidOutput
from nips.pool.hashing import display
from noncestr.errors import NoncestrError
from stratum_edge.adapters.bitcoin_rpc import BitcoinRpc, NodeAuth, NodeAway, NodeRefused

CALL_S = 30.0
# A block's ids are 66 characters each, some 16,000 of them at worst; a coinbase may fill a block, in hex.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
# RPC_INVALID_ADDRESS_OR_KEY (protocol.h): the node never saw this block.
NOT_FOUND = -5
SAT = 100_000_000


def headers_file(path: Path, first: int) -> HeaderChain:
    """The chain in a file of headers that begins at height `first`. Raises NoncestrError."""
    try:
        return HeaderChain(first, read_headers(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise NoncestrError(f"--headers {path}: {error}") from None


def node_of(url: str, cookie: Path | None) -> BitcoinRpc:
    """A node named on the command line: http://user:password@host:port, or a cookie file. Raises NoncestrError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NoncestrError(f"--bitcoin-rpc {url!r}: write http://user:password@host:port")
    if cookie is None and not parts.username:
        raise NoncestrError("--bitcoin-rpc: name the user and password in the URL, or --bitcoin-cookie FILE")
    host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    auth = NodeAuth(cookie_file=cookie, user=parts.username or "", password=parts.password or "")
    return BitcoinRpc(urlunsplit((parts.scheme, host, parts.path, "", "")), auth, ssl.create_default_context())


def without_witness(coinbase: bytes) -> bytes:
    """A coinbase as its txid hashes it. Raises ValueError for a witness that is not BIP 141's 32 reserved bytes."""
    if coinbase[4:6] != b"\x00\x01":
        return coinbase
    if coinbase[-38:-36] != b"\x01\x20":
        raise ValueError("a coinbase's witness is one item of 32 bytes")
    return coinbase[:4] + coinbase[6:-38] + coinbase[-4:]


class NodeChain:
    """A node's best chain, asked block by block. For a thread that anyio started: the calls run on its event loop."""

    first = 0

    def __init__(self, node: BitcoinRpc) -> None:
        """Raises NoncestrError if the node does not answer."""
        self._node = node
        self.tip: int = self._ask(int, "getblockcount")
        self.height_of: Callable[[bytes], int | None] = lru_cache(maxsize=None)(self._height_of)
        self.header_at: Callable[[int], bytes | None] = lru_cache(maxsize=1024)(self._header_at)

    def _ask(self, form: Any, method: str, *params: Any) -> Any:
        async def call() -> bytes:
            return await self._node.call(method, *params, timeout_s=CALL_S, max_bytes=MAX_ANSWER_BYTES)

        try:
            return msgspec.json.decode(anyio.from_thread.run(call), type=form)
        except NodeAway as error:
            raise NoncestrError(f"--bitcoin-rpc: {error}") from None
        except msgspec.MsgspecError as error:
            raise NoncestrError(f"--bitcoin-rpc: {method} answered {error}") from None

    def _height_of(self, block: bytes) -> int | None:
        """The height of a block of the best chain."""
        try:
            told: dict[str, Any] = self._ask(dict[str, Any], "getblockheader", display(block), True)
        except NodeRefused as error:
            if error.code == NOT_FOUND:
                return None
            raise NoncestrError(f"--bitcoin-rpc: {error}") from None
        height, confirmations = told.get("height"), told.get("confirmations")
        return height if isinstance(height, int) and isinstance(confirmations, int) and confirmations > 0 else None

    def _header_at(self, height: int) -> bytes | None:
        """The best chain's header at a height."""
        if not 0 <= height <= self.tip:
            return None
        try:
            name: str = self._ask(str, "getblockhash", height)
            return bytes.fromhex(self._ask(str, "getblockheader", name, False))
        except NodeRefused as error:
            raise NoncestrError(f"--bitcoin-rpc: {error}") from None

    def coinbase_at(self, height: int) -> bytes | None:
        """The coinbase without its witness; None if the node keeps the block no more."""
        if not 0 < height <= self.tip:
            return None
        try:
            name: str = self._ask(str, "getblockhash", height)
            ids = self._ask(dict[str, Any], "getblock", name, 1).get("tx")
            if not isinstance(ids, list) or not ids:
                return None
            return without_witness(bytes.fromhex(self._ask(str, "getrawtransaction", ids[0], False, name)))
        except (NodeRefused, ValueError):
            return None

    def output_at(self, txid: str, vout: int) -> PaidOutput | None:
        """An output of the best chain: of any transaction with -txindex, without it as long as nobody has spent it."""
        try:
            told = self._ask(dict[str, Any], "getrawtransaction", txid, True)
            depth = told.get("confirmations", 0)
            output = told["vout"][vout]
        except NodeRefused:
            try:
                output = self._ask(dict[str, Any] | None, "gettxout", txid, vout, False)
            except NodeRefused:
                return None
            if output is None:
                return None
            depth = output.get("confirmations")
        except (LookupError, TypeError):
            return None
        try:
            sat = Decimal(str(output["value"])) * SAT
            address = output["scriptPubKey"].get("address", "")
        except (LookupError, TypeError, AttributeError, ArithmeticError):
            return None
        if sat != int(sat) or type(depth) is not int or type(address) is not str:
            return None
        return PaidOutput(address, int(sat), depth)
