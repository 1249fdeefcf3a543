"""Sessions: two peers in memory, every order of login, every refusal, and a fuzzer with its invariant."""

import json
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nips.pool.binding import binding
from nips.pool.receipt import parse_receipt
from nips.pool.targets import share_bits_from_difficulty
from stratum_edge.framing import HTTP_ANSWER, LineBuffer
from stratum_edge.session import HANDLERS
from stratum_edge.states import CLOSE, TRANSITIONS, State

EASY = Fraction(1, 1 << 24)
EASY_TARGET = (0xFFFF << 208) << 24


@pytest.fixture
def bench(edge):
    return edge.Bench()


@pytest.fixture
def peer(bench):
    return bench.peer()


def test_subscribe_authorize_mine(edge, peer):
    reply = peer.call("mining.subscribe", "cpuminer/2.5.1")
    (names, extranonce1, size) = reply["result"]
    assert [name for name, _ in names] == ["mining.set_difficulty", "mining.notify"]
    assert len(extranonce1) == 8
    assert size == 8
    assert peer.notifies == []
    peer.extranonce1 = bytes.fromhex(extranonce1)
    assert peer.call("mining.subscribe", "cpuminer/2.5.1")["result"] == reply["result"]
    assert peer.call("mining.authorize", edge.NPUB + ".w", "x") == {"id": 3, "result": True, "error": None}
    assert peer.difficulty == EASY
    assert len(peer.notifies) == 1
    assert peer.notifies[0].clean
    assert peer.submit(edge.NPUB + ".w", peer.find())["result"] is True
    assert peer.session.agent == "cpuminer/2.5.1"


def test_the_binding_of_the_notified_coinbase_is_the_miners(edge, bench, peer):
    peer.login(edge.NPUB)
    job = bench.desk.current("main").job
    bound = binding(bytes.fromhex(job.id), bytes.fromhex(edge.MINER.pubkey), share_bits_from_difficulty(EASY))
    assert peer.notifies[0].coinb1 == job.coinb1 + bound
    assert peer.notifies[0].prevhash == job.prevhash


def test_authorize_may_come_first_and_requests_may_be_pipelined(edge, peer):
    lines = [
        json.dumps({"id": 1, "method": "mining.configure", "params": [["version-rolling"], {}]}),
        json.dumps({"id": 2, "method": "mining.authorize", "params": [edge.NPUB, "x"]}),
        json.dumps({"id": 3, "method": "mining.subscribe", "params": []}),
    ]
    out = peer.raw(*(line.encode() for line in lines))
    assert [m.get("method") or m["id"] for m in out] == [
        1,
        "mining.set_version_mask",
        2,
        3,
        "mining.set_difficulty",
        "mining.notify",
    ]


def test_before_login_submits_are_refused_with_the_right_code(edge, peer):
    params = [edge.NPUB, "1", "00" * 8, "00000000", "00000000"]
    assert peer.call("mining.submit", *params)["error"][0] == 25
    peer.call("mining.subscribe")
    assert peer.call("mining.submit", *params)["error"][0] == 24


