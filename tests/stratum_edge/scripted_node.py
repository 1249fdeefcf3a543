"""A Bitcoin node of our own making: it speaks JSON-RPC as bitcoind does, judges blocks itself, misbehaves on demand.

In tests: `async with ScriptedNode(...) as node`, then `node.script[method] = ...`. By hand, for a real miner to mine on
through the edge (cookie authentication is off, any user and password do):

    python tests/stratum_edge/scripted_node.py --mainnet-size --target EASY --port 18443 --block-seconds 600
"""

import argparse
import asyncio
import base64
import functools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import zmq
import zmq.asyncio

from nips.pool.coinbase import push_data, push_height
from nips.pool.hashing import HEADER_SIZE, build_header, display, hash_value, parse_header, sha256d
from nips.pool.targets import target_from_bits
from stratum_edge.blockwork import assemble_block
from stratum_edge.errors import WireError
from stratum_edge.ports import Template
from stratum_edge.subsidy import subsidy_sat
from stratum_edge.wire import (
    COMMITMENT_PREFIX,
    NULL_HASH,
    NULL_INDEX,
    WITNESS_RESERVED,
    OutPoint,
    Transaction,
    TxInput,
    TxOutput,
    merkle_root,
    parse_block,
    witness_commitment,
)

REGTEST_BITS = 0x207FFFFF
# About 17 million hashes a block: seconds for a CPU miner.
EASY_BITS = 0x1E00FFFF
MAINNET_COUNT = 4000
SPACING_S = 600
# What a method may be scripted to do instead of answering; a callable changes the result, a tuple is an RPC error.
HANG, GARBAGE, HUGE, CUT, NO_RESULT = "hang", "garbage", "huge", "cut", "no result"
Act = str | tuple[int, str] | int | Callable[[Any], Any]


class RpcError(Exception):
    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message


@functools.cache
def synthetic_transactions(count: int, seed: int = 1) -> tuple[Transaction, ...]:
    """Transactions of sizes as on the main chain: mostly spends of one or two P2WPKH coins, some legacy, few large."""
    rng = random.Random(seed)

    def spend(kind: float) -> Transaction:
        inputs = tuple(
            TxInput(
                OutPoint(rng.randbytes(32), rng.randrange(4)),
                b"" if kind < 0.85 else b"\x47" + rng.randbytes(71) + b"\x21" + rng.randbytes(33),
                0xFFFFFFFD,
                (rng.randbytes(71), rng.randbytes(33)) if kind < 0.85 else (),
            )
            for _ in range(rng.choice((1, 1, 1, 2, 3)) if kind < 0.99 else rng.randrange(10, 45))
        )
        outputs = tuple(
            TxOutput(rng.randrange(546, 10**8), b"\x00\x14" + rng.randbytes(20))
            for _ in range(rng.choice((1, 2, 2, 3)))
        )
        return Transaction(2, inputs, outputs, 840_000)

    return tuple(spend(rng.random()) for _ in range(count))


