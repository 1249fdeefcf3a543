"""The edge's life beside its shares: nodes that come and go, reloads, drains, names, advice, several offers."""

import json
import time
from contextlib import asynccontextmanager
from fractions import Fraction

import anyio
import pytest

from nips.pool.job import parse_job
from nips.pool.receipt import parse_receipt
from stratum_edge.adapters.stratum_server import StratumServer
from stratum_edge.config import EdgeConfig, Limits, PortConfig
from stratum_edge.errors import LaneFinished, NameRefused, PortUnavailable
from stratum_edge.service import Edge

pytestmark = pytest.mark.anyio
EASY = Fraction(1, 1 << 32)


class WallClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class OneName:
    """Knows alice; `asked` counts."""

    def __init__(self, key):
        self.key = key
        self.asked = []

    async def resolve(self, address):
        self.asked.append(address)
        if address == "alice@example.com":
            return self.key
        raise NameRefused(f"{address} is nobody")


class Poor:
    """Finds that nobody can be paid."""

    async def advice(self, miner):
        return f"{miner[:8]} has no lightning address"


class Broken:
    """Names and payability with a fault of ours in them."""

    async def resolve(self, address):
        raise KeyError(address)

    async def advice(self, miner):
        raise KeyError(miner)


@asynccontextmanager
async def living(edge, tmp_path, *, ports=None, terms=None, config=None, **parts):
    source = parts.pop("source", None) or edge.FakeSource(lambda: int(time.time()))
    publisher = edge.MemoryPublisher()
    alive = Edge(
        source=source,
        signer=edge.EDGE_KEY,
        pool=edge.POOL,
        terms=(follows := edge.FakeTerms(terms or edge.make_terms())),
        publisher=publisher,
        journal_dir=tmp_path / "journal",
        clock=WallClock(),
        config=EdgeConfig(payout_script=b"\x51", ports=tuple(ports or (port(),)), **(config or {})),
        **parts,
    )
    async with anyio.create_task_group() as group:
        await group.start(alive.run)
        alive.source, alive.published, alive.terms = source, publisher, follows
        try:
            yield alive
        finally:
            group.cancel_scope.cancel()


def port(name="main", **settings):
    return PortConfig(name=name, port=0, **{"start_difficulty": EASY, "fixed": True, **settings})


class Miner:
    """Lines to and from a port."""

    def __init__(self, edge, stream):
        self.edge, self.stream, self.buffer = edge, stream, b""
        self.extranonce1 = b""

    async def line(self):
        while b"\n" not in self.buffer:
            self.buffer += await self.stream.receive()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    async def say(self, id, method, *params):
        await self.stream.send(json.dumps({"id": id, "method": method, "params": params}).encode() + b"\n")

    async def until(self, wanted):
        with anyio.fail_after(10):
            while not wanted(message := await self.line()):
                pass
        return message

    async def login(self, user, agent="cpuminer/2.5"):
        await self.say(1, "mining.subscribe", agent)
        await self.say(2, "mining.authorize", user, "x")
        self.extranonce1 = bytes.fromhex((await self.until(lambda m: m["id"] == 1))["result"][1])
        return await self.until(lambda m: m["id"] == 2)

    async def work(self):
        found = await self.until(lambda m: m.get("method") == "mining.notify")
        return self.edge.read_notify(found["params"])

    async def share(self, user, notify, start=0):
        found = self.edge.mine(notify, self.extranonce1, 1 << 255, start=start)
        await self.say(9, "mining.submit", *found.params(user, notify.job))
        return await self.until(lambda m: m["id"] == 9)

    async def ended(self):
        data = b""
        with anyio.fail_after(10):
            try:
                while True:
                    data += await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return data


@asynccontextmanager
async def miner(edge, number):
    async with await anyio.connect_tcp("127.0.0.1", number) as stream:
        yield Miner(edge, stream)


async def test_on_a_new_tip_an_empty_job_comes_first_and_the_full_one_right_after(edge, tmp_path):
    async with living(edge, tmp_path) as alive, miner(edge, alive.ports["main"]) as peer:
        await peer.login(edge.NPUB)
        await peer.work()
        source = alive.source
        full = source.template
        made = anyio.Event()

        async def slow():
            await made.wait()
            return edge.replace(await full(), txids=(b"\x01" * 32,), transactions=(b"\x00",))

        source.template = slow
        source.move()
        source.quick = edge.make_template(source.height, source.prevhash, int(time.time()))
        empty = await peer.work()
        assert (empty.clean, empty.merkle, empty.prevhash) == (True, [], source.prevhash)
        assert (await peer.share(edge.NPUB, empty))["result"] is True
        made.set()
        whole = await peer.work()
        assert (whole.clean, len(whole.merkle), whole.prevhash) == (False, 1, source.prevhash)
        assert (await peer.share(edge.NPUB, whole))["result"] is True
        assert (await peer.share(edge.NPUB, empty, 5))["result"] is True, "the empty job lives on"
    jobs = [parse_job(event) for event in alive.published.of(edge.KINDS.JOB)]
    assert len(jobs) == 2
    assert len({job.coinbase().outputs[0].script for job in jobs}) == 1


