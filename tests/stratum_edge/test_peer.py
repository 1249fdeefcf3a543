"""A connection's difficulty, the jobs it is given for it, and what it pays for what it does."""

from fractions import Fraction

import pytest

from nips.pool.receipt import parse_receipt
from nips.pool.targets import share_bits_from_difficulty, work_from_bits

EASY = Fraction(1, 1 << 24)
EASY_TARGET = (0xFFFF << 208) << 24


@pytest.fixture
def bench(edge):
    return edge.Bench()


@pytest.fixture
def peer(bench):
    return bench.peer()


def test_a_changed_difficulty_costs_no_share_and_each_is_credited_at_its_jobs(edge, bench, peer):
    peer.login(edge.NPUB)
    before = len(peer.notifies)
    peer.call("mining.suggest_difficulty", 1 / 1024)
    assert peer.difficulty == Fraction(1, 1024)
    assert len(peer.notifies) == before + 1
    assert peer.notifies[1].job != peer.notifies[0].job
    old = edge.mine(peer.notifies[0], peer.extranonce1, EASY_TARGET, above=(0xFFFF << 208) << 11)
    assert peer.submit(edge.NPUB, old, job=peer.notifies[0].job)["result"] is True
    bench.desk.seal(edge.NOW + 1)
    receipt = bench.events()[-1]
    bits = share_bits_from_difficulty(EASY)
    assert [s.share_bits for s in parse_receipt(receipt).sessions] == [bits]
    assert parse_receipt(receipt).work == work_from_bits(bits)


def test_going_back_to_a_difficulty_gets_a_new_job_id(edge, peer):
    """A Bitaxe ignores a notify whose job id it already has."""
    peer.login(edge.NPUB)
    for wish in (1 / 1024, 1 / (1 << 24), 1 / 1024):
        peer.call("mining.suggest_difficulty", wish)
    assert len({notify.job for notify in peer.notifies}) == 4


def test_set_difficulty_stands_right_before_its_notify(edge, peer):
    peer.login(edge.NPUB)
    out = peer.raw(b'{"id":9,"method":"mining.suggest_difficulty","params":[0.00015]}')
    assert [m.get("method") for m in out] == [None, "mining.set_difficulty", "mining.notify"]
    assert out[1]["params"] == [1 / 8192]


@pytest.mark.parametrize(
    ("password", "difficulty"),
    [
        ("d=1", Fraction(1)),
        ("x,diff=0.5", Fraction(1, 2)),
        ("d=3;x", Fraction(3)),
        ("d=1e-3", Fraction(1, 1024)),
        ("end=5", EASY),
        ("d=0", EASY),
        ("d=", EASY),
        ("x", EASY),
    ],
)
def test_the_password_may_name_a_start(edge, peer, password, difficulty):
    peer.login(edge.NPUB, password)
    assert peer.difficulty == difficulty


@pytest.mark.parametrize("wish", [0, -1, True, "5", None, [], {}])
def test_senseless_wishes_are_refused(edge, peer, wish):
    assert peer.call("mining.suggest_difficulty", wish)["error"][0] == 20
    assert peer.call("mining.suggest_target", wish if wish != "5" else "zz")["error"][0] == 20


def test_a_suggestion_before_login_is_the_start_and_bounds_hold(edge):
    peer = edge.Bench(start=Fraction(1), min_difficulty=Fraction(1, 64), max_difficulty=Fraction(4)).peer()
    assert peer.call("mining.suggest_target", f"{(0xFFFF << 208) // 2:064x}")["result"] is True
    peer.login(edge.NPUB)
    assert peer.difficulty == 2
    peer.call("mining.suggest_difficulty", 1e300)
    assert peer.difficulty == 4
    peer.call("mining.suggest_difficulty", 1e-300)
    assert peer.difficulty == Fraction(1, 64)


def test_a_minimum_difficulty_binds_vardiff(edge, peer):
    peer.call("mining.configure", ["minimum-difficulty"], {"minimum-difficulty.value": 1})
    peer.login(edge.NPUB)
    assert peer.difficulty == 1
    peer.mono = 600_000
    peer.session.tick(peer.mono)
    peer.read()
    assert peer.difficulty == 1


def test_silence_lowers_the_difficulty_with_a_new_job_id(edge, peer):
    peer.login(edge.NPUB, "d=1")
    peer.mono = 61_000
    peer.session.tick(peer.mono)
    peer.read()
    assert peer.difficulty == Fraction(1, 8)
    assert peer.notifies[1].job != peer.notifies[0].job
    assert not peer.notifies[1].clean


def test_too_many_shares_raise_it_at_once(edge, peer):
    peer.login(edge.NPUB)
    for start in range(16):
        peer.mono += 10
        assert (
            peer.submit(
                edge.NPUB,
                edge.mine(peer.notifies[0], peer.extranonce1, EASY_TARGET, start=start),
                job=peer.notifies[0].job,
            )["result"]
            is True
        )
    assert peer.difficulty >= 4 * EASY
    assert peer.notifies[-1].clean


def test_who_only_errs_pays_and_who_errs_slowly_stays(edge, bench):
    flood = bench.peer()
    out = flood.raw(*[b"garbage"] * 100)
    assert flood.session.closing == "too many errors"
    assert 20 < len(out) < 30
    assert "closing" in out[-1]["error"][1]
    slow = bench.peer()
    for second in range(200):
        slow.mono = second * 3000
        slow.raw(b"garbage")
    assert slow.session.closing == ""
    assert bench.desk.counts.bad_lines == 225
    long = bench.peer()
    assert "too long" in long.raw(None)[0]["error"][1]


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":1,"method":"mining.configure","params":[["version-rolling"],{}]}',
        b'{"id":1,"method":"mining.extranonce.subscribe","params":[]}',
        b'{"id":1,"method":"mining.subscribe","params":[]}',
        b'{"id":1,"method":"mining.authorize","params":["%s","x"]}',
        b'{"id":1,"method":"mining.suggest_difficulty","params":[0.001]}',
        b'{"id":1,"method":"mining.suggest_difficulty","params":[0]}',
        b'{"id":1,"method":"mining.suggest_target","params":["x"]}',
        b'{"id":1,"method":"mining.ping","params":[]}',
        b'{"id":1,"method":"mining.unheard_of","params":[]}',
        b'{"id":1,"method":"pong"}',
        b"",
    ],
)
def test_whatever_is_asked_a_flood_of_it_ends(edge, bench, line):
    peer = bench.peer()
    peer.login(edge.NPUB)
    line = line.replace(b"%s", edge.NPUB.encode())
    answers = len(peer.raw(*[line] * 2000)) + len(peer.raw(*[line] * 4000))
    assert peer.session.closing == "too many errors"
    assert answers <= 2 * 1001


def test_endless_wishes_end_the_connection_and_few_or_equal_ones_do_not(edge, bench):
    fickle = bench.peer()
    fickle.login(edge.NPUB)
    for number in range(100):
        line = b'{"id":1,"method":"mining.suggest_difficulty","params":[%d]}' % (1000 + number)
        fickle.raw(line)
    assert fickle.session.closing == "too many errors"
    assert len(fickle.notifies) < 30
    steady = bench.peer()
    steady.login(edge.NPUB)
    for _ in range(100):
        steady.raw(b'{"id":1,"method":"mining.suggest_difficulty","params":[0.001]}')
    assert steady.session.closing == ""
