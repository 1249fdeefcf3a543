"""The node source against Bitcoin Core itself, on regtest, when there is a `bitcoind` on PATH."""

import hashlib
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import msgspec
import pytest

from nips.pool.hashing import sha256d
from stratum_edge.adapters import bitcoin_nodes
from stratum_edge.adapters.bitcoin_node import NodeAddress, WrongChain
from stratum_edge.adapters.bitcoin_nodes import BitcoinNodes
from stratum_edge.adapters.bitcoin_rpc import BitcoinRpc, NodeAuth, NodeAway, NodeRefused
from stratum_edge.errors import SourceUnavailable
from stratum_edge.ports import Submitted
from stratum_edge.wire import OutPoint, Transaction, TxInput, TxOutput, parse_block
from tests.stratum_edge.scripted_node import mine_block, until

BITCOIND = shutil.which("bitcoind")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        BITCOIND is None, reason="no bitcoind on PATH: put Bitcoin Core's there to run the source against a real node"
    ),
]
CONTEXT = httpx.create_ssl_context()
ACCEPTED = Submitted(True, "")
OP_TRUE = b"\x51"
P2WSH_TRUE = b"\x00\x20" + hashlib.sha256(OP_TRUE).digest()
COINBASE_MATURITY = 100
# A node starts in a second; under a loaded machine it may take many.
START_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Node:
    """A bitcoind on regtest, in a folder of its own, on loopback alone."""

    def __init__(self, directory: Path, *, connect: int | None = None) -> None:
        directory.mkdir()
        self.directory = directory
        self.rpc_port, self.zmq_port, self.port = free_port(), free_port(), free_port()
        self._connect = connect
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert BITCOIND is not None
        peers = ["-connect=0"] if self._connect is None else [f"-connect=127.0.0.1:{self._connect}"]
        self._process = subprocess.Popen(
            [
                BITCOIND,
                "-regtest",
                f"-datadir={self.directory}",
                "-server",
                f"-rpcport={self.rpc_port}",
                f"-zmqpubhashblock=tcp://127.0.0.1:{self.zmq_port}",
                f"-bind=127.0.0.1:{self.port}",
                "-dnsseed=0",
                "-discover=0",
                "-listenonion=0",
                "-printtoconsole=0",
                *peers,
            ],
            stdin=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(60) == 0
            self._process = None

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)
        self._process = None

    @property
    def auth(self) -> NodeAuth:
        return NodeAuth(cookie_file=self.directory / "regtest" / ".cookie")

    def address(self, *, zmq: bool) -> NodeAddress:
        return NodeAddress(
            f"http://127.0.0.1:{self.rpc_port}", self.auth, f"tcp://127.0.0.1:{self.zmq_port}" if zmq else ""
        )

    async def call(self, method: str, *params: object) -> bytes:
        """Ask it aside, until it answers."""
        rpc = BitcoinRpc(f"http://127.0.0.1:{self.rpc_port}", self.auth, CONTEXT)
        try:
            with anyio.fail_after(START_S):
                while True:
                    try:
                        return await rpc.call(method, *params, timeout_s=START_S)
                    except (NodeAway, NodeRefused) as error:
                        if isinstance(error, NodeRefused) and error.code != -28:
                            raise
                        await anyio.sleep(0.05)
        finally:
            await rpc.close()


@contextmanager
def node_in(directory: Path, *, connect: int | None = None) -> Iterator[Node]:
    node = Node(directory, connect=connect)
    node.start()
    try:
        yield node
    finally:
        node.stop()


@asynccontextmanager
async def source_of(*addresses: NodeAddress, poll_s: float = 0.2) -> AsyncIterator[BitcoinNodes]:
    source = BitcoinNodes(addresses, network="regtest", poll_s=poll_s)
    with anyio.fail_after(2 * START_S):
        async with anyio.create_task_group() as group:
            await group.start(source.run)
            yield source
            group.cancel_scope.cancel()