async def test_a_quick_template_of_an_old_tip_is_not_taken(edge, tmp_path):
    async with living(edge, tmp_path) as alive, miner(edge, alive.ports["main"]) as peer:
        await peer.login(edge.NPUB)
        first = await peer.work()
        alive.source.quick = edge.make_template(200, first.prevhash, int(time.time()))
        alive.source.move()
        second = await peer.work()
        assert second.prevhash == alive.source.prevhash


async def test_without_a_node_miners_go_on_for_a_while_then_are_let_go_and_come_back(edge, tmp_path):
    async with living(edge, tmp_path, config={"node_grace_s": 60.0}) as alive:
        number = alive.ports["main"]
        async with miner(edge, number) as peer:
            await peer.login(edge.NPUB)
            notify = await peer.work()
            alive.source.lost = 59.0
            assert (await peer.share(edge.NPUB, notify))["result"] is True
            assert alive.status().node_lost_s == 59.0
            alive.source.lost = 61.0
            await peer.ended()
        async with miner(edge, number) as late:
            await late.ended()
        alive.source.lost = 0.0
        with anyio.fail_after(10):
            while True:
                async with miner(edge, number) as back:
                    try:
                        assert (await back.login(edge.NPUB))["result"] is True
                        break
                    except (anyio.EndOfStream, anyio.BrokenResourceError):
                        await anyio.sleep(0.1)
    assert sum(parse_receipt(event).count for event in alive.published.of(edge.KINDS.RECEIPT)) == 1


async def test_each_port_promises_its_offer_and_gives_its_jobs(edge, tmp_path):
    terms = edge.make_terms(("main", "solo"), batch_seconds=0)
    ports = (port(), port("lottery", offer="solo"))
    async with (
        living(edge, tmp_path, ports=ports, terms=terms) as alive,
        miner(edge, alive.ports["main"]) as calm,
        miner(edge, alive.ports["lottery"]) as keen,
    ):
        for peer in (calm, keen):
            await peer.login(edge.NPUB)
            assert (await peer.share(edge.NPUB, await peer.work()))["result"] is True
        published = alive.published
        await published.wait(lambda: len(published.of(edge.KINDS.JOB)) == 2)
        assert {parse_job(event).offer for event in published.of(edge.KINDS.JOB)} == {"main", "solo"}
    assert len(edge.good_shares([event for event, _ in published.events], terms)) == 2


async def test_a_port_for_an_offer_the_terms_lack_is_refused(edge, tmp_path):
    with pytest.raises(ExceptionGroup) as group:
        async with living(edge, tmp_path, ports=(port(offer="solo"),)):
            pass
    assert group.group_contains(ValueError, match="no offer 'solo'")


async def test_a_reload_opens_and_closes_ports_and_a_bad_one_changes_nothing(edge, tmp_path):
    terms = edge.make_terms(("main", "solo"))
    async with living(edge, tmp_path, terms=terms) as alive:
        before = alive.ports
        config = alive._config
        with pytest.raises(ValueError, match="no offer 'odd'"):
            await alive.reload(edge.replace(config, ports=(port(), port("odd", offer="odd"))))
        busy = PortConfig(name="busy", port=before["main"], start_difficulty=EASY, fixed=True)
        with pytest.raises(PortUnavailable):
            await alive.reload(edge.replace(config, ports=(port(), busy)))
        assert alive.ports == before
        await alive.reload(
            edge.replace(config, ports=(port(), port("lottery", offer="solo")), limits=Limits(max_per_address=1))
        )
        assert alive.ports["main"] == before["main"]
        async with miner(edge, alive.ports["lottery"]) as keen:
            assert (await keen.login(edge.NPUB))["result"] is True
            await keen.work()
            async with miner(edge, alive.ports["main"]) as second:
                assert b"too many" in await second.ended()
            await alive.reload(config)
            await keen.ended()
        assert alive.ports == before


async def test_a_drained_edge_has_published_all_and_goes_on_in_its_lane(edge, tmp_path):
    terms = edge.make_terms()
    events = []
    for fin in (False, False, True):
        async with living(edge, tmp_path, terms=terms) as alive:
            async with miner(edge, alive.ports["main"]) as peer:
                await peer.login(edge.NPUB)
                assert (await peer.share(edge.NPUB, await peer.work()))["result"] is True
                assert await alive.drain(fin=fin) == 0
                await peer.ended()
            events += [event for event, _ in alive.published.events]
    assert len(edge.good_shares(events, terms)) == 3
    receipts = [parse_receipt(event) for event in events if event.kind == edge.KINDS.RECEIPT]
    assert [receipt.fin for receipt in receipts] == [False] * (len(receipts) - 1) + [True]
    with pytest.raises(ExceptionGroup) as group:
        async with living(edge, tmp_path, terms=terms):
            pass
    assert group.group_contains(LaneFinished), "nothing follows the last batch"


