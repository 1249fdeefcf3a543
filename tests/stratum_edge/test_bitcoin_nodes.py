"""Several nodes as one source: which is mined with, what is refused, how fast a new tip is known."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from nips.pool.hashing import display, sha256d
from stratum_edge import node_choice
from stratum_edge.adapters import bitcoin_node, bitcoin_nodes
from stratum_edge.adapters.bitcoin_node import NodeAddress, WrongChain
from stratum_edge.adapters.bitcoin_nodes import BitcoinNodes
from stratum_edge.adapters.bitcoin_rpc import NodeAuth
from stratum_edge.blockwork import merkle_branches
from stratum_edge.errors import SourceUnavailable
from stratum_edge.ports import TemplateSource, Tip
from tests.stratum_edge.scripted_node import (
    EASY_BITS,
    GARBAGE,
    HANG,
    HUGE,
    MAINNET_COUNT,
    ScriptedNode,
    synthetic_transactions,
    until,
)

pytestmark = pytest.mark.anyio
ANYBODY = NodeAuth(user="u", password="p")
POLL_S = 0.02


@asynccontextmanager
async def source_of(
    *nodes: ScriptedNode, network: str = "regtest", poll_s: float = POLL_S, auth: NodeAuth = ANYBODY
) -> AsyncIterator[BitcoinNodes]:
    source = BitcoinNodes(
        [NodeAddress(node.url, auth, node.zmq_address) for node in nodes], network=network, poll_s=poll_s
    )
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            await group.start(source.run)
            yield source
            group.cancel_scope.cancel()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks of node choice, a thousand times faster."""
    monkeypatch.setattr(node_choice, "RETURN_AFTER_S", 0.06)
    monkeypatch.setattr(node_choice, "FAULT_S", 0.06)
    monkeypatch.setattr(bitcoin_nodes, "POLL_S", 0.01)


async def test_a_template_of_one_node() -> None:
    async with ScriptedNode(transactions=synthetic_transactions(5)) as node, source_of(node) as source:
        as_port: TemplateSource = source
        assert await as_port.wait_tip(b"") == Tip(node.tip.height, node.tip.hash) == source.tip()
        template = await source.template()
        assert template.prevhash == node.tip.hash
        assert template.height == node.tip.height + 1
        assert len(template.transactions) == 5
        assert template.witness_commitment == node.commitment
        assert source.network == "regtest"
        assert source.lost_s() == 0.0
        assert source.in_use == node.url.removeprefix("http://")
        assert source.templates == {(source.in_use, "ok"): 1}


async def test_a_template_of_the_main_chains_size() -> None:
    transactions = synthetic_transactions(MAINNET_COUNT)
    async with (
        ScriptedNode(network="main", transactions=transactions, bits=EASY_BITS, height=840_000) as node,
        source_of(node, network="main") as source,
    ):
        await source.wait_tip(b"")
        template = await source.template()
        assert len(template.txids) == MAINNET_COUNT
        assert len(merkle_branches(template.txids)) == 12
        assert template.coinbase_sat == 312_500_000 + 1000 * MAINNET_COUNT
        weight = sum(3 * len(tx.serialise(witness=False)) + len(tx.serialise()) for tx in transactions)
        assert 3_500_000 < weight < 4_000_000


async def test_lanes_that_ask_together_share_one_template() -> None:
    async with ScriptedNode(transactions=synthetic_transactions(50)) as node, source_of(node) as source:
        node.long_poll = False
        known = await source.wait_tip(b"")
        found = []

        async def lane() -> None:
            found.append(await source.template())

        for asked in (1, 2):
            async with anyio.create_task_group() as lanes:
                for _ in range(4):
                    lanes.start_soon(lane)
            assert node.calls["getblocktemplate"] == asked
            assert all(template is found[-1] for template in found[-4:])
            await node.find_block()
            known = await source.wait_tip(known.hash)
        assert found[0].prevhash != found[-1].prevhash


async def test_polling_finds_a_new_tip_when_nothing_else_does() -> None:
    async with ScriptedNode() as node:
        node.long_poll = False
        async with source_of(node) as source:
            known = await source.wait_tip(b"")
            await source.template()
            entry = await node.find_block()
            assert await source.wait_tip(known.hash) == Tip(entry.height, entry.hash)
            assert node.calls["longpoll"] == 0


