"""What a session was handed: found while its job is kept, forgotten in order, never somebody else's."""

from dataclasses import replace
from fractions import Fraction

from stratum_edge.handed import Handed
from stratum_edge.shares import Assigned

EN1 = b"\x00\x00\x00\x01"


def jobs(edge, count):
    bench = edge.Bench()
    lives = [bench.desk.current("main")]
    for number in range(1, count):
        bench.renew(replace(bench.template, prevhash=bytes([number]) * 32), edge.NOW + number)
        lives.append(bench.desk.current("main"))
    return lives


def hand(handed, edge, live, difficulty=None, knows=lambda _: True):
    line = handed.add(live, difficulty or edge.EASY, edge.MINER.pubkey, clean=True, knows=knows)
    return handed.latest.stratum_id, line


def test_work_is_made_ready_at_its_first_share_and_stays(edge):
    (live,) = jobs(edge, 1)
    handed = Handed()
    id, line = hand(handed, edge, live)
    assert b"set_difficulty" in line
    assert b"mining.notify" in line
    work = handed.find(id, edge.MINER.pubkey, EN1)
    assert type(work) is Assigned
    assert work.bound.miner == edge.MINER.pubkey
    assert handed.find(id, edge.MINER.pubkey, EN1) is work
    assert handed.find("nothing", edge.MINER.pubkey, EN1) is None
    handed.clear()
    assert handed.find(id, edge.MINER.pubkey, EN1) is None


def test_the_same_job_again_gets_a_new_id_and_the_difficulty_is_said_once(edge):
    (live,) = jobs(edge, 1)
    handed = Handed()
    first, _ = hand(handed, edge, live)
    second, line = hand(handed, edge, live)
    assert first != second
    assert b"set_difficulty" not in line
    third, line = hand(handed, edge, live, Fraction(1, 1 << 20))
    assert b"set_difficulty" in line
    assert handed.difficulty == Fraction(1, 1 << 20)
    assert all(handed.find(id, edge.MINER.pubkey, EN1) for id in (first, second, third))


def test_work_on_forgotten_jobs_is_forgotten(edge):
    lives = jobs(edge, 5)
    handed, kept = Handed(), {live.job.id for live in lives}
    ids = [hand(handed, edge, live)[0] for live in lives[:4]]
    kept -= {live.job.id for live in lives[:3]}
    last, _ = hand(handed, edge, lives[4], knows=kept.__contains__)
    found = [handed.find(id, edge.MINER.pubkey, EN1) is not None for id in [*ids, last]]
    assert found == [False, False, False, True, True]
