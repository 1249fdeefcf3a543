"""A wall clock that steps back and ahead, a machine that slept: windows, jobs and shares stay what a verifier takes."""

import itertools
import json
import time
from fractions import Fraction

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accounting.findings import NOT_CHECKED
from accounting.verifier import audit
from nips.pool.job import parse_job
from nips.pool.receipt import parse_receipt
from stratum_edge import service
from stratum_edge.config import EdgeConfig, PortConfig
from stratum_edge.service import Edge

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
STEPS = [1, SECOND, 3 * SECOND, 10 * MINUTE, 3 * HOUR, DAY, 9 * DAY]
# Beyond what one window can bridge (49 days).
LEAP = 60 * DAY
MOVES = st.one_of(
    st.tuples(st.just("run"), st.integers(0, 40 * SECOND)),
    st.tuples(st.just("step"), st.sampled_from([*STEPS, *(-step for step in STEPS), LEAP])),
    st.tuples(st.just("sleep"), st.sampled_from([5 * SECOND, 10 * MINUTE, DAY])),
    st.tuples(st.just("share"), st.integers(1, 3)),
    st.tuples(st.sampled_from(["tip", "refresh", "seal"]), st.just(0)),
)


class Life:
    """A desk with two miners whose wall clock is `offset` off; the node's clock is right, or the same wrong one."""

    def __init__(self, edge, node_is_right):
        # Before the first step nothing can lie: the lane begins at the wall clock's time.
        self.edge, self.node_is_right = edge, node_is_right
        self.bench = edge.Bench(start=Fraction(1, 1 << 32), fixed=True)
        self.real, self.offset = edge.NOW, 0
        self.peers = [self.bench.peer(), self.bench.peer()]
        self.users = [edge.NPUB, edge.OTHER_NPUB]
        for peer, user in zip(self.peers, self.users, strict=True):
            peer.login(user)
        self.acknowledged, self.refused, self.tries, self.tip = [], [], 0, 0

    @property
    def wall(self):
        return self.real + self.offset

    def move(self, name, amount):
        match name:
            case "run" | "sleep":
                self.real += amount
            case "step":
                self.offset += amount
            case "seal":
                self.bench.desk.seal(self.wall)
                self.bench.journal.flush()
            case "share":
                for _ in range(amount):
                    self.share()
            case _:
                self.tip += name == "tip"
                self.renew()
        for peer in self.peers:
            peer.now = self.wall

    def renew(self):
        node = self.real if self.node_is_right else self.wall
        self.bench.renew(self.edge.make_template(200 + self.tip, bytes([self.tip % 256]) * 32, node // 1000), self.wall)

    def share(self):
        self.tries += 1
        which = self.tries % 2
        peer = self.peers[which]
        peer.now = self.wall
        found = peer.find(self.tries, target=(1 << 256) - 1)
        reply = peer.submit(self.users[which], found)
        if reply["result"] is True:
            self.acknowledged.append(found.hash)
        else:
            self.refused.append(reply["error"][1])

    def judge(self):
        self.bench.desk.seal(self.wall)
        return judge(self.edge, self.bench.events(), self.acknowledged)


def judge(edge, events, acknowledged):
    """The verifier finds nothing, dates never fall, and what was acknowledged is there."""
    report = audit([edge.make_terms_event(), *events], (), edge.POOL, now_ms=None)
    assert [found for found in report.findings if found.grade != NOT_CHECKED] == []
    receipts = [parse_receipt(event) for event in events if event.kind == edge.KINDS.RECEIPT]
    for before, after in itertools.pairwise(receipts):
        assert before.to_ms == after.from_ms < after.to_ms
        assert before.created_at <= after.created_at
        assert after.created_at * 1000 >= after.to_ms
    hashes = [digest for _, _, digest in edge.good_shares(events, edge.make_terms())]
    assert sorted(hashes) == sorted(acknowledged)
    return receipts


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.booleans(), st.lists(MOVES, max_size=40))
@example(node_is_right=True, moves=[("step", -DAY), ("share", 3), ("seal", 0), ("refresh", 0), ("share", 3)])
@example(node_is_right=False, moves=[("step", DAY), ("tip", 0), ("share", 2), ("step", -DAY), ("tip", 0), ("share", 2)])
@example(node_is_right=True, moves=[("share", 2), ("step", LEAP), ("share", 1), ("refresh", 0), ("share", 2)])
def test_no_clock_makes_a_verifier_find_anything(edge, node_is_right, moves):
    life = Life(edge, node_is_right)
    for name, amount in moves:
        life.move(name, amount)
    life.judge()


@pytest.mark.parametrize("back", STEPS)
def test_after_a_step_back_all_shares_count_on(edge, back):
    """The lane's time stands until the clock has caught up; work goes on."""
    life = Life(edge, node_is_right=False)
    life.move("share", 2)
    life.move("run", 20 * SECOND)
    life.move("share", 1)
    life.move("seal", 0)
    at = life.bench.desk.lane.from_ms
    life.move("step", -back)
    for _ in range(5):
        life.move("refresh", 0)
        life.move("share", 2)
        life.move("run", SECOND)
    life.move("tip", 0)
    life.move("share", 2)
    receipts = life.judge()
    assert (len(life.acknowledged), life.refused) == (15, [])
    assert receipts[-1].to_ms <= max(at, life.wall) + 20, "no faster than one ms a batch or job"


@pytest.mark.parametrize("ahead", STEPS)
def test_after_a_step_ahead_or_a_sleep_the_first_new_job_counts_again(edge, ahead):
    life = Life(edge, node_is_right=True)
    life.move("share", 2)
    life.move("step", ahead)
    life.move("share", 1)
    assert life.refused == ([] if ahead < 10 * MINUTE else ["stale: this job is over"])
    life.move("refresh", 0)
    life.move("share", 3)
    life.judge()
    assert len(life.acknowledged) == 5 + (ahead < 10 * MINUTE)


def test_a_clock_hours_behind_the_nodes_refuses_what_a_verifier_would(edge):
    """A share's time would be more than two hours before its header's: nobody would credit it."""
    life = Life(edge, node_is_right=True)
    life.real += 3 * HOUR
    life.offset = -3 * HOUR
    life.move("tip", 0)
    life.move("share", 2)
    assert life.refused == ["ntime out of range"] * 2
    life.move("step", 3 * HOUR)
    life.move("tip", 0)
    life.move("share", 2)
    life.judge()
    assert len(life.acknowledged) == 2


class ScriptedClock:
    """The machine's clock, off by what the test says."""

    def __init__(self):
        self.offset = 0

    def now_ms(self):
        return time.time_ns() // 1_000_000 + self.offset


async def mine_some(edge, port, count):
    """Hand in until so many shares were acknowledged, each on the newest job; their hashes."""
    done, notify, extranonce1, start = [], None, b"", 0
    found, wanted = None, None
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(
            b'{"id":1,"method":"mining.subscribe","params":["clock"]}\n'
            b'{"id":2,"method":"mining.authorize","params":["%s","x"]}\n' % edge.NPUB.encode()
        )
        buffer = b""
        with anyio.fail_after(20):
            while len(done) < count:
                buffer += await stream.receive()
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    message = json.loads(line)
                    if message.get("method") == "mining.notify":
                        notify = edge.read_notify(message["params"])
                    elif message.get("id") == 1:
                        extranonce1 = bytes.fromhex(message["result"][1])
                    elif message.get("id") == wanted and found is not None:
                        if message["result"] is True:
                            done.append(found.hash)
                        found = None
                if notify is not None and found is None and len(done) < count:
                    start += 1
                    wanted = 10 + start
                    found = edge.mine(notify, extranonce1, (1 << 256) - 1, start=start)
                    params = found.params(edge.NPUB, notify.job)
                    request = {"id": wanted, "method": "mining.submit", "params": params}
                    await stream.send(json.dumps(request).encode() + b"\n")
    return done


@pytest.mark.anyio
async def test_an_edge_outlives_every_step_of_its_clock(edge, tmp_path, monkeypatch):
    """Days ahead and back under a miner: refreshed within a look, published in order, taken up after a restart."""
    monkeypatch.setattr(service, "SWEEP_S", 0.01)
    monkeypatch.setattr(service, "SEAL_LOOK_S", 0.01)
    clock, publisher = ScriptedClock(), edge.MemoryPublisher()
    # The template's time is the wall clock's, as a node on the same machine has it.
    source = edge.FakeSource(lambda: clock.now_ms() // 1000)
    acknowledged = []
    steps = [0, -3 * SECOND, -10 * MINUTE, DAY, -DAY, 3 * HOUR, -9 * DAY, 9 * DAY]
    for half in (steps[:4], steps[4:]):
        rig = Edge(
            source=source,
            signer=edge.EDGE_KEY,
            pool=edge.POOL,
            terms=edge.FakeTerms(edge.make_terms(batch_seconds=0)),
            publisher=publisher,
            journal_dir=tmp_path,
            clock=clock,
            config=EdgeConfig(
                payout_script=b"\x51",
                ports=(PortConfig(port=0, start_difficulty=Fraction(1, 1 << 32), fixed=True),),
                refresh_s=0.05,
            ),
        )
        async with anyio.create_task_group() as group:
            await group.start(rig.run)
            for step in half:
                clock.offset += step
                # A refreshed job comes by itself; what a leap made stale is not counted, and not lost.
                acknowledged += await mine_some(edge, rig.ports["main"], 4)
            group.cancel_scope.cancel()
    events = [event for event, _ in publisher.events]
    report = audit([edge.make_terms_event(batch_seconds=0), *events], (), edge.POOL, now_ms=None)
    assert [found for found in report.findings if found.grade != NOT_CHECKED] == []
    hashes = [digest for _, _, digest in edge.good_shares(events, edge.make_terms(batch_seconds=0))]
    assert sorted(hashes) == sorted(acknowledged)
    jobs = [parse_job(event).ms for event in events if event.kind == edge.KINDS.JOB]
    assert jobs == sorted(jobs)
    assert len(acknowledged) == 4 * len(steps)