def test_bad_names_hear_why(edge, peer):
    peer.call("mining.subscribe")
    for user, words in [("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "bitcoin"), (edge.NPUB[:-2], "checksum")]:
        code, text, _ = peer.call("mining.authorize", user, "x")["error"]
        assert code == 24
        assert words in text
    assert peer.call("mining.authorize")["error"][0] == 24
    assert peer.call("mining.authorize", 5, "x")["error"][0] == 24
    assert peer.session.state is State.SUBSCRIBED
    assert peer.notifies == []


def test_more_workers_of_one_npub_but_no_other_npub(edge, peer):
    peer.login(edge.NPUB + ".a")
    assert peer.call("mining.authorize", edge.NPUB + ".b", "x")["result"] is True
    error = peer.call("mining.authorize", edge.OTHER_NPUB, "x")["error"]
    assert error[0] == 24
    assert "open another connection" in error[1]
    assert len(peer.notifies) == 1
    assert peer.submit(edge.NPUB + ".b", peer.find())["result"] is True
    assert peer.submit(edge.NPUB + ".c", peer.find(1))["error"][0] == 24


def test_who_is_there_is_counted_until_it_goes(edge, bench):
    first, second = bench.peer(), bench.peer()
    for peer, worker in ((first, "a"), (first, "b"), (second, "b"), (second, "b")):
        peer.call("mining.subscribe", "x")
        assert peer.call("mining.authorize", f"{edge.NPUB}.{worker}", "x")["result"] is True
    present = bench.desk.counts.present
    assert (present.miners, present.workers) == (1, 2)
    first.session.close(0)
    first.session.close(0)
    assert (present.miners, present.workers) == (1, 1)
    second.session.close(0)
    assert (present.miners, present.workers) == (0, 0)


def test_every_extension_is_answered_and_only_who_configured_gets_a_mask(peer):
    extensions = ["version-rolling", "minimum-difficulty", "subscribe-extranonce", "info", "unheard-of"]
    options = {
        "version-rolling.mask": "ffffffff",
        "version-rolling.min-bit-count": 16,
        "minimum-difficulty.value": 2048,
    }
    reply = peer.call("mining.configure", extensions, options)
    assert reply["result"] == {
        "version-rolling": True,
        "version-rolling.mask": "1fffe000",
        "minimum-difficulty": True,
        "subscribe-extranonce": True,
        "info": True,
        "unheard-of": False,
    }
    out = peer.raw(
        b'{"id":9,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"00ff0000"}]}'
    )
    assert out[0]["result"]["version-rolling.mask"] == "00ff0000"
    assert out[1]["params"] == ["00ff0000"]
    out = peer.raw(b'{"id":10,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1"}]}')
    assert [m.get("result") for m in out] == [{"version-rolling": False}]


def test_version_bits_within_the_mask_count_and_others_do_not(edge, peer):
    peer.call("mining.configure", ["version-rolling"], {"version-rolling.mask": "00ffe000"})
    peer.login(edge.NPUB)
    assert peer.submit(edge.NPUB, peer.find(bits=0x00002000), rolled=True)["result"] is True
    assert "mask" in peer.submit(edge.NPUB, peer.find(1, bits=0x10000000), rolled=True)["error"][1]
    assert peer.submit(edge.NPUB, peer.find(2))["error"][0] == 20


def test_bits_without_rolling_are_an_error(edge, peer):
    peer.login(edge.NPUB)
    assert "configure" in peer.submit(edge.NPUB, peer.find(bits=0x2000), rolled=True)["error"][1]


def test_the_same_share_twice_a_low_one_and_a_foreign_job(edge, peer):
    peer.login(edge.NPUB)
    found = peer.find()
    assert peer.submit(edge.NPUB, found)["result"] is True
    assert peer.submit(edge.NPUB, found)["error"][0] == 22
    params = found.params(edge.NPUB, peer.notifies[0].job)
    assert peer.call("mining.submit", *[p.upper() if i > 1 else p for i, p in enumerate(params)])["error"][0] == 22
    low = peer.find(1, target=1 << 256, above=EASY_TARGET)
    assert peer.submit(edge.NPUB, low)["error"][0] == 23
    assert peer.submit(edge.NPUB, found, job="nope")["error"][0] == 21


def test_another_sessions_job_id_is_not_mine(edge, bench):
    hard, easy = bench.peer(), bench.peer()
    hard.login(edge.NPUB, "d=1")
    easy.login(edge.OTHER_NPUB)
    found = edge.mine(easy.notifies[0], easy.extranonce1, 1 << 255)
    assert hard.submit(edge.NPUB, found, job=easy.notifies[0].job)["error"][0] == 21


@pytest.mark.parametrize(
    ("place", "value"),
    [(2, "00" * 7), (2, "00" * 9), (2, "zz" * 8), (2, 5), (3, "1234567"), (3, "0x123456"), (4, "12 34 56"), (4, None)],
)
def test_fields_of_the_wrong_form_are_refused(edge, peer, place, value):
    peer.login(edge.NPUB)
    params = peer.find().params(edge.NPUB, peer.notifies[0].job)
    params[place] = value
    assert peer.call("mining.submit", *params)["error"][0] == 20


def test_ntime_lies_between_the_jobs_and_two_hours_on(edge, bench, peer):
    peer.login(edge.NPUB)
    ntime = peer.notifies[0].ntime
    assert peer.submit(edge.NPUB, peer.find(ntime=ntime + 7200))["result"] is True
    assert "ntime" in peer.submit(edge.NPUB, peer.find(1, ntime=ntime + 7201))["error"][1]
    assert "ntime" in peer.submit(edge.NPUB, peer.find(2, ntime=ntime - 1))["error"][1]


def test_a_template_of_the_future_does_not_move_the_limit(edge, bench, peer):
    peer.login(edge.NPUB)
    bench.renew(edge.make_template(curtime=edge.NOW // 1000 + 1000), edge.NOW + 1)
    assert "ntime" in peer.submit(edge.NPUB, peer.find(ntime=edge.NOW // 1000 + 7201))["error"][1]
    assert peer.submit(edge.NPUB, peer.find())["result"] is True


def test_a_new_prevhash_makes_old_work_stale_and_a_refresh_does_not(edge, bench, peer):
    peer.login(edge.NPUB)
    bench.renew(edge.make_template(), edge.NOW + 1000)
    assert not peer.notifies[1].clean
    old = edge.mine(peer.notifies[0], peer.extranonce1, EASY_TARGET)
    assert peer.submit(edge.NPUB, old, job=peer.notifies[0].job)["result"] is True
    bench.renew(edge.make_template(height=201, prevhash=b"\xbb" * 32), edge.NOW + 2000)
    assert peer.notifies[2].clean
    late = edge.mine(peer.notifies[0], peer.extranonce1, EASY_TARGET, start=1)
    assert peer.submit(edge.NPUB, late, job=peer.notifies[0].job)["error"][0] == 21
    assert peer.submit(edge.NPUB, peer.find())["result"] is True


def test_small_requests_are_answered_and_odd_ones_do_no_harm(edge, peer):
    assert peer.call("mining.ping")["result"] == "pong"
    assert peer.call("mining.extranonce.subscribe")["result"] is True
    assert peer.call("mining.multi_version", 1)["error"][0] == 20
    assert peer.raw(b'{"id":7,"result":"Bitaxe/2.0","error":null}') == []
    assert peer.raw(b'{"id":7,"method":"pong"}') == []
    assert peer.raw(b"", b"\r", b"  ") == []
    assert peer.raw(b'{"id":7,"method":"mining.subscribe","params":{"a":1}}')[0]["error"][0] == 20
    assert peer.session.closing == ""


def test_a_session_is_resumed_with_its_extranonce1(edge, bench):
    first = bench.peer()
    id = first.call("mining.subscribe", "a")["result"][0][0][1]
    extranonce1 = first.session.seat.extranonce1
    first.session.close(0)
    assert first.session.state is State.CLOSED
    second = bench.peer()
    second.login(edge.NPUB, session_id=id)
    assert second.extranonce1 == extranonce1


def test_http_gets_one_answer_and_the_end(peer):
    peer.session.receive([b"GET / HTTP/1.1\r", b"Host: x\r", b"\r"], 0)
    assert peer.session.take_output() == HTTP_ANSWER
    assert peer.session.closing


def test_a_full_disk_stops_the_counting_but_no_block(edge):
    bench = edge.Bench(edge.make_terms(block_bits=edge.EASY_BLOCK))
    peer = bench.peer()
    peer.login(edge.NPUB)
    bench.journal.full = True
    bench.journal.flush()
    target = 0x7FFFFF << 232
    no_block = edge.mine(peer.notifies[0], peer.extranonce1, 1 << 256, above=target)
    assert peer.submit(edge.NPUB, no_block)["error"][0] in (20, 23)
    assert peer.submit(edge.NPUB, edge.mine(peer.notifies[0], peer.extranonce1, target))["result"] is True
    assert len(bench.desk.found) == 1


def test_a_refused_share_of_a_full_disk_is_welcome_later(edge, bench, peer):
    peer.login(edge.NPUB)
    bench.journal.full = True
    bench.journal.flush()
    found = peer.find()
    assert "can't store" in peer.submit(edge.NPUB, found)["error"][1]
    bench.journal.full = False
    bench.journal.flush()
    assert peer.submit(edge.NPUB, found)["result"] is True


def test_the_table_is_whole():
    """Every state but the last knows every event, and whatever happens a connection can be closed."""
    events = {event for _, event in TRANSITIONS}
    assert {(s, e) for s in State if s is not State.CLOSED for e in events} == set(TRANSITIONS)
    assert all(TRANSITIONS[state, CLOSE] is State.CLOSED for state in State if state is not State.CLOSED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
METHODS = st.sampled_from([*HANDLERS, "mining.submit", "client.get_version", "pong"]) | st.text(max_size=12)


def request_lines(npub):
    params = st.lists(JSON, max_size=6) | st.just([npub, "x"]) | JSON
    submit = st.tuples(st.just(npub), JSON, st.sampled_from(["00" * 8, "zz"]), st.just("6553f100"), st.just("00000001"))
    whole = st.fixed_dictionaries({"id": JSON, "method": METHODS, "params": params | submit})
    return st.one_of(
        whole.map(lambda v: json.dumps(v).encode()), st.binary(max_size=80).map(lambda b: b.replace(b"\n", b""))
    )


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_fuzz(edge, data):
    """Invariant: no line crashes a session; every line with a method or of garbage is answered, or the connection is
    closing with a reason; all output is valid JSON, a line each; nothing is notified before authorize; and how the
    stream is cut changes nothing.
    """
    lines = data.draw(st.lists(request_lines(edge.NPUB), max_size=12))
    outputs = []
    for cut in (1 << 20, 7):
        bench = edge.Bench()
        session = bench.peer().session
        buffer, output = LineBuffer(), b""
        stream = b"".join(line + b"\n" for line in lines)
        for at in range(0, len(stream), cut):
            session.receive(buffer.feed(stream[at : at + cut]), 0)
            bench.desk.turn.settle(edge.NOW, 0)
            output += session.take_output()
        outputs.append(output)
        if output.endswith(HTTP_ANSWER):
            assert session.closing
            output = output[: -len(HTTP_ANSWER)]
        messages = [json.loads(line) for line in output.splitlines()]
        replies = [m for m in messages if "method" not in m]
        expected = 0
        for line in lines:
            if not line.strip():
                continue
            try:
                value = json.loads(line)
                silent = isinstance(value, dict) and value.get("method") in (None, "pong", "mining.pong")
            except ValueError:
                silent = False
            expected += not silent
        assert len(replies) >= expected or session.closing
        if session.state is not State.MINING:
            assert not any(m.get("method") == "mining.notify" for m in messages)
    assert outputs[0] == outputs[1]


def test_a_block_by_an_unknown_worker_or_without_its_bits_is_handed_in_and_not_credited(edge):
    bench = edge.Bench(edge.make_terms(block_bits=edge.EASY_BLOCK))
    peer = bench.peer()
    peer.call("mining.configure", ["version-rolling"], {"version-rolling.mask": "ffffffff"})
    peer.login(edge.NPUB)
    target = 0x7FFFFF << 232
    strange = peer.submit("somebody", peer.find(target=target), rolled=True)
    assert strange["error"][0] == 24
    bare = peer.submit(edge.NPUB, peer.find(start=1, target=target))
    assert bare["error"][0] == 20
    assert len(bench.desk.found) == 2
    assert bench.desk.counts.accepted == 0
    receipts = [parse_receipt(event) for event in bench.events() if event.kind == edge.KINDS.RECEIPT]
    assert [record.status for receipt in receipts for record in receipt.records()] == [5, 5]