async def test_zmq_is_faster_than_polling() -> None:
    async with ScriptedNode(zmq=True) as node, source_of(node, poll_s=3600) as source:
        known = await source.wait_tip(b"")
        await node.subscribed()
        entry = await node.find_block()
        assert await source.wait_tip(known.hash) == Tip(entry.height, entry.hash)


async def test_a_dead_zmq_does_not_delay_beyond_the_poll() -> None:
    async with ScriptedNode() as node:
        node.zmq_address = "tcp://127.0.0.1:9"
        async with source_of(node) as source:
            known = await source.wait_tip(b"")
            entry = await node.find_block()
            assert (await source.wait_tip(known.hash)).hash == entry.hash


async def test_long_polling_brings_tip_and_template_at_once() -> None:
    async with ScriptedNode() as node, source_of(node, poll_s=3600) as source:
        known = await source.wait_tip(b"")
        await source.template()
        await until(lambda: node.calls["longpoll"] == 1)
        asked = node.calls["getblocktemplate"]
        entry = await node.find_block()
        assert (await source.wait_tip(known.hash)).hash == entry.hash
        # The full template is here already, so there is nothing quicker.
        assert await source.quick_template() is None
        assert (await source.template()).prevhash == entry.hash
        await until(lambda: node.calls["longpoll"] == 2)
        assert node.calls["getblocktemplate"] == asked + 1


async def test_a_long_poll_that_answers_at_once_is_not_asked_in_a_circle() -> None:
    async with ScriptedNode() as node:
        node.script["getblocktemplate"] = lambda found: {**found, "longpollid": "00" * 32}
        async with source_of(node, poll_s=3600) as source:
            await source.wait_tip(b"")
            await source.template()
            await until(lambda: node.calls["longpoll"] == 1)
            await anyio.sleep(0.1)
            assert node.calls["longpoll"] == 1


async def test_the_quick_template_comes_from_the_header_alone() -> None:
    async with ScriptedNode(transactions=synthetic_transactions(3), zmq=True) as node, source_of(node) as source:
        known = await source.wait_tip(b"")
        assert await source.quick_template() is None
        full = await source.template()
        assert await source.quick_template() is None
        entry = await node.find_block()
        await source.wait_tip(known.hash)
        asked = node.calls["getblocktemplate"]
        quick = await source.quick_template()
        assert node.calls["getblocktemplate"] == asked
        assert quick is not None
        assert (quick.prevhash, quick.height) == (entry.hash, entry.height + 1)
        assert (quick.transactions, quick.witness_commitment, quick.version) == ((), None, full.version)
        assert quick.coinbase_sat == full.coinbase_sat - 3000
        again = await source.template()
        assert (again.prevhash, again.nbits, again.mintime) == (quick.prevhash, quick.nbits, quick.mintime)
        assert await source.quick_template() is None


@pytest.mark.parametrize(
    ("act", "says"),
    [
        ((-10, "Bitcoin Core is in initial sync and waiting for blocks..."), "initial sync"),
        ((-9, "Bitcoin Core is not connected!"), "not connected"),
        (GARBAGE, "not JSON-RPC"),
        (lambda found: {**found, "default_witness_commitment": "6a24aa21a9ed" + "00" * 32}, "default_witness_commit"),
        (lambda found: {**found, "rules": ["!other"]}, "does not know"),
        (lambda found: {**found, "previousblockhash": "11" * 32}, "not on its tip"),
        (lambda found: {**found, "height": found["height"] - 1}, "not on its tip"),
        (lambda found: None, "not what getblocktemplate answers"),
    ],
)
async def test_a_template_that_must_not_be_mined_on(act: Any, says: str) -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        await source.wait_tip(b"")
        node.script["getblocktemplate"] = act
        with pytest.raises(SourceUnavailable, match=says):
            await source.template()
        await until(lambda: source.lost_s() > 0)
        del node.script["getblocktemplate"]
        await source.template()
        assert source.lost_s() == 0.0
        assert source.templates == {(source.in_use, "failed"): 1, (source.in_use, "ok"): 1}