def mine_block(template: Template, tag: bytes = b"test", payout: bytes = b"\x51", **wrong: bytes) -> bytes:
    """A block of a template that is easy to mine; `wrong` replaces the merkle root or the prevhash in its header."""
    outputs = [TxOutput(template.coinbase_sat, payout)]
    if template.witness_commitment is not None:
        outputs.append(TxOutput(0, template.witness_commitment))
    script_sig = push_height(template.height) + push_data(tag)
    coinbase = Transaction(2, (TxInput(OutPoint(NULL_HASH, NULL_INDEX), script_sig),), tuple(outputs))
    root = wrong.get("root") or merkle_root((coinbase.txid, *template.txids))
    target = target_from_bits(template.nbits)
    nonce = 0
    while True:
        header = build_header(
            template.version, wrong.get("prevhash") or template.prevhash, root, template.curtime, template.nbits, nonce
        )
        if hash_value(sha256d(header)) <= target:
            return assemble_block(template, coinbase.serialise(), header)
        nonce += 1


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    """Look again and again: what is waited for has no event of its own. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Entry:
    hash: bytes
    prev: bytes
    height: int
    time: int


class ScriptedNode:
    """One node. `zmq` publishes hashblock; `auth` is "user:password", None lets everybody in."""

    def __init__(
        self,
        *,
        network: str = "regtest",
        transactions: tuple[Transaction, ...] = (),
        bits: int = REGTEST_BITS,
        height: int = 100,
        auth: str | None = None,
        zmq: bool = False,
        port: int = 0,
        zmq_port: int = 0,
        now_s: Callable[[], int] = lambda: int(time.time()),
        salt: bytes = b"",
    ) -> None:
        self.network, self.bits, self.auth, self.port = network, bits, auth, port
        self.now_s = now_s
        self.script: dict[str, Act] = {}
        self.calls: Counter[str] = Counter()
        self.asked = asyncio.Event()
        self.long_poll = True
        self.submitted: list[tuple[bytes, str | None]] = []
        self.fees_sat = 1000 * len(transactions)
        self.set_transactions(transactions)
        self._salt = salt
        self._entries: dict[bytes, Entry] = {}
        self._active: dict[int, bytes] = {}
        self._moved = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._zmq_on, self._zmq_port = zmq, zmq_port
        self.zmq_address = ""
        self._first = height
        now = now_s()
        for at in range(max(0, height - 11), height + 1):
            self._extend(sha256d(b"scripted" + at.to_bytes(4, "big")), now - (height - at + 1) * SPACING_S)

    # Its chain

    @property
    def tip(self) -> Entry:
        return self._entries[self._active[max(self._active)]]

    def _extend(self, block_hash: bytes, when: int) -> None:
        height = max(self._active) + 1 if self._active else max(0, self._first - 11)
        prev = self._active.get(height - 1, bytes(32))
        self._entries[block_hash] = Entry(block_hash, prev, height, when)
        self._active[height] = block_hash

    def set_transactions(self, transactions: tuple[Transaction, ...]) -> None:
        self.transactions = transactions
        self._entries_json = [
            {
                "data": tx.serialise().hex(),
                "txid": display(tx.txid),
                "hash": display(tx.wtxid),
                "depends": [],
                "fee": 1000,
                "sigops": 4,
                "weight": 3 * len(tx.serialise(witness=False)) + len(tx.serialise()),
            }
            for tx in transactions
        ]
        self.commitment = witness_commitment([tx.wtxid for tx in transactions])

    async def find_block(self, block_hash: bytes | None = None) -> Entry:
        """The rest of the network finds a block."""
        if block_hash is None:
            block_hash = sha256d(self.tip.hash + self._salt)
        self._extend(block_hash, max(self.now_s(), self._median() + 1))
        await self._tell()
        return self.tip

    async def drop_tip(self) -> None:
        """The tip's block loses its place: the chain is one shorter."""
        del self._active[max(self._active)]
        await self._tell()

    async def _tell(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        if self._publisher is not None:
            await self._publisher.send_multipart([b"hashblock", self.tip.hash[::-1], (0).to_bytes(4, "little")])

    def _median(self) -> int:
        top = max(self._active)
        times = sorted(self._entries[self._active[h]].time for h in range(top, top - 11, -1) if h in self._active)
        return times[len(times) // 2]

    # Its methods

    def _getblockchaininfo(self) -> Any:
        return {"chain": self.network, "blocks": self.tip.height, "initialblockdownload": False}

    def _getbestblockhash(self) -> Any:
        return display(self.tip.hash)

    def _getblockheader(self, name: str) -> Any:
        entry = self._entries.get(bytes.fromhex(name)[::-1])
        if entry is None:
            raise RpcError(-5, "Block not found")
        active = self._active.get(entry.height) == entry.hash
        return {
            "hash": display(entry.hash),
            "confirmations": self.tip.height - entry.height + 1 if active else -1,
            "height": entry.height,
            "time": entry.time,
            "mediantime": self._median(),
            "bits": f"{self.bits:08x}",
            "difficulty": 1.0,
            "nTx": 1,
        }

    async def _getblocktemplate(self, request: dict[str, Any]) -> Any:
        if "segwit" not in request.get("rules", ()):
            raise RpcError(-8, "getblocktemplate must be called with the segwit rule set")
        known = request.get("longpollid")
        if known is not None:
            self.calls["longpoll"] += 1
            if not self.long_poll:
                raise RpcError(-8, "Invalid longpollid")
            while display(self.tip.hash) == known[:64]:
                await self._moved.wait()
        tip, mintime = self.tip, self._median() + 1
        found = {
            "capabilities": ["proposal"],
            "version": 0x20000000,
            "rules": ["csv", "!segwit", "taproot"],
            "vbavailable": {},
            "vbrequired": 0,
            "previousblockhash": display(tip.hash),
            "transactions": self._entries_json,
            "coinbaseaux": {},
            "coinbasevalue": self.coinbase_sat,
            "target": f"{target_from_bits(self.bits):064x}",
            "mintime": mintime,
            "mutable": ["time", "transactions", "prevblock"],
            "noncerange": "00000000ffffffff",
            "curtime": max(mintime, self.now_s()),
            "bits": f"{self.bits:08x}",
            "height": tip.height + 1,
            "default_witness_commitment": self.commitment.hex(),
        }
        if self.long_poll:
            found["longpollid"] = display(tip.hash) + "1"
        return found

    @property
    def coinbase_sat(self) -> int:
        return subsidy_sat(self.network, self.tip.height + 1) + 1000 * len(self.transactions)

    async def _submitblock(self, data: str, *_: Any) -> Any:
        reason = await self._judge(bytes.fromhex(data))
        self.submitted.append((bytes.fromhex(data), reason))
        return reason

    async def _judge(self, block: bytes) -> str | None:
        """What Bitcoin Core's checks would say that concern an edge; None for a block that now is the tip."""
        try:
            header, (coinbase, *others) = parse_block(block)
        except (WireError, ValueError):
            raise RpcError(-22, "Block decode failed") from None
        _, prev, root, _, nbits, _ = parse_header(header)
        block_hash = sha256d(header)
        if nbits != self.bits or hash_value(block_hash) > target_from_bits(self.bits):
            return "high-hash" if nbits == self.bits else "bad-diffbits"
        if block_hash in self._entries:
            return "duplicate"
        if prev not in self._entries:
            return "prev-blk-not-found"
        if merkle_root([coinbase.txid, *(tx.txid for tx in others)]) != root:
            return "bad-txnmrklroot"
        parent = self._entries[prev]
        if not coinbase.inputs[0].script_sig.startswith(push_height(parent.height + 1)):
            return "bad-cb-height"
        if sum(output.value_sat for output in coinbase.outputs) > self.coinbase_sat:
            return "bad-cb-amount"
        if len(coinbase.inputs[0].script_sig) > 100:
            return "bad-cb-length"
        commitments = [output.script for output in coinbase.outputs if output.script.startswith(COMMITMENT_PREFIX)]
        if commitments:
            if coinbase.inputs[0].witness != (WITNESS_RESERVED,):
                return "bad-witness-nonce-size"
            if commitments[-1] != witness_commitment([tx.wtxid for tx in others]):
                return "bad-witness-merkle-match"
        elif any(tx.has_witness for tx in (coinbase, *others)):
            return "unexpected-witness"
        if prev != self.tip.hash:
            self._entries[block_hash] = Entry(block_hash, prev, parent.height + 1, self.now_s())
            return "inconclusive"
        await self.find_block(block_hash)
        return None

    # Its HTTP

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def up(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Stop listening and cut all connections."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> "ScriptedNode":
        self._context: zmq.asyncio.Context | None = None
        self._publisher: zmq.asyncio.Socket | None = None
        if self._zmq_on:
            self._context = zmq.asyncio.Context()
            self._publisher = self._context.socket(zmq.XPUB)
            self._publisher.setsockopt(zmq.LINGER, 0)
            port = self._zmq_port or self._publisher.bind_to_random_port("tcp://127.0.0.1")
            if self._zmq_port:
                self._publisher.bind(f"tcp://127.0.0.1:{port}")
            self.zmq_address = f"tcp://127.0.0.1:{port}"
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()
        if self._context is not None:
            self._context.destroy(linger=0)

    async def subscribed(self) -> None:
        """Return when a subscriber's word has come, so that what is published reaches it."""
        assert self._publisher is not None
        await self._publisher.recv()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:-2])
                headers = {name.lower(): value for name, _, value in lines}
                body = await reader.readexactly(int(headers["content-length"]))
                status, answer = await self._answer(headers.get("authorization", ""), body)
                writer.write(
                    f"HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(answer)}\r\n\r\n".encode()
                )
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, authorization: str, body: bytes) -> tuple[int, bytes]:
        if self.auth is not None and authorization != "Basic " + base64.b64encode(self.auth.encode()).decode():
            self.calls["401"] += 1
            return 401, b""
        request = json.loads(body)
        method, params = request["method"], request["params"]
        self.calls[method] += 1
        asked, self.asked = self.asked, asyncio.Event()
        asked.set()
        act = self.script.get(method)
        if act == HANG:
            await asyncio.Event().wait()
        elif act == GARBAGE:
            return 200, b"<html>{'not': json"
        elif act == NO_RESULT:
            return 200, json.dumps({"id": request["id"], "error": None}).encode()
        elif act == HUGE:
            return 200, b'{"result":"' + b"00" * (9 << 20) + b'","error":null,"id":%d}' % request["id"]
        elif act == CUT:
            raise ConnectionResetError
        elif isinstance(act, int):
            return act, b"Work queue depth exceeded"
        try:
            if isinstance(act, tuple):
                raise RpcError(*act)
            result = getattr(self, f"_{method}")(*params)
            if asyncio.iscoroutine(result):
                result = await result
            if callable(act):
                result = act(result)
        except RpcError as error:
            told = {"result": None, "error": {"code": error.code, "message": error.message}, "id": request["id"]}
            return 500, json.dumps(told).encode()
        return 200, json.dumps({"result": result, "error": None, "id": request["id"]}).encode()


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201 - by hand, this is a command


