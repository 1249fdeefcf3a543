"""A block handed to nodes that take it, refuse it, are slow, dead, or lie."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from nips.pool.hashing import sha256d
from stratum_edge.adapters import bitcoin_node, block_submission
from stratum_edge.adapters.bitcoin_node import NodeAddress
from stratum_edge.adapters.bitcoin_nodes import BitcoinNodes
from stratum_edge.adapters.bitcoin_rpc import NodeAuth
from stratum_edge.errors import SourceUnavailable
from stratum_edge.ports import Submitted
from tests.stratum_edge.scripted_node import (
    CUT,
    GARBAGE,
    HANG,
    NO_RESULT,
    ScriptedNode,
    mine_block,
    synthetic_transactions,
    until,
)

pytestmark = pytest.mark.anyio
ACCEPTED = Submitted(True, "")


def name(node: ScriptedNode) -> str:
    return node.url.removeprefix("http://")


@asynccontextmanager
async def source_of(*nodes: ScriptedNode) -> AsyncIterator[BitcoinNodes]:
    source = BitcoinNodes(
        [NodeAddress(node.url, NodeAuth(user="u", password="p")) for node in nodes], network="regtest", poll_s=0.02
    )
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            await group.start(source.run)
            await source.wait_tip(b"")
            yield source
            group.cancel_scope.cancel()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again at once."""
    monkeypatch.setattr(block_submission, "FIRST_RETRY_S", 0.01)