async def test_an_answer_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        await source.wait_tip(b"")
        node.script["getblocktemplate"] = HUGE
        with pytest.raises(SourceUnavailable, match="longer than 16777216 bytes"):
            await source.template()


async def test_a_hanging_template_fails_over(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second node has to answer within it, on a busy machine too.
    monkeypatch.setattr(bitcoin_node, "TEMPLATE_S", 0.5)
    async with ScriptedNode() as first, ScriptedNode() as second, source_of(first, second) as source:
        await source.wait_tip(b"")
        await until(lambda: not any(source.troubles().values()))
        first.script["getblocktemplate"] = HANG
        assert (await source.template()).prevhash == second.tip.hash
        assert source.in_use == second.url.removeprefix("http://")
        assert source.failovers == 1


async def test_a_wrong_commitment_is_taken_to_the_next_node_and_back_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    async with ScriptedNode() as first, ScriptedNode() as second, source_of(first, second) as source:
        await until(lambda: not any(source.troubles().values()))
        await until(lambda: source.in_use == first.url.removeprefix("http://"))
        first.script["getblocktemplate"] = lambda found: {**found, "default_witness_commitment": "6a" * 38}
        await source.template()
        assert source.in_use == second.url.removeprefix("http://")
        assert source.lost_s() == 0.0
        del first.script["getblocktemplate"]
        await until(lambda: source.in_use == first.url.removeprefix("http://"))
        assert source.failovers == 2


async def test_a_template_on_the_old_tip_is_not_taken() -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        node.long_poll = False
        await source.wait_tip(b"")
        old = await source.template()
        entry = await node.find_block()
        await source.wait_tip(old.prevhash)
        # The node says of itself that it is further: first the template is late once, then for good.
        late = [{"previousblockhash": display(old.prevhash), "height": old.height}]
        node.script["getblocktemplate"] = lambda found: {**found, **(late.pop() if late else {})}
        assert (await source.template()).prevhash == entry.hash == source.tip().hash
        node.script["getblocktemplate"] = lambda found: {**found, "previousblockhash": display(old.prevhash)}
        with pytest.raises(SourceUnavailable, match="not on its tip"):
            await source.template()


async def test_no_node_at_the_start_then_one() -> None:
    async with ScriptedNode() as node:
        await node.down()
        async with source_of(node) as source:
            with pytest.raises(SourceUnavailable, match="not asked yet"):
                source.tip()
            await until(lambda: source.lost_s() > 0.03 and "not asked yet" not in source.troubles().values())
            with pytest.raises(SourceUnavailable, match="getblockchaininfo failed"):
                await source.template()
            await node.up()
            assert (await source.wait_tip(b"")).hash == node.tip.hash
            await source.template()
            assert source.lost_s() == 0.0


async def test_a_node_goes_away_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        known = await source.wait_tip(b"")
        await source.template()
        await node.down()
        await until(lambda: source.lost_s() > 0)
        with pytest.raises(SourceUnavailable):
            await source.template()
        with pytest.raises(SourceUnavailable):
            await source.confirmations(known.hash)
        # The tip is still the newest one seen: jobs on it may find blocks that other nodes take.
        assert source.tip() == known
        assert await source.quick_template() is None
        await node.up()
        await node.find_block()
        assert (await source.wait_tip(known.hash)).height == known.height + 1
        await source.template()
        assert source.lost_s() == 0.0


async def test_failover_and_return(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    async with ScriptedNode() as first, ScriptedNode() as second, source_of(first, second) as source:
        await until(lambda: source.in_use == first.url.removeprefix("http://"))
        await until(lambda: not any(source.troubles().values()))
        await first.down()
        await until(lambda: source.in_use == second.url.removeprefix("http://"))
        assert source.lost_s() == 0.0
        assert (await source.template()).prevhash == second.tip.hash
        await first.up()
        await until(lambda: source.in_use == first.url.removeprefix("http://"))
        assert source.failovers == 2


async def test_the_first_in_order_is_the_first_choice_whoever_answers_first() -> None:
    async with ScriptedNode() as first, ScriptedNode() as second:

        async def later() -> Any:
            await until(lambda: second.calls["getblockheader"] == 1)
            return {"chain": "regtest"}

        first._getblockchaininfo = later  # type: ignore[method-assign]  # slower than the other
        async with source_of(first, second) as source:
            assert source.in_use == first.url.removeprefix("http://")
            assert source.failovers == 0


async def test_a_node_cut_off_from_the_network_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitcoin_nodes, "POLL_S", 0.01)
    monkeypatch.setattr(node_choice, "LAG_S", 0.1)
    async with ScriptedNode() as first, ScriptedNode() as second, source_of(first, second) as source:
        await until(lambda: not any(source.troubles().values()))
        known = await source.wait_tip(b"")
        entry = await second.find_block()
        assert (await source.wait_tip(known.hash)).hash == entry.hash
        assert source.in_use == second.url.removeprefix("http://")


async def test_a_node_behind_does_not_take_the_tip_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitcoin_nodes, "POLL_S", 0.01)
    async with ScriptedNode() as first, ScriptedNode() as second, source_of(first, second) as source:
        await until(lambda: not any(source.troubles().values()))
        entry = await first.find_block()
        await until(lambda: source.tip().hash == entry.hash)
        await first.down()
        await until(lambda: source.in_use == second.url.removeprefix("http://"))
        assert source.tip().hash == entry.hash
        with pytest.raises(SourceUnavailable, match="shorter than the one we stood on"):
            await source.template()
        # It catches up, as nodes do.
        await second.find_block(entry.hash)
        assert (await source.template()).prevhash == entry.hash
        # And one that never does is the chain in the end.
        monkeypatch.setattr(bitcoin_nodes, "TIP_HOLD_S", 0.05)
        await second.drop_tip()
        await until(lambda: source.tip().hash == second.tip.hash)
        assert (await source.template()).height == entry.height


