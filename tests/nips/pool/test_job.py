"""4211 jobs."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.pool.coinbase import MAX_MONEY_SAT
from nips.pool.job import Job, JobBody, build_job, parse_job
from tests.vectors.example_log import EDGE, POOL

u32 = st.integers(0, 0xFFFFFFFF)
id64 = st.binary(min_size=32, max_size=32).map(bytes.hex)
hash32 = st.binary(min_size=32, max_size=32)
bodies = st.builds(
    JobBody,
    ms=st.integers(0, 2**53 - 1),
    terms=id64,
    offer=st.text(st.characters(exclude_categories=("Cs",)), max_size=9),
    heads=st.dictionaries(st.integers(0, 65535), id64 | st.just(""), max_size=4),
    height=st.integers(1, 2**31 - 1),
    version=u32,
    prevhash=hash32,
    nbits=u32,
    ntime=u32,
    coinb1=st.binary(max_size=99),
    coinb2=st.binary(max_size=99),
    merkle=st.lists(hash32, max_size=32).map(tuple),
    version_mask=u32,
    upstream=st.none() | st.just({"pool": "x", "npub": "y"}),
)


def body_of(job):
    return JobBody(**{field.name: getattr(job, field.name) for field in fields(JobBody)})


def test_vectors(check_vectors, log):
    (job,) = check_vectors("job", parse_job, 1, 33)
    assert job == log.job
    assert job.signer == EDGE.pubkey
    assert (job.pool, job.height, job.offer) == (POOL, 201, "main")
    assert job.heads == {0: log.events["empty_receipt"].id}
    assert job.coinbase().value_sat == 25_00014300


@given(bodies)
def test_there_and_back(body):
    event = EDGE.sign(build_job(POOL, body))
    job = parse_job(event)
    assert body_of(job) == body
    assert event.created_at == body.ms // 1000
    assert (job.id, job.signer, job.pool) == (event.id, event.pubkey, POOL)
    assert EDGE.sign(build_job(job.pool, body_of(job))) == event


@given(bodies)
def test_a_coinbase_is_refused_or_right(body):
    job = parse_job(EDGE.sign(build_job(POOL, body)))
    with pytest.raises(InvalidPoolEvent):
        job.coinbase()


def test_another_height_is_another_coinbase(log):
    assert isinstance(log.job, Job)
    assert 0 < log.job.coinbase().value_sat <= MAX_MONEY_SAT
    for height in (200, 202, 1):
        with pytest.raises(InvalidPoolEvent):
            replace(log.job, height=height).coinbase()


def test_what_is_signed_is_what_is_bound(log):
    """A job that differs in anything has another id, so its shares another binding."""
    body = body_of(log.job)
    ids = {log.job.id}
    for change in (
        {"ms": body.ms + 1},
        {"terms": "00" * 32},
        {"offer": "solo"},
        {"heads": {0: ""}},
        {"coinb2": body.coinb2[:-1] + b"\1"},
        {"version_mask": 0},
        {"ntime": body.ntime + 1},
    ):
        ids.add(EDGE.sign(build_job(POOL, replace(body, **change))).id)
    assert len(ids) == 8


@given(st.data())
def test_nothing_else_is_raised(fuzz, log, data):
    fuzz(data, parse_job, log.events["job"])


def test_a_lane_of_5000_digits_is_refused(log):
    """int() of so many digits raises ValueError."""
    event = log.events["job"]
    unsigned = build_job(POOL, body_of(log.job))
    text = unsigned.content.replace('"heads":{"0"', '"heads":{"' + "9" * 5000 + '"')
    assert text != event.content
    with pytest.raises(InvalidPoolEvent, match="lane"):
        parse_job(EDGE.sign(type(unsigned)(event.kind, event.created_at, event.tags, text)))
