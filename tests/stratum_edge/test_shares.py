"""Shares: real ones rebuilt from the wire, and the order in which a share is judged."""

import json
from pathlib import Path

import pytest

from nips.pool.binding import BoundWork
from nips.pool.hashing import build_header, display, hash_value, merkle_fold, sha256d
from nips.pool.job import build_job
from nips.pool.receipt import CREDITED, LATE_BLOCK
from stratum_edge.jobs import LiveJob, Payout, job_body
from stratum_edge.messages import DUPLICATE, LOW_DIFFICULTY, OTHER, STALE, UNAUTHORIZED, NotifyForm
from stratum_edge.shares import Assigned, MalformedShare, Submission, Verdict, parse_submission
from stratum_edge.shares import judge as judge_hashed

VECTORS = Path(__file__).parents[1] / "vectors" / "stratum"
BLOCK_TARGET = 0x7FFFFF << 232


@pytest.mark.parametrize("name", ["p2poolv2_signet_b", "publicpool_testnet_bitaxe"])
def test_a_real_share_is_rebuilt_from_its_lines(edge, name):
    """What a miner and its pool agreed on (tests/vectors/stratum) comes out of our parsers, to the byte."""
    vector = json.loads((VECTORS / f"{name}.json").read_text())
    notify = edge.read_notify(vector["notify"]["params"])
    params = list(vector["submit"]["params"])
    size = len(params[2])
    params[2] = params[2].ljust(16, "0")
    share = parse_submission(params, 0x1FFFE000 if len(params) == 6 else None)
    coinbase = notify.coinb1 + bytes.fromhex(vector["extranonce1"]) + share.extranonce2[: size // 2] + notify.coinb2
    root = merkle_fold(sha256d(coinbase), notify.merkle)
    header = build_header(
        notify.version | share.version_bits, notify.prevhash, root, share.ntime, notify.nbits, share.nonce
    )
    assert header.hex() == vector["expected"]["header"]
    assert display(sha256d(header)) == vector["expected"]["hash"]
    form = NotifyForm(
        prevhash=notify.prevhash,
        coinb1=notify.coinb1[:-32],
        coinb2=notify.coinb2,
        merkle=notify.merkle,
        version=notify.version,
        nbits=notify.nbits,
        ntime=notify.ntime,
    )
    line = json.loads(form.line(notify.job, notify.coinb1[-32:], notify.clean))
    assert line["params"] == vector["notify"]["params"]


def test_submissions_parse_strictly():
    good = ["u", "j", "0011223344556677", "6553F100", "0000002a"]
    assert parse_submission(good, None) == Submission(bytes.fromhex(good[2]), 0x6553F100, 42, 0)
    assert parse_submission([*good, "00002000"], 0).version_bits == 0x2000
    for bad in (good[:4], [*good, "0"], [*good, "00002000", "x"]):
        with pytest.raises(MalformedShare):
            parse_submission(bad, 0x1FFFE000)
    for params, mask in (([*good, "00002000"], None), (good, 0x1FFFE000)):
        refusal = parse_submission(params, mask).refusal
        assert refusal is not None
        assert refusal[0] == OTHER
        assert "configure" in refusal[1]


@pytest.fixture
def assigned(edge):
    """Work of a job, at difficulty 1/2^28: 16 hashes a share, and any second one is a block."""

    def make(block_bits=edge.EASY_BLOCK):
        template = edge.make_template()
        body = job_body(
            template, terms="ab" * 32, offer="main", heads={0: ""}, ms=edge.NOW, payout=Payout(b"\x51", b"/x/")
        )
        event = edge.EDGE_KEY.sign(build_job(edge.POOL, body))
        live = LiveJob(event, template, edge.make_terms(block_bits=block_bits), set())
        return Assigned(live.grade(edge.EASY), edge.MINER.pubkey, b"\x00\x00\x00\x07")

    return make


def judge(work: Assigned, share: Submission, mask: int, now: int) -> Verdict:
    version = work.live.job.version | share.version_bits
    digest = work.bound.hash(share.extranonce2, share.ntime, share.nonce, version)
    return judge_hashed(work, share, digest, mask, now)


def find(work: Assigned, target: int, above: int = -1, ntime: int | None = None, bits: int = 0) -> Submission:
    bound: BoundWork = work.bound
    job = work.live.job
    when = job.ntime if ntime is None else ntime
    for nonce in range(1 << 24):
        if above < hash_value(bound.hash(bytes(8), when, nonce, job.version | bits)) <= target:
            return Submission(bytes(8), when, nonce, bits)
    raise AssertionError("no nonce")


def test_a_good_share_and_the_same_again(edge, assigned):
    work = assigned(edge.HARD_BITS)
    share = find(work, work.grade.target)
    assert judge(work, share, 0, edge.NOW)[:4] == (0, "", CREDITED, False)
    assert judge(work, share, 0, edge.NOW)[0] == DUPLICATE
    assert len(work.live.seen) == 1


def test_a_block_is_seen_whatever_else_is_wrong_with_the_share(edge, assigned):
    cases = [
        (STALE, {}, edge.NOW + 600_000),
        (OTHER, {"ntime": edge.NOW // 1000 + 9000}, edge.NOW),
        (OTHER, {"bits": 0x2000}, edge.NOW),
        (UNAUTHORIZED, {}, edge.NOW),
    ]
    for code, wanted, now in cases:
        work = assigned()
        share = find(work, BLOCK_TARGET, **wanted)
        if code == UNAUTHORIZED:
            share = share._replace(refusal=(UNAUTHORIZED, "who?"))
        verdict = judge(work, share, 0, now)
        assert (verdict.code, verdict.status, verdict.is_block) == (code, LATE_BLOCK, True)
    work = assigned()
    assert judge(work, find(work, BLOCK_TARGET), 0, edge.NOW)[:4] == (0, "", CREDITED, True)


def test_no_share_is_harder_than_a_block(edge, assigned):
    work = assigned()
    assert work.grade.target >= work.live.block_target


def test_what_is_refused_leaves_no_trace(edge, assigned):
    work = assigned(edge.HARD_BITS)
    low = find(work, 1 << 256, above=work.grade.target)
    assert judge(work, low, 0, edge.NOW)[:3] == (LOW_DIFFICULTY, "low difficulty share", None)
    late = find(work, work.grade.target)
    assert judge(work, late, 0, edge.NOW + 600_000)[0] == STALE
    assert judge(work, find(work, work.grade.target, bits=0x1000), 0x1FFFE000, edge.NOW)[0] == OTHER
    assert not work.live.seen
    assert judge(work, late, 0, edge.NOW + 599_999)[0] == 0