@pytest.mark.parametrize("zmq", [True, False], ids=["zmq", "longpoll"])
async def test_templates_tips_and_blocks(tmp_path: Path, zmq: bool) -> None:
    with node_in(tmp_path / "node") as node:
        await node.call("getblockchaininfo")
        # Polling alone would find nothing within the test.
        async with source_of(node.address(zmq=zmq), poll_s=3600) as source:
            tip = await source.wait_tip(b"")
            assert tip.height == 0
            for height in (1, 2, 3):
                template = await source.template()
                assert (template.height, template.prevhash) == (height, tip.hash)
                assert template.witness_commitment is not None
                block = mine_block(template)
                assert await source.submit(block) == ACCEPTED
                # A second time it is a duplicate, and still ours.
                assert await source.submit(block) == ACCEPTED
                tip = await source.wait_tip(template.prevhash)
                assert tip.hash == sha256d(block[:80])
                assert await source.confirmations(tip.hash) == 1
            # A block that comes from elsewhere is heard of, by ZMQ or the long poll.
            template = await source.template()
            await anyio.sleep(0.2)  # the long poll is under way
            assert await node.call("submitblock", mine_block(template, b"elsewhere").hex()) == b"null"
            heard = await source.wait_tip(template.prevhash)
            assert heard.height == 4
            assert await source.confirmations(template.prevhash) == 2
            assert await source.confirmations(bytes(32)) is None


async def test_an_empty_block_is_valid(tmp_path: Path) -> None:
    with node_in(tmp_path / "node") as node:
        await node.call("getblockchaininfo")
        async with source_of(node.address(zmq=True)) as source:
            await source.wait_tip(b"")
            template = await source.template()
            assert await source.submit(mine_block(template)) == ACCEPTED
            await source.wait_tip(template.prevhash)
            quick = await source.quick_template()
            assert quick is not None
            full = await source.template()
            assert (quick.height, quick.prevhash, quick.nbits, quick.mintime, quick.version, quick.coinbase_sat) == (
                full.height,
                full.prevhash,
                full.nbits,
                full.mintime,
                full.version,
                full.coinbase_sat,
            )
            assert await source.submit(mine_block(quick)) == ACCEPTED


async def test_blocks_with_witnesses(tmp_path: Path) -> None:
    """Blocks pay a script that anybody may spend with a witness; what it spends comes back in templates."""
    with node_in(tmp_path / "node") as node:
        await node.call("getblockchaininfo")
        async with source_of(node.address(zmq=True)) as source:
            await source.wait_tip(b"")
            spent: list[Transaction] = []
            for _ in range(COINBASE_MATURITY + 1):
                template = await source.template()
                block = mine_block(template, payout=P2WSH_TRUE)
                spent.append(parse_block(block)[1][0])
                assert await source.submit(block) == ACCEPTED
                await source.wait_tip(template.prevhash)
            coin = OutPoint(spent[0].txid, 0)
            value = spent[0].outputs[0].value_sat
            for _ in range(5):
                value -= 1000
                payment = Transaction(2, (TxInput(coin, witness=(OP_TRUE,)),), (TxOutput(value, P2WSH_TRUE),))
                await node.call("sendrawtransaction", payment.serialise().hex())
                coin = OutPoint(payment.txid, 0)
            # Core makes a new template for new transactions when the last is older than 5 s; or for a new tip.
            template = await source.template()
            assert await source.submit(mine_block(template)) == ACCEPTED
            await source.wait_tip(template.prevhash)
            if not template.txids:
                template = await source.template()
                assert await source.submit(mine_block(template)) == ACCEPTED
                await source.wait_tip(template.prevhash)
            assert len(template.txids) == 5
            assert template.txids[-1] == coin.txid
            assert template.coinbase_sat == 50 * 10**8 + 5000