async def test_the_cookie_changes_when_a_node_restarts(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    cookie.write_text("__cookie__:1")
    async with ScriptedNode(auth="__cookie__:1") as node, source_of(node, auth=NodeAuth(cookie_file=cookie)) as source:
        await source.wait_tip(b"")
        node.auth = "__cookie__:2"
        await until(lambda: "does not accept" in source.troubles()[node.url.removeprefix("http://")])
        cookie.write_text("__cookie__:2")
        await until(lambda: not any(source.troubles().values()))
        await source.template()


async def test_another_chain_at_the_start_is_told_at_once() -> None:
    async with ScriptedNode() as good, ScriptedNode(network="signet") as bad:
        with pytest.raises(WrongChain, match="is on 'signet', the pool on 'regtest'"):
            await BitcoinNodes(
                [NodeAddress(node.url, ANYBODY) for node in (good, bad)], network="regtest", poll_s=POLL_S
            ).run()


async def test_another_chain_behind_the_same_address_later_is_not_mined_on() -> None:
    async with ScriptedNode() as node, source_of(node) as source:
        tip = await source.wait_tip(b"")
        await node.down()
        await until(lambda: source.lost_s() > 0)
        node.network = "main"
        await node.find_block()
        await node.up()
        name = node.url.removeprefix("http://")
        await until(lambda: "is on 'main'" in source.troubles()[name])
        assert source.tip() == tip
        with pytest.raises(SourceUnavailable, match="is on 'main'"):
            await source.template()
        node.network = "regtest"
        await until(lambda: not any(source.troubles().values()))
        assert (await source.template()).prevhash == node.tip.hash


async def test_confirmations() -> None:
    async with ScriptedNode() as first, ScriptedNode(salt=b"2") as second, source_of(first, second) as source:
        await until(lambda: not any(source.troubles().values()))
        before = first.tip.hash
        entry = await first.find_block()
        assert await source.confirmations(entry.hash) == 1
        assert await source.confirmations(before) == 2
        await first.drop_tip()
        assert await source.confirmations(entry.hash) == -1
        assert await source.confirmations(sha256d(b"never")) is None
        # The second knows what the first does not.
        other = await second.find_block()
        first.script["getblockheader"] = GARBAGE
        assert await source.confirmations(other.hash) == 1
        second.script["getblockheader"] = (-28, "Loading")
        with pytest.raises(SourceUnavailable, match="Loading"):
            await source.confirmations(other.hash)


def test_a_source_needs_a_node() -> None:
    with pytest.raises(ValueError, match="needs a node"):
        BitcoinNodes([], network="main")
