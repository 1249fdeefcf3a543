"""The whole edge over TCP: shares to receipts, blocks, refreshes, terms, restart, shutdown."""

import json
import time
from contextlib import asynccontextmanager
from fractions import Fraction

import anyio
import pytest

from nips.pool.block import parse_block
from nips.pool.hashing import display, from_display, sha256d
from nips.pool.job import parse_job
from nips.pool.receipt import parse_receipt
from stratum_edge.adapters.embedded_chain import EmbeddedChain
from stratum_edge.config import EdgeConfig, PortConfig
from stratum_edge.errors import ForeignJournal
from stratum_edge.ports import Submitted
from stratum_edge.service import Edge
from stratum_edge.wire import parse_block as parse_wire_block

pytestmark = pytest.mark.anyio
EASY = Fraction(1, 1 << 32)
SCRIPT = b"\x00\x14" + b"\x55" * 20


class WallClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class Rig:
    """An edge with fakes around it, started and stopped within a test."""

    def __init__(self, edge, journal_dir, terms, **config):
        self.source = edge.FakeSource(lambda: int(time.time()))
        self.terms = edge.FakeTerms(terms)
        self.publisher = edge.MemoryPublisher()
        port = {"start_difficulty": EASY, "max_difficulty": EASY, "port": 0}
        port |= {name: config.pop(name) for name in list(config) if name in PortConfig.__slots__}
        self.edge = Edge(
            source=self.source,
            signer=edge.EDGE_KEY,
            pool=edge.POOL,
            terms=self.terms,
            publisher=self.publisher,
            journal_dir=journal_dir,
            clock=WallClock(),
            config=EdgeConfig(payout_script=SCRIPT, ports=(PortConfig(**port),), **config),
        )

    @asynccontextmanager
    async def running(self):
        async with anyio.create_task_group() as group:
            await group.start(self.edge.run)
            try:
                yield self
            finally:
                group.cancel_scope.cancel()


class Client:
    """A scripted miner on a socket."""

    def __init__(self, edge, stream):
        self._edge = edge
        self._stream = stream
        self._buffer = b""
        self.notifies = []
        self.extranonce1 = b""
        self.id = 0

    async def line(self):
        while b"\n" not in self._buffer:
            self._buffer += await self._stream.receive()
        line, _, self._buffer = self._buffer.partition(b"\n")
        message = json.loads(line)
        if message.get("method") == "mining.notify":
            self.notifies.append(self._edge.read_notify(message["params"]))
        return message

    async def call(self, method, *params):
        self.id += 1
        await self._stream.send(json.dumps({"id": self.id, "method": method, "params": params}).encode() + b"\n")
        while (message := await self.line()).get("id") != self.id:
            pass
        return message

    async def login(self, user):
        self.extranonce1 = bytes.fromhex((await self.call("mining.subscribe", "test"))["result"][1])
        assert (await self.call("mining.authorize", user, "x"))["result"] is True
        await self.work(1)

    async def work(self, count):
        with anyio.fail_after(10):
            while len(self.notifies) < count:
                await self.line()

    async def share(self, user, start=0, target=0x7FFFFF << 232, job=-1):
        notify = self.notifies[job]
        found = self._edge.mine(notify, self.extranonce1, target, start=start)
        return found, await self.call("mining.submit", *found.params(user, notify.job))


@asynccontextmanager
async def client(edge, port):
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        yield Client(edge, stream)


async def test_shares_become_receipts_and_shutdown_seals_the_rest(edge, tmp_path):
    terms = edge.make_terms(batch_seconds=0)
    rig = Rig(edge, tmp_path, terms)
    async with rig.running(), client(edge, rig.edge.ports["main"]) as miner:
        await miner.login(edge.NPUB + ".rig")
        hashes = []
        for start in range(5):
            found, reply = await miner.share(edge.NPUB + ".rig", start)
            assert reply["result"] is True
            hashes.append(found.hash)
        await rig.publisher.wait(lambda: any(parse_receipt(e).count for e in rig.publisher.of(edge.KINDS.RECEIPT)))
        found, reply = await miner.share(edge.NPUB + ".rig", 5)
        hashes.append(found.hash)
        status = rig.edge.status()
        assert (status.sessions, status.miners, status.workers, status.accepted) == (1, 1, 1, 6)
        assert status.height == 200
    good = edge.good_shares([event for event, _ in rig.publisher.events], terms)
    assert [digest for _, _, digest in good] == hashes
    assert {miner for _, miner, _ in good} == {edge.MINER.pubkey}
    assert {chain for _, chain in rig.publisher.events} == {f"{edge.EDGE_KEY.pubkey}/0"}
    assert rig.edge.status().unpublished == 0