async def main() -> None:
    """Serve until interrupted; say what became of each block handed in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mainnet-size", action="store_true", help=f"{MAINNET_COUNT} transactions a block")
    parser.add_argument("--network", default="regtest")
    parser.add_argument("--target", default="EASY", help="EASY, REGTEST, or compact bits in hex")
    parser.add_argument("--height", type=int, default=840_000)
    parser.add_argument("--port", type=int, default=18443)
    parser.add_argument("--zmq-port", type=int, default=0)
    parser.add_argument("--block-seconds", type=float, default=0, help="a block of the network this often; 0: never")
    args = parser.parse_args()
    bits = {"EASY": EASY_BITS, "REGTEST": REGTEST_BITS}.get(args.target) or int(args.target, 16)
    node = ScriptedNode(
        network=args.network,
        transactions=synthetic_transactions(MAINNET_COUNT if args.mainnet_size else 0),
        bits=bits,
        height=args.height,
        port=args.port,
        zmq=bool(args.zmq_port),
        zmq_port=args.zmq_port,
    )
    async with node:
        say(f"{node.url} {node.network}, bits {bits:08x}, {len(node.transactions)} transactions")
        seen, due = 0, time.monotonic() + args.block_seconds
        while True:
            await asyncio.sleep(0.2)
            for block, reason in node.submitted[seen:]:
                seen += 1
                say("submitblock", display(sha256d(block[:HEADER_SIZE])), len(block), reason or "null")
            if args.block_seconds and time.monotonic() >= due:
                due += args.block_seconds
                say("network block", (await node.find_block()).height)


if __name__ == "__main__":
    asyncio.run(main())