async def test_a_name_is_looked_up_and_its_miner_paid_by_key(edge, tmp_path):
    names = OneName(edge.MINER.pubkey)
    async with living(edge, tmp_path, names=names) as alive:
        async with miner(edge, alive.ports["main"]) as peer:
            assert (await peer.login("alice@example.com/rig"))["result"] is True
            assert (await peer.share("alice@example.com/rig", await peer.work()))["result"] is True
            (row,) = alive.sessions()
            assert (row.miner, row.workers, row.accepted) == (edge.MINER.pubkey, ("rig",), 1)
        async with miner(edge, alive.ports["main"]) as peer:
            assert (await peer.login("bob@example.com"))["error"][:2] == [24, "bob@example.com is nobody"]
    assert names.asked == ["alice@example.com", "bob@example.com"]
    (session,) = [
        session for event in alive.published.of(edge.KINDS.RECEIPT) for session in parse_receipt(event).sessions
    ]
    assert session.worker == "rig"


async def test_without_a_resolver_names_are_refused_with_the_way_out(edge, tmp_path):
    async with living(edge, tmp_path) as alive, miner(edge, alive.ports["main"]) as peer:
        assert "npub" in (await peer.login("alice@example.com"))["error"][1]


async def test_who_can_not_be_paid_mines_and_is_told_where_the_device_can_show_it(edge, tmp_path, caplog):
    async with living(edge, tmp_path, payability=Poor()) as alive:
        async with miner(edge, alive.ports["main"]) as peer:
            await peer.login(edge.NPUB)
            message = await peer.until(lambda m: m.get("method") == "client.show_message")
            assert message["params"] == [f"{edge.MINER.pubkey[:8]} has no lightning address"]
        async with miner(edge, alive.ports["main"]) as mute:
            await mute.login(edge.OTHER_NPUB, agent="unknown/1")
            notify = await mute.work()
            assert (await mute.share(edge.OTHER_NPUB, notify))["result"] is True
            await mute.say(7, "mining.ping")
            assert (await mute.line())["result"] == "pong", "nothing it may not understand came before"
    assert "can't be paid yet" in caplog.text


async def test_a_fault_behind_one_login_is_that_logins_alone(edge, tmp_path, caplog):
    async with living(edge, tmp_path, names=Broken(), payability=Broken()) as alive:
        async with miner(edge, alive.ports["main"]) as peer:
            assert "try again" in (await peer.login("alice@example.com"))["error"][1]
        async with miner(edge, alive.ports["main"]) as peer:
            await peer.login(edge.NPUB)
            assert (await peer.share(edge.NPUB, await peer.work()))["result"] is True
    assert "looking alice@example.com up failed" in caplog.text
    assert f"whether {edge.NPUB} can be paid is not known" in caplog.text


async def test_who_logs_in_while_the_other_ports_are_opened_is_let_in(edge, tmp_path, monkeypatch):
    listen, replies = StratumServer.listen, []

    async def and_log_in(server, port):
        number = await listen(server, port)
        if port.name == "main":
            async with miner(edge, number) as peer:
                replies.append(await peer.login(edge.NPUB))
        return number

    monkeypatch.setattr(StratumServer, "listen", and_log_in)
    async with living(edge, tmp_path, ports=[port(), port("second")], payability=Poor()):
        assert [reply["result"] for reply in replies] == [True]


async def test_miners_are_let_go_once_the_terms_leave_their_port_out_and_let_in_when_they_are_back(edge, tmp_path):
    terms = edge.make_terms(("main", "solo"))
    ports = [port(), port("solo", offer="solo")]
    async with living(edge, tmp_path, ports=ports, terms=terms) as alive:
        async with miner(edge, alive.ports["solo"]) as peer:
            await peer.login(edge.NPUB)
            notify = await peer.work()
            # Issued long ago: the jobs under the terms before count no more.
            alive.terms.change(edge.make_terms())
            with anyio.fail_after(10):
                assert b"terms leave this port out" in await peer.ended()
        async with miner(edge, alive.ports["main"]) as peer:
            assert b"terms leave this port out" in await peer.ended()
        alive.terms.change(edge.make_terms(("main", "solo")))
        await until_let_in(edge, alive.ports["solo"], notify)


async def until_let_in(edge, number, before):
    with anyio.fail_after(10):
        while True:
            async with miner(edge, number) as peer:
                try:
                    await peer.login(edge.NPUB)
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    await anyio.sleep(0.05)
                    continue
                assert (await peer.work()).coinb1 != before.coinb1
                return