async def test_a_block_is_submitted_sealed_and_announced(edge, tmp_path):
    terms = edge.make_terms(block_bits=edge.EASY_BLOCK)
    rig = Rig(edge, tmp_path, terms)
    rig.source.answers = [OSError("the node is away"), Submitted(True, "")]
    async with rig.running(), client(edge, rig.edge.ports["main"]) as miner:
        await miner.login(edge.NPUB)
        found, reply = await miner.share(edge.NPUB)
        assert reply["result"] is True
        await rig.publisher.wait(lambda: rig.publisher.of(edge.KINDS.BLOCK))
    # The edge is gone once every block has its answer.
    assert rig.edge.status().blocks == {"accepted": 1}
    announced = parse_block(rig.publisher.of(edge.KINDS.BLOCK)[0])
    receipt = next(parse_receipt(e) for e in rig.publisher.of(edge.KINDS.RECEIPT) if e.id == announced.receipt)
    assert announced.index == receipt.count - 1 == 0
    assert announced.finder == edge.MINER.pubkey
    assert announced.block == display(found.hash)
    header, transactions = parse_wire_block(rig.source.blocks[0])
    assert header == announced.header
    assert transactions[0].serialise(witness=False) == announced.coinbase


async def test_a_block_found_in_the_last_moment_reaches_the_chain_before_the_edge_is_gone(edge, tmp_path):
    """The node is away at first: the edge goes down only after it has answered."""
    rig = Rig(edge, tmp_path, edge.make_terms(block_bits=edge.EASY_BLOCK))
    rig.source.answers = [OSError("the node is away"), OSError("the node is away"), Submitted(True, "")]
    async with rig.running(), client(edge, rig.edge.ports["main"]) as miner:
        await miner.login(edge.NPUB)
        found, reply = await miner.share(edge.NPUB)
        assert reply["result"] is True
    assert rig.edge.status().blocks == {"accepted": 1}
    header, _ = parse_wire_block(rig.source.blocks[-1])
    assert sha256d(header) == found.hash
    assert len(rig.publisher.of(edge.KINDS.BLOCK)) == 1


async def test_a_late_block_is_submitted_and_announced_but_not_credited(edge, tmp_path):
    terms = edge.make_terms(block_bits=edge.EASY_BLOCK)
    rig = Rig(edge, tmp_path, terms)
    rig.source.answers = [Submitted(False, "inconclusive")]
    async with rig.running(), client(edge, rig.edge.ports["main"]) as miner:
        await miner.login(edge.NPUB)
        rig.source.move()
        await miner.work(2)
        assert miner.notifies[1].clean
        _, reply = await miner.share(edge.NPUB, job=0)
        assert reply["error"][0] == 21
        await rig.publisher.wait(lambda: bool(rig.publisher.of(edge.KINDS.BLOCK)))
        assert rig.edge.status().blocks == {"inconclusive": 1}
        assert rig.edge.status().rejected == {21: 1}
    announced = parse_block(rig.publisher.of(edge.KINDS.BLOCK)[0])
    receipt = next(parse_receipt(e) for e in rig.publisher.of(edge.KINDS.RECEIPT) if e.id == announced.receipt)
    assert [record.status for record in receipt.records()] == [5]
    assert receipt.work == 0
    edge.good_shares([event for event, _ in rig.publisher.events], terms)


async def test_a_new_tip_new_terms_and_a_refresh_each_give_a_new_job(edge, tmp_path):
    rig = Rig(edge, tmp_path, edge.make_terms(), refresh_s=0.2)
    async with rig.running(), client(edge, rig.edge.ports["main"]) as miner:
        await miner.login(edge.NPUB)
        await miner.work(2)
        assert not miner.notifies[1].clean
        assert miner.notifies[1].prevhash == miner.notifies[0].prevhash
        rig.source.move()
        with anyio.fail_after(10):
            while miner.notifies[-1].prevhash != rig.source.prevhash:
                await miner.line()
        assert miner.notifies[-1].clean
        newer = edge.make_terms(batch_seconds=1)
        rig.terms.change(newer)
        with anyio.fail_after(10):
            while True:
                _, reply = await miner.share(edge.NPUB, start=len(miner.notifies))
                if reply["result"] is not True:
                    continue
                await rig.publisher.wait(lambda: bool(rig.publisher.of(edge.KINDS.JOB)))
                if parse_job(rig.publisher.of(edge.KINDS.JOB)[-1]).terms == newer.id:
                    break
                await miner.line()


