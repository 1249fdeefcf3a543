"""`noncestr verify --bitcoin-rpc` and `--headers` against a chain that blocks of the log stand in: one that is played
over HTTP, and, with a `bitcoind` on PATH, Bitcoin Core's own on regtest.
"""

import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from nips.nip01 import encode_event
from nips.pool.binding import BoundWork
from nips.pool.coinbase import build_coinb1, push_data, push_height
from nips.pool.hashing import display, from_display, sha256d
from nips.pool.job import JobBody
from noncestr.errors import NoncestrError
from noncestr.verify.run import Asked, run_verify
from tests.accounting.conftest import POOL, T0, TERMS, LogBuilder, Mined
from tests.stratum_edge.test_real_bitcoind import BITCOIND, node_in

pytestmark = pytest.mark.anyio
NBITS = 0x207FFFFF
MATURITY = 10
OP_TRUE = "51"


class Chain(Protocol):
    """A node, as far as this test drives it."""

    rpc: dict[str, Any]

    async def call(self, method: str, *params: Any) -> Any:
        """Ask it."""

    async def extend(self, blocks: int) -> None:
        """Blocks of somebody else."""


class PlayedChain:
    """A node by HTTP that knows what it is told: it takes any block on its tip, and judges nothing."""

    def __init__(self) -> None:
        self.blocks: list[tuple[str, bytes, bytes]] = []
        played = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    answer, status = {"result": played.answer(asked["method"], asked["params"]), "error": None}, 200
                except LookupError:
                    answer, status = {"result": None, "error": {"code": -5, "message": "Block not found"}}, 500
                body = json.dumps({**answer, "id": asked["id"]}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing: the tests' output is kept clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.rpc = {"bitcoin_rpc": f"http://user:password@127.0.0.1:{self.server.server_port}"}
        self._put(bytes(80), b"")

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def _put(self, header: bytes, coinbase: bytes) -> None:
        self.blocks.append((display(sha256d(header)), header, coinbase))

    def answer(self, method: str, params: list[Any]) -> Any:
        """What bitcoind answers. Raises LookupError for a block it does not know."""
        heights = {name: height for height, (name, _, _) in enumerate(self.blocks)}
        if method == "getblockcount":
            return len(self.blocks) - 1
        if method == "getblockhash":
            return self.blocks[params[0]][0]
        if method == "getblockheader":
            height = heights[params[0]]
            if params[1]:
                return {"height": height, "confirmations": len(self.blocks) - height}
            return self.blocks[height][1].hex()
        if method == "getblock":
            return {"tx": ["coinbase"] if heights[params[0]] else []}
        assert method == "getrawtransaction"
        return self.blocks[heights[params[2]]][2].hex()

    async def call(self, method: str, *params: Any) -> Any:
        if method == "submitblock":
            raw = bytes.fromhex(params[0])
            self._put(raw[:80], raw[81:])
            return None
        return self.answer(method, list(params))

    async def extend(self, blocks: int) -> None:
        for _ in range(blocks):
            before = sha256d(self.blocks[-1][1])
            coinbase = len(self.blocks).to_bytes(8, "little")
            for nonce in range(1000):
                tail = bytes(4) + NBITS.to_bytes(4, "little") + nonce.to_bytes(4, "little")
                header = b"\1\0\0\0" + before + sha256d(coinbase) + tail
                if sha256d(header)[31] < 0x7F:
                    break
            self._put(header, coinbase)


class RealChain:
    """Bitcoin Core on regtest, its clock set to the log's."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.rpc = {"bitcoin_rpc": f"http://127.0.0.1:{node.rpc_port}", "bitcoin_cookie": node.auth.cookie_file}

    async def call(self, method: str, *params: Any) -> Any:
        return msgspec.json.decode(await self.node.call(method, *params))

    async def extend(self, blocks: int) -> None:
        descriptor = (await self.call("getdescriptorinfo", f"raw({OP_TRUE})"))["descriptor"]
        await self.call("generatetodescriptor", blocks, descriptor)


@asynccontextmanager
async def chain_of(kind: str, folder: Path) -> AsyncIterator[Chain]:
    if kind == "played":
        chain = PlayedChain()
        try:
            yield chain
        finally:
            chain.close()
    else:
        with node_in(folder / "node") as node:
            real = RealChain(node)
            await real.call("setmocktime", T0 // 1000)
            yield real


@pytest.fixture(
    params=[
        "played",
        pytest.param(
            "bitcoind",
            marks=pytest.mark.skipif(
                shutil.which("bitcoind") is None,
                reason="no bitcoind on PATH: put Bitcoin Core's there to hold an audit against a real node",
            ),
        ),
    ]
)
def kind(request: pytest.FixtureRequest) -> str:
    assert request.param != "bitcoind" or BITCOIND is not None
    return str(request.param)


def block_of(job: Any, share: Mined) -> str:
    """The block that a share solves, in hex: its header and its coinbase alone."""
    work = BoundWork(job, share.miner, share.session.share_bits, share.session.extranonce1)
    record = share.record
    header = work.header(record.extranonce2, record.ntime, record.nonce, record.version)
    return (header + b"\1" + work.coinbase(record.extranonce2)).hex()


class Story:
    """Three blocks of a pool on a chain: one that stands in it, one that lost, one that it keeps to itself; and jobs
    for another height, of another target, and on a block that nobody knows. `said`: the statuses of the first two.
    """

    def __init__(self, chain: Chain, said: tuple[str, str]) -> None:
        self.chain = chain
        self.said = said
        self.log = LogBuilder()
        self.height = 0

    async def job(self, name: str, ms: int, **other: Any) -> Any:
        """A job on the chain's tip."""
        self.height = await self.chain.call("getblockcount")
        tip = from_display(await self.chain.call("getblockhash", self.height))
        height = other.get("height", self.height + 1)
        coinb1 = build_coinb1(2, push_height(height) + push_data(b"/noncestr/"))

        def real(body: JobBody) -> JobBody:
            return replace(body, **{"height": height, "prevhash": tip, "coinb1": coinb1, "merkle": (), **other})

        self.log.change = {**self.log.change, f"job {name}": real}
        return self.log.job(name, ms, (0,))

    async def submit(self, job: Any, share: Mined) -> None:
        assert await self.chain.call("submitblock", block_of(job, share)) is None

    async def tell(self) -> LogBuilder:
        log, chain = self.log, self.chain
        alice, bob = log.keys.alice, log.keys.bob
        limits = replace(TERMS.limits, maturity_blocks=MATURITY)
        await chain.extend(3)
        log.terms(0, replace(TERMS, limits=limits))
        log.batch(0, 0, 10_000)
        a = await self.job("A", 10_500)
        first = log.mine(a, alice, 15_000, block=True)
        log.batch(0, 10_000, 15_001, [log.mine(a, bob, 11_000), first])
        await self.submit(a, first)
        b = await self.job("B", 15_500)
        second = log.mine(b, bob, 20_000, block=True)
        log.batch(0, 15_001, 20_001, [log.mine(b, alice, 16_000), second])
        # Somebody else's block was faster.
        await chain.extend(1)
        c = await self.job("C", 20_500)
        log.batch(0, 20_001, 30_000, [log.mine(c, alice, 21_000), log.mine(c, bob, 22_000)])
        await self.submit(c, log.mine(c, alice, 23_000, block=True))
        wrong = [
            await self.job("D", 30_500, height=self.height + 7),
            await self.job("E", 30_600, nbits=0x207FFFFE),
            await self.job("F", 30_700, prevhash=bytes(31) + b"\1", height=5),
        ]
        log.batch(
            0, 30_000, 40_000, [log.mine(job, bob, ms) for job, ms in zip(wrong, (30_550, 30_650, 31_000), strict=True)]
        )
        log.batch(0, 40_000, 50_000)
        log.block("batch 0/1", first, 1)
        log.block("batch 0/2", second, 1)
        log.statement("block 0", first, 52_000)
        log.statement("block 1", second, 52_000)
        await chain.extend(2 * MATURITY)
        for number, status in enumerate(self.said):
            log.status(f"statement {number}", status, 60_000 + number * 1000)
        return log


Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    async def verify(log: LogBuilder, **how: Any) -> dict[str, Any]:
        (tmp_path / "log").write_bytes(b"".join(encode_event(event) + b"\n" for event in log.all()))
        asked = Asked("", POOL.pubkey, json=True, archives=(tmp_path / "log",), now_ms=T0 + 70_000, **how)
        status = await run_verify(asked)
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert status == (0 if report["holds"] else 1)
        return report

    return verify


def told(report: dict[str, Any], *codes: str) -> list[tuple[str, str]]:
    return sorted((found["code"], found["text"]) for found in report["findings"] if found["code"] in codes)


async def test_what_the_chain_says_of_a_log(tmp_path: Path, run: Run, kind: str) -> None:
    async with chain_of(kind, tmp_path) as chain:
        log = await Story(chain, ("matured", "orphaned")).tell()
        plain = await run(log)
        report = await run(log, **chain.rpc)
        headers = [
            await chain.call("getblockheader", await chain.call("getblockhash", height), False)
            for height in range(1, await chain.call("getblockcount") + 1)
        ]
    # Without a node nothing is said of the chain but that it was not looked at.
    assert [(found["code"], found["grade"]) for found in plain["findings"]] == [
        ("job-height", "contradicted"),
        ("chain-facts", "not checked"),
    ]
    assert "chain" not in plain or plain["chain"] is None
    assert told(report, "chain-status") == []
    (untold,) = told(report, "chain-untold")
    assert f"was mined on job {log.jobs['C'].id}" in untold[1]
    assert [text for _, text in told(report, "chain-job")] == [
        "made for height 12 on a block of height 6",
        f"nbits 207ffffe where the chain has {NBITS:08x}",
        "on block 01" + "00" * 31 + ", which is not in the chain that was shown",
    ]
    by_headers = await run(log, headers=write_headers(tmp_path, headers), headers_from=1)
    assert told(by_headers, "chain-status", "chain-untold") == []
    assert told(by_headers, "chain-job") == told(report, "chain-job")


async def test_what_the_statuses_claim_is_held_against_the_chain(tmp_path: Path, run: Run, kind: str) -> None:
    async with chain_of(kind, tmp_path) as chain:
        log = await Story(chain, ("orphaned", "matured")).tell()
        report = await run(log, **chain.rpc)
    said = " ".join(text for _, text in told(report, "chain-status"))
    assert len(told(report, "chain-status")) == 2
    assert "is said to be matured and is not in the chain" in said
    assert "is said to be orphaned and is in the chain" in said


def write_headers(folder: Path, headers: list[str]) -> Path:
    path = folder / "headers"
    path.write_text("".join(f"{header}\n" for header in headers))
    return path


async def test_a_node_that_can_not_answer_is_said(run: Run) -> None:
    builder = LogBuilder()
    builder.terms(0, TERMS)
    with pytest.raises(NoncestrError, match="--bitcoin-rpc"):
        await run(builder, bitcoin_rpc="http://user:password@127.0.0.1:1")