@pytest.fixture
def brief(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives up soon, and yet not before a node on a busy machine has answered."""
    monkeypatch.setattr(block_submission, "TRY_S", 1.0)


async def test_a_good_block_is_accepted_by_all() -> None:
    transactions = synthetic_transactions(20)
    async with (
        ScriptedNode(transactions=transactions) as first,
        ScriptedNode(transactions=transactions) as second,
        source_of(first, second) as source,
    ):
        template = await source.template()
        block = mine_block(template)
        assert await source.submit(block) == ACCEPTED
        await until(lambda: bool(first.submitted and second.submitted))
        assert first.submitted == second.submitted == [(block, None)]
        assert (await source.wait_tip(template.prevhash)).hash == sha256d(block[:80])
        assert await source.confirmations(sha256d(block[:80])) == 1


async def test_an_empty_block_on_a_new_tip_is_a_good_block() -> None:
    async with ScriptedNode(transactions=synthetic_transactions(3), zmq=True) as node, source_of(node) as source:
        node.long_poll = False
        template = await source.template()
        await node.find_block()
        await source.wait_tip(template.prevhash)
        quick = await source.quick_template()
        assert quick is not None
        assert await source.submit(mine_block(quick)) == ACCEPTED


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"root": b"\x01" * 32}, "bad-txnmrklroot"), ({"prevhash": b"\x01" * 32}, "prev-blk-not-found")],
)
async def test_a_bad_block_is_refused_with_the_nodes_word(brief: None, wrong: dict[str, bytes], reason: str) -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        assert await source.submit(mine_block(await source.template(), **wrong)) == Submitted(False, reason)
        assert source.outcomes == {(name(node), reason): 1}


async def test_a_stale_block_is_inconclusive() -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        template = await source.template()
        await node.find_block()
        assert await source.submit(mine_block(template)) == Submitted(False, "inconclusive")


@pytest.mark.parametrize("act", [GARBAGE, NO_RESULT, CUT, 503, (-28, "Loading block index…"), lambda _: {"a": 1}])
async def test_what_is_no_answer_is_tried_again_until_there_is_one(eager: None, act: Any) -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        block = mine_block(await source.template())
        node.script["submitblock"] = act

        async def mend() -> None:
            while node.calls["submitblock"] < 2:
                await node.asked.wait()
            del node.script["submitblock"]

        async with anyio.create_task_group() as group:
            group.start_soon(mend)
            assert await source.submit(block) == ACCEPTED
        assert source.outcomes[name(node), "no answer"] >= 1
        assert source.outcomes[name(node), "accepted"] == 1


async def test_a_lost_answer_comes_as_duplicate_and_is_looked_up() -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        block = mine_block(await source.template())

        async def lose() -> None:
            raise ConnectionResetError

        original = node._submitblock

        async def take_and_cut(data: str) -> Any:
            await original(data)
            node._submitblock = original  # type: ignore[method-assign]  # a script of one step
            await lose()

        node._submitblock = take_and_cut  # type: ignore[method-assign]  # a script of one step
        assert await source.submit(block) == ACCEPTED
        assert [reason for _, reason in node.submitted] == [None, "duplicate"]


@pytest.mark.parametrize("word", ["duplicate", "inconclusive", "duplicate-inconclusive", "high-hash", "", "my own"])
async def test_words_of_a_node_that_does_not_have_the_block_are_no_success(word: str) -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        block = mine_block(await source.template())
        node.script["submitblock"] = lambda _: word
        node._submitblock = lambda *_: None  # type: ignore[assignment,method-assign]  # keeps nothing
        assert await source.submit(block) == Submitted(False, word)


async def test_a_null_without_the_block_in_the_chain_is_no_success() -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        block = mine_block(await source.template())
        node._submitblock = lambda *_: None  # type: ignore[assignment,method-assign]  # keeps nothing
        assert await source.submit(block) == Submitted(False, "not in the active chain")


async def test_an_rpc_error_is_an_answer() -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        block = mine_block(await source.template())
        node.script["submitblock"] = (-22, "Block decode failed")
        assert await source.submit(block) == Submitted(False, "Block decode failed (code -22)")
        assert source.outcomes == {(name(node), "other"): 1}


async def test_one_hanging_node_does_not_keep_the_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedNode() as first, ScriptedNode() as second, source_of(first, second) as source:
        block = mine_block(await source.template())
        first.script["submitblock"] = HANG
        assert await source.submit(block) == ACCEPTED
        assert source.outcomes == {(name(second), "accepted"): 1}


async def test_a_refusal_waits_for_a_node_that_may_take_it(eager: None) -> None:
    async with ScriptedNode() as first, ScriptedNode() as second, source_of(first, second) as source:
        block = mine_block(await source.template())
        await second.find_block()  # to it the block is stale
        await first.down()

        async def mend() -> None:
            while not second.submitted:
                await second.asked.wait()
            await first.up()

        async with anyio.create_task_group() as group:
            group.start_soon(mend)
            assert await source.submit(block) == ACCEPTED


async def test_a_refusal_stands_when_the_other_never_answers(brief: None) -> None:
    async with ScriptedNode() as first, ScriptedNode() as second, source_of(first, second) as source:
        template = await source.template()
        await second.find_block()
        first.script["submitblock"] = GARBAGE
        assert await source.submit(mine_block(template)) == Submitted(False, "inconclusive")


async def test_no_answer_at_all_is_an_error_for_the_caller_to_try_again(brief: None) -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        block = mine_block(await source.template())
        await node.down()
        with pytest.raises(SourceUnavailable, match="no node took or refused block"):
            await source.submit(block)
        await node.up()
        assert await source.submit(block) == ACCEPTED


async def test_a_node_that_comes_back_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_submission, "FIRST_RETRY_S", 3600.0)
    monkeypatch.setattr(block_submission, "LAST_RETRY_S", 3600.0)
    async with ScriptedNode() as node, source_of(node) as source:
        block = mine_block(await source.template())
        await node.down()
        await until(lambda: source.lost_s() > 0)

        async def mend() -> None:
            await until(lambda: source.outcomes[name(node), "no answer"] == 1)
            await node.up()

        async with anyio.create_task_group() as group:
            group.start_soon(mend)
            assert await source.submit(block) == ACCEPTED


async def test_a_hanging_submission_is_given_up_and_tried_again(brief: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitcoin_node, "SUBMIT_S", 0.05)
    async with ScriptedNode() as node, source_of(node) as source:
        block = mine_block(await source.template())
        node.script["submitblock"] = HANG
        with pytest.raises(SourceUnavailable, match=r"no answer to submitblock within 0\.05 s"):
            await source.submit(block)


async def test_what_a_node_of_another_chain_says_does_not_count(brief: None) -> None:
    async with ScriptedNode() as first, ScriptedNode() as second, source_of(first, second) as source:
        block = mine_block(await source.template())
        await first.down()
        await second.down()
        await until(lambda: source.lost_s() > 0)
        second.network = "main"
        second.script["submitblock"] = lambda _: "high-hash"
        await second.up()
        with pytest.raises(SourceUnavailable, match="is on 'main'"):
            await source.submit(block)
        assert second.calls["submitblock"] == 0


async def test_not_after_the_end() -> None:
    async with ScriptedNode() as node:
        async with source_of(node) as source:
            block = mine_block(await source.template())
        with pytest.raises(SourceUnavailable, match="not watched"):
            await source.submit(block)