async def test_a_restart_continues_the_chain_and_a_foreign_journal_is_refused(edge, tmp_path):
    terms = edge.make_terms()
    events = []
    for _ in range(3):
        rig = Rig(edge, tmp_path, terms, lane=7)
        async with rig.running(), client(edge, rig.edge.ports["main"]) as miner:
            await miner.login(edge.NPUB)
            assert (await miner.share(edge.NPUB))[1]["result"] is True
        events += [event for event, _ in rig.publisher.events]
    assert len(edge.good_shares(events, terms)) == 3
    foreign = Rig(edge, tmp_path, terms)
    foreign.edge._signer = edge.POOL_KEY
    foreign.terms._terms = edge.replace(terms, body=edge.replace(terms.body, keys=((edge.POOL_KEY.pubkey, "edge"),)))
    with pytest.raises(ForeignJournal):
        await foreign.edge.run()


async def test_a_publisher_that_fails_gets_the_same_events_again(edge, tmp_path):
    terms = edge.make_terms(batch_seconds=0)
    rig = Rig(edge, tmp_path, terms)
    rig.publisher.failures = [OSError("no disk"), RuntimeError("no relay")]
    async with rig.running(), client(edge, rig.edge.ports["main"]) as miner:
        await miner.login(edge.NPUB)
        await miner.share(edge.NPUB)
        await rig.publisher.wait(lambda: any(parse_receipt(e).count for e in rig.publisher.of(edge.KINDS.RECEIPT)))
    assert len(edge.good_shares([event for event, _ in rig.publisher.events], terms)) == 1


@pytest.mark.parametrize(
    "change",
    [{"offer": "other"}, {"port": 0, "start_difficulty": Fraction(3, 2)}],
)
async def test_settings_that_do_not_fit_are_refused(edge, tmp_path, change):
    with pytest.raises(ValueError, match=r"offer|difficulty"):
        await Rig(edge, tmp_path, edge.make_terms(), **change).edge.run()


async def test_an_idle_edge_beats_its_heart(edge, tmp_path):
    rig = Rig(edge, tmp_path, edge.make_terms(heartbeat_seconds=0))
    async with rig.running():
        await rig.publisher.wait(lambda: len(rig.publisher.of(edge.KINDS.RECEIPT)) >= 2)
    first, second = (parse_receipt(event) for event in rig.publisher.of(edge.KINDS.RECEIPT)[:2])
    assert (first.link.seq, second.link.seq, first.count, second.from_ms) == (0, 1, 0, first.to_ms)
    assert not rig.publisher.of(edge.KINDS.JOB)


async def test_blocks_of_the_embedded_chain_are_accepted_by_the_engine(edge, tmp_path):
    """A block with the chain's own transaction and witness commitment passes Bitcoin Core's consensus code."""
    chain = EmbeddedChain(tmp_path / "chain", clock=WallClock(), network_block_ms=None)
    try:
        terms = edge.make_terms(block_bits=edge.EASY_BLOCK)
        rig = Rig(edge, tmp_path / "journal", terms)
        rig.edge._source = chain
        height = chain.tip().height
        async with rig.running(), client(edge, rig.edge.ports["main"]) as miner:
            await miner.login(edge.NPUB)
            for count in range(1, 4):
                _, reply = await miner.share(edge.NPUB)
                assert reply["result"] is True
                await miner.work(count + 1)
            await rig.publisher.wait(lambda: len(rig.publisher.of(edge.KINDS.BLOCK)) == 3)
        assert rig.edge.status().blocks == {"accepted": 3}
        assert chain.tip().height == height + 3
        for event in rig.publisher.of(edge.KINDS.BLOCK):
            assert await chain.confirmations(from_display(parse_block(event).block)) > 0
        assert len(edge.good_shares([event for event, _ in rig.publisher.events], terms)) == 3
    finally:
        chain.close()
