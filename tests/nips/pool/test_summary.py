"""4221 summaries and their parts (4218)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.nip01 import encode_event
from nips.pool.chain import FIRST, Head
from nips.pool.receipt import MAX_EVENT_BYTES
from nips.pool.summary import (
    HOUR_MS,
    MAX_ROWS,
    OTHER_WORKERS,
    Refused,
    SummaryBody,
    SummaryRow,
    build_summary,
    build_summary_part,
    parse_summary,
    parse_summary_part,
    split_rows,
)
from nips.pool.targets import work_from_bits
from tests.vectors.example_log import ACCOUNTING, POOL

number = st.integers(0, 2**53 - 1)
id64 = st.binary(min_size=32, max_size=32).map(bytes.hex)
lane = st.builds("{}/{}".format, id64, st.integers(0, 65535))
worker = st.text("abcXYZ019._-", max_size=32) | st.just(OTHER_WORKERS) | st.just("#0011aaff")
rejects = st.dictionaries(st.integers(0, 99), st.integers(1, 2**40), max_size=3).map(
    lambda found: tuple(Refused(code, times) for code, times in sorted(found.items()))
)
bits = st.sampled_from([0x207FFFFF, 0x1D00FFFF, 0x1B4188F6])
row = st.builds(SummaryRow, id64, worker, st.integers(0, 10**40), st.integers(1, 10**6), rejects, bits) | st.builds(
    SummaryRow, id64, worker, st.just(0), st.just(0), rejects.filter(bool), st.just(0)
)
rows = st.lists(row, max_size=8, unique_by=lambda row: (row.miner, row.worker)).map(
    lambda found: tuple(sorted(found, key=lambda row: (row.miner, row.worker)))
)
bodies = st.builds(
    SummaryBody,
    st.integers(0, 10**5).map(lambda hour: hour * HOUR_MS),
    st.integers(10**5 + 1, 10**6).map(lambda hour: hour * HOUR_MS),
    st.dictionaries(lane, st.builds(Head, number, id64), min_size=1, max_size=3),
    rows,
    st.none() | st.just({"funds_msat": 1}),
)


def test_vectors(check_vectors, log):
    (summary,) = check_vectors("summary", parse_summary, 1, 40)
    assert (summary.rows, summary.heads) == (log.summary.rows, log.summary.heads)
    # By hand: three shares of each miner, at 1024, 1024, 4096 hashes and at 4096 each.
    assert [(row.worker, row.work, row.shares) for row in summary.rows] == [("rig-1", 6144, 3), ("", 12288, 3)]
    assert (summary.work, summary.shares, summary.rejects) == (18432, 6, ((23, 2),))
    assert summary.rows[0].rejects == ((23, 2),)
    # The last share is the block: nothing is below it by chance more than a few times.
    assert work_from_bits(summary.rows[1].best_bits) >= 4096
    rebuilt = build_summary(POOL, summary.link, log.summary, summary.created_at)
    assert ACCOUNTING.sign(rebuilt) == log.events["summary"]
    (part,) = check_vectors("summary_part", parse_summary_part, 1, 20)
    assert (part.part, part.rows) == (0, log.summary.rows[:1])


@given(bodies)
def test_there_and_back(body):
    event = ACCOUNTING.sign(build_summary(POOL, FIRST, body, 9))
    summary = parse_summary(event)
    assert SummaryBody(summary.from_ms, summary.to_ms, summary.heads, summary.rows, summary.treasury) == body
    assert (summary.work, summary.shares, summary.rejects) == (body.work, body.shares, body.rejects)
    assert (summary.id, summary.signer, summary.link, summary.parts) == (event.id, ACCOUNTING.pubkey, FIRST, 0)


@given(rows.filter(bool), st.integers(0, 9999))
def test_a_part_there_and_back(told, number):
    part = parse_summary_part(ACCOUNTING.sign(build_summary_part(POOL, FIRST, number, told, 9)))
    assert (part.part, part.rows) == (number, told)


@given(st.data(), bodies)
def test_fuzz(fuzz, data, body):
    fuzz(data, parse_summary, ACCOUNTING.sign(build_summary(POOL, FIRST, body, 9)))


def many(miners, workers=1, name="rig", work=2**40, codes=1):
    refused = tuple(Refused(20 + code, 5) for code in range(codes))
    return tuple(
        SummaryRow(f"{miner:064x}", f"{name}{number:04d}", work, 360, refused, 0x1A012345)
        for miner in range(miners)
        for number in range(workers)
    )


@pytest.mark.parametrize(
    "told", [many(10_000), many(300, 40), many(2_000, 1, "w" * 28, 10**30, 8), many(1, 1), many(1, 5_000)]
)
def test_parts_hold_all_rows_and_fit_an_event(told):
    parts = split_rows(told)
    assert tuple(row for part in parts for row in part) == told
    head = Head(2**50, "ff" * 32)
    for number, part in enumerate(parts):
        assert len(part) <= MAX_ROWS
        event = ACCOUNTING.sign(build_summary_part(POOL, head.next(), number, part, 1_700_000_000))
        assert parse_summary_part(event).rows == part
        assert len(encode_event(event)) < MAX_EVENT_BYTES


def test_the_size_that_the_spec_tells():
    parts = split_rows(many(10_000))
    events = [ACCOUNTING.sign(build_summary_part(POOL, FIRST, n, part, 9)) for n, part in enumerate(parts)]
    assert len(events) == 27
    assert 1.2e6 < sum(len(encode_event(event)) for event in events) < 1.4e6


def test_rows_that_need_parts_are_refused_in_one_event():
    body = SummaryBody(0, HOUR_MS, {f"{'aa' * 32}/0": Head(0, "00" * 32)}, many(1_000))
    assert len(split_rows(body.rows)) > 1
    with pytest.raises(ValueError, match="need parts"):
        build_summary(POOL, FIRST, body, 9)
    parts = len(split_rows(body.rows))
    summary = parse_summary(ACCOUNTING.sign(build_summary(POOL, FIRST, body, 9, parts=parts)))
    assert (summary.parts, summary.rows, summary.work) == (parts, (), 1_000 * 2**40)


def test_a_part_of_a_statement_is_no_part_of_a_summary():
    unsigned = build_summary_part(POOL, FIRST, 0, many(1), 9)
    fields = {**json.loads(unsigned.content), "of": 4214}
    with pytest.raises(InvalidPoolEvent, match="no part of a summary"):
        parse_summary_part(ACCOUNTING.sign(type(unsigned)(4218, 9, unsigned.tags, json.dumps(fields))))
