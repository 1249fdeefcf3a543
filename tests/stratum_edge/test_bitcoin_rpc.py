"""JSON-RPC to a node that answers well, badly, too much, too late, or not at all."""

from pathlib import Path

import anyio
import httpx
import pytest

from stratum_edge.adapters import bitcoin_rpc
from stratum_edge.adapters.bitcoin_rpc import BitcoinRpc, NodeAuth, NodeAway, NodeRefused
from stratum_edge.errors import SourceUnavailable
from tests.stratum_edge.scripted_node import CUT, GARBAGE, HANG, HUGE, NO_RESULT, ScriptedNode

pytestmark = pytest.mark.anyio
CONTEXT = httpx.create_ssl_context()
ANYBODY = NodeAuth(user="u", password="p")


async def ask(node: ScriptedNode, auth: NodeAuth = ANYBODY, *, timeout_s: float = 5, max_bytes: int = 1 << 20) -> bytes:
    rpc = BitcoinRpc(node.url, auth, CONTEXT)
    try:
        return await rpc.call("getbestblockhash", timeout_s=timeout_s, max_bytes=max_bytes)
    finally:
        await rpc.close()


async def test_a_result_is_json() -> None:
    async with ScriptedNode() as node:
        assert await ask(node) == f'"{node.tip.hash[::-1].hex()}"'.encode()


async def test_a_nodes_own_error() -> None:
    async with ScriptedNode() as node:
        node.script["getbestblockhash"] = (-28, "Loading block index…")
        with pytest.raises(NodeRefused, match="Loading block index") as refused:
            await ask(node)
        assert refused.value.code == -28
        assert isinstance(refused.value, SourceUnavailable)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (GARBAGE, "not JSON-RPC"),
        (NO_RESULT, "has no result"),
        (CUT, "getbestblockhash failed"),
        (HUGE, "longer than 1048576 bytes"),
        (503, "not JSON-RPC .HTTP 503"),
        (HANG, "no answer to getbestblockhash within 0.05 s"),
        (403, "cookie or password"),
    ],
)
async def test_what_is_no_answer(act: str | int, says: str) -> None:
    async with ScriptedNode() as node:
        node.script["getbestblockhash"] = act
        with pytest.raises(NodeAway, match=says):
            await ask(node, timeout_s=0.05 if act == HANG else 5)


@pytest.mark.parametrize("answer", [b'{"result":null,"error":null,"id":7}', b"[" * 100_000, b"[]", b"", b"null"])
async def test_answers_to_nobody(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scripted(_authorization: str, _body: bytes) -> tuple[int, bytes]:
        return 200, answer

    async with ScriptedNode() as node:
        monkeypatch.setattr(node, "_answer", scripted)
        with pytest.raises(NodeAway):
            await ask(node)


async def test_an_explicit_null_is_a_result() -> None:
    async with ScriptedNode() as node:
        node.script["getbestblockhash"] = lambda _: None
        assert await ask(node) == b"null"


async def test_a_large_answer_within_its_bound() -> None:
    async with ScriptedNode() as node:
        node.script["getbestblockhash"] = lambda _: "ab" * 700_000
        assert len(await ask(node, max_bytes=2_000_000)) == 1_400_002


async def test_nobody_there() -> None:
    async with ScriptedNode() as node:
        await node.down()
        with pytest.raises(NodeAway, match="getbestblockhash failed"):
            await ask(node)


async def test_a_cookie_is_read_again_when_it_no_longer_opens(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    auth = NodeAuth(cookie_file=cookie)
    async with ScriptedNode(auth="__cookie__:one") as node:
        with pytest.raises(NodeAway, match="cannot read"):
            await ask(node, auth)
        cookie.write_text("__cookie__:one")
        rpc = BitcoinRpc(node.url, auth, CONTEXT)
        await rpc.call("getbestblockhash", timeout_s=5)
        node.auth = "__cookie__:two"
        with pytest.raises(NodeAway, match="does not accept"):
            await rpc.call("getbestblockhash", timeout_s=5)
        cookie.write_text("__cookie__:two\n")
        await rpc.call("getbestblockhash", timeout_s=5)
        await rpc.close()


async def test_a_password_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    async with ScriptedNode(auth="miner:secret") as node:
        await ask(node, NodeAuth(user="miner", password_file=file))
        await ask(node, NodeAuth(user="miner", password="secret"))
        with pytest.raises(NodeAway, match="does not accept"):
            await ask(node, NodeAuth(user="miner", password="wrong"))
        file.write_bytes(b"\xff\xfe")
        with pytest.raises(NodeAway, match="is not text"):
            await ask(node, NodeAuth(user="miner", password_file=file))


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(NodeAuth(user="u", password="secret"))


async def test_many_at_once() -> None:
    async with ScriptedNode() as node:
        rpc = BitcoinRpc(node.url, ANYBODY, CONTEXT)
        answers = []

        async def once() -> None:
            answers.append(await rpc.call("getbestblockhash", timeout_s=5))

        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(once)
        await rpc.close()
        assert len(answers) == 30


def test_a_block_of_the_smallest_transactions_fits() -> None:
    # 4,000,000 weight in transactions of 60 bytes without witness, each with some 350 bytes of JSON around its hex.
    count = 4_000_000 // (4 * 60)
    assert count * (2 * 60 + 350) < bitcoin_rpc.MAX_TEMPLATE_BYTES
    # All of it witness: 4 MB of data.
    assert bitcoin_rpc.MAX_TEMPLATE_BYTES > 2 * 4_000_000 + 1000 * 350