async def test_refusals_are_in_its_own_words(tmp_path: Path) -> None:
    with node_in(tmp_path / "node") as node:
        await node.call("getblockchaininfo")
        async with source_of(node.address(zmq=True)) as source:
            await source.wait_tip(b"")
            template = await source.template()
            assert await source.submit(mine_block(template, root=b"\x01" * 32)) == Submitted(False, "bad-txnmrklroot")
            assert (await source.submit(b"\x00" * 10)).reason.startswith("Block decode failed")
            block = mine_block(template)
            assert await source.submit(block) == ACCEPTED
            # Another block at the same height is known, but off the chain.
            rival = mine_block(template, b"rival")
            assert await source.submit(rival) == Submitted(False, "inconclusive")
            assert await source.confirmations(sha256d(rival[:80])) == -1
            assert await source.submit(rival) == Submitted(False, "duplicate")


async def test_a_node_stops_and_starts(tmp_path: Path) -> None:
    with node_in(tmp_path / "node") as node:
        await node.call("getblockchaininfo")
        async with source_of(node.address(zmq=True)) as source:
            await source.wait_tip(b"")
            block = mine_block(await source.template())
            await anyio.to_thread.run_sync(node.stop)
            await until(lambda: source.lost_s() > 0, START_S)
            with pytest.raises(SourceUnavailable):
                await source.template()
            # The cookie is another one now. The block is not lost: it waits for the node to answer.
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, node.start)
                assert await source.submit(block) == ACCEPTED
            await until(lambda: source.lost_s() == 0.0, START_S)
            assert await source.confirmations(sha256d(block[:80])) == 1
            assert (await source.wait_tip(block[4:36])).height == 1
            # ZMQ has connected again by itself.
            assert (await source.template()).height == 2


async def test_a_killed_node_may_have_forgotten_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitcoin_nodes, "TIP_HOLD_S", 1.0)
    with node_in(tmp_path / "node") as node:
        await node.call("getblockchaininfo")
        async with source_of(node.address(zmq=True)) as source:
            await source.wait_tip(b"")
            # Core writes blocks to the disk now and then; without peers nobody else has these.
            for _ in range(3):
                template = await source.template()
                assert await source.submit(mine_block(template)) == ACCEPTED
                tip = await source.wait_tip(template.prevhash)
            await anyio.to_thread.run_sync(node.kill)
            await until(lambda: source.lost_s() > 0, START_S)
            assert source.tip() == tip
            await anyio.to_thread.run_sync(node.start)
            await until(lambda: source.lost_s() == 0.0, START_S)
            left = msgspec.json.decode(await node.call("getblockcount"), type=int)
            await until(lambda: source.tip().height == left, START_S)
            template = await source.template()
            assert template.height == left + 1
            assert await source.submit(mine_block(template, b"again")) == ACCEPTED


async def test_failover_between_two_nodes(tmp_path: Path) -> None:
    with node_in(tmp_path / "first") as first, node_in(tmp_path / "second", connect=first.port) as second:
        for node in (first, second):
            await node.call("getblockchaininfo")
        async with source_of(first.address(zmq=True), second.address(zmq=False)) as source:
            known = await source.wait_tip(b"")
            await until(lambda: not any(source.troubles().values()), START_S)
            block = mine_block(await source.template())
            assert await source.submit(block) == ACCEPTED
            await source.wait_tip(known.hash)
            await anyio.to_thread.run_sync(first.stop)
            await until(lambda: source.in_use.endswith(str(second.rpc_port)), START_S)
            template = await source.template()
            assert template.prevhash == sha256d(block[:80])
            assert await source.submit(mine_block(template)) == ACCEPTED
            assert source.failovers == 1
            assert source.lost_s() == 0.0


async def test_a_regtest_node_is_none_for_main(tmp_path: Path) -> None:
    with node_in(tmp_path / "node") as node:
        await node.call("getblockchaininfo")
        with pytest.raises(WrongChain, match="is on 'regtest', the pool on 'main'"):
            await BitcoinNodes([node.address(zmq=False)], network="main").run()
