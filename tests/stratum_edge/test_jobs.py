"""Jobs: the coinbase's shape, the life of a job, the grades of its difficulty."""

from fractions import Fraction

import pytest

from nips.errors import InvalidPoolEvent
from nips.pool.coinbase import check_shape
from nips.pool.job import build_job, parse_job
from nips.pool.targets import target_from_bits
from stratum_edge.jobs import LATE_BLOCK_MS, ROLLING_MASK, JobBook, LiveJob, Payout, job_body

SCRIPT = b"\x00\x14" + b"\x55" * 20


def make_body(edge, template, ms=None, tag=b"/noncestr/", head=""):
    ms = edge.NOW if ms is None else ms
    return job_body(template, terms="ab" * 32, offer="main", heads={0: head}, ms=ms, payout=Payout(SCRIPT, tag))


def make_live(edge, template, ms=None, **limits):
    event = edge.EDGE_KEY.sign(build_job(edge.POOL, make_body(edge, template, ms)))
    return LiveJob(event, template, edge.make_terms(**limits), set())


def test_the_coinbase_has_the_protocols_shape_and_pays_all(edge):
    commitment = bytes.fromhex("6a24aa21a9ed") + b"\x11" * 32
    template = edge.make_template(height=17, witness_commitment=commitment, txids=(b"\x01" * 32, b"\x02" * 32))
    body = make_body(edge, template)
    coinbase = check_shape(body.coinb1, body.coinb2, 17)
    assert coinbase.prefix == b"\x01\x11\x0a/noncestr/"
    assert coinbase.value_sat == 100_000
    assert [output.script for output in coinbase.outputs] == [SCRIPT, commitment]
    assert len(body.merkle) == 2
    assert body.version_mask == ROLLING_MASK


def test_a_tag_that_leaves_no_room_is_refused(edge):
    with pytest.raises(InvalidPoolEvent):
        make_body(edge, edge.make_template(height=900_000), tag=b"x" * 60)
    assert make_body(edge, edge.make_template(), tag=b"").coinb1


def test_rolled_bits_are_cleared_and_time_is_not_before_mintime(edge):
    body = make_body(edge, edge.make_template(version=0x3FFFFFFF, curtime=100, mintime=200))
    assert body.version == 0x20001FFF
    assert body.ntime == 200


def test_a_grade_is_never_harder_than_a_block_nor_easier_than_the_terms(edge):
    live = make_live(edge, edge.make_template(), block_bits=0x1D00FFFF, easiest_bits=0x1E1FFFE0)
    assert live.grade(Fraction(1 << 30)).difficulty == 1
    assert live.grade(Fraction(1, 1 << 32)).difficulty == Fraction(1, 8192)
    assert live.grade(Fraction(1, 1 << 32)).target <= target_from_bits(0x1E1FFFE0)
    assert live.grade(Fraction(1, 2)) is live.grade(Fraction(1, 2))
    assert live.fresh_grade(Fraction(1, 2)).stratum_id != live.grade(Fraction(1, 2)).stratum_id


def test_the_network_says_what_a_block_is_when_the_terms_do_not(edge):
    assert make_live(edge, edge.make_template(), block_bits=None).block_target == target_from_bits(0x207FFFFF)


def test_another_prevhash_ends_a_job_and_time_does_too(edge):
    book = JobBook()
    first = make_live(edge, edge.make_template(), edge.NOW)
    assert book.add(first)
    same = make_live(edge, edge.make_template(), edge.NOW + 30_000)
    assert not book.add(same)
    assert (first.dies_at, same.dies_at) == (edge.NOW + 600_000, edge.NOW + 630_000)
    other = make_live(edge, edge.make_template(prevhash=b"\xbb" * 32), edge.NOW + 40_000)
    assert book.add(other)
    assert first.dies_at == same.dies_at == edge.NOW + 40_000
    assert book.seen_on(b"\xaa" * 32) is first.seen
    book.prune(edge.NOW + 40_000 + LATE_BLOCK_MS)
    assert not book.knows(first.job.id)
    assert book.knows(other.job.id)
    assert len(book) == 1
    assert book.seen_on(b"\xaa" * 32) == set()


def test_a_stale_grace_is_the_old_terms(edge):
    book = JobBook()
    first = make_live(edge, edge.make_template(), edge.NOW, stale_ms=2000)
    book.add(first)
    book.add(make_live(edge, edge.make_template(prevhash=b"\xbb" * 32), edge.NOW + 10))
    assert first.dies_at == edge.NOW + 2010


def test_the_event_is_the_body(edge):
    body = make_body(edge, edge.make_template(), head="cd" * 32)
    job = parse_job(edge.EDGE_KEY.sign(build_job(edge.POOL, body)))
    assert job.heads == {0: "cd" * 32}
    assert job.coinb1 == body.coinb1
