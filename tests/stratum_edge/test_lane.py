"""Lanes: contiguous windows, a time line that never runs back, batches that fit a relay."""

from hypothesis import given, settings
from hypothesis import strategies as st

from nips.nip01 import encode_event
from nips.pool.chain import Head
from nips.pool.receipt import MAX_EVENT_BYTES, MAX_JOBS, Receipt, parse_receipt
from nips.pool.targets import work_from_bits
from stratum_edge.lane import MAX_WINDOW_MS, Lane, SessionKey

BITS = 0x207FFFFF


def make_key(edge, number=0, worker="rig", bits=BITS):
    return SessionKey(
        edge.MINER.pubkey if number % 2 == 0 else edge.OTHER.pubkey, worker, number.to_bytes(4, "big"), bits
    )


def add(lane, key, now, job="ab" * 32, status=0, nonce=0):
    return lane.add(key, job, status, lane.at(now), 1_700_000_000, nonce, 0x20000000, bytes(8))


def close(edge, lane, now, **kw) -> Receipt:
    return parse_receipt(lane.close(edge.EDGE_KEY, now, **kw))


def test_an_empty_batch_and_the_next(edge):
    lane = Lane(edge.POOL, 3, edge.NOW)
    first = close(edge, lane, edge.NOW + 30_000)
    second = close(edge, lane, edge.NOW + 60_000, fin=True)
    assert (first.lane, first.link.seq, first.from_ms, first.to_ms) == (3, 0, edge.NOW, edge.NOW + 30_000)
    assert (second.link.seq, second.link.prev, second.from_ms) == (1, first.id, first.to_ms)
    assert second.fin
    assert not first.fin
    assert lane.head == Head(1, second.id)


def test_shares_are_numbered_by_session_job_and_miner(edge):
    lane = Lane(edge.POOL, 0, edge.NOW)
    entries = [
        add(lane, make_key(edge, 0), edge.NOW + 1),
        add(lane, make_key(edge, 1), edge.NOW + 2),
        add(lane, make_key(edge, 0), edge.NOW + 3, job="cd" * 32),
        add(lane, make_key(edge, 2), edge.NOW + 3, status=5),
    ]
    assert [(e.number, e.new_job, e.new_session) for e in entries] == [
        (0, True, True),
        (1, False, True),
        (2, True, False),
        (3, False, True),
    ]
    receipt = close(edge, lane, edge.NOW + 10)
    assert [(r.session, r.job, r.status, r.ms) for r in receipt.records()] == [
        (0, 0, 0, 1),
        (1, 0, 0, 2),
        (0, 1, 0, 3),
        (2, 0, 5, 3),
    ]
    assert receipt.miners == (edge.MINER.pubkey, edge.OTHER.pubkey)
    assert receipt.jobs == ("ab" * 32, "cd" * 32)
    assert receipt.work == 3 * work_from_bits(BITS), "what is not credited is no work"
    assert b"".join(entry.record for entry in entries) == receipt.shares


def test_rejects_are_told_of_without_moving_the_shares_numbers(edge):
    lane = Lane(edge.POOL, 0, edge.NOW)
    lane.reject(make_key(edge, 5), 21)
    lane.reject(make_key(edge, 5), 21)
    lane.reject(make_key(edge, 0), 23)
    assert add(lane, make_key(edge, 0), edge.NOW).new_session
    receipt = close(edge, lane, edge.NOW + 1)
    assert receipt.records()[0].session == 0
    assert {(receipt.sessions[r.session].extranonce1[-1], r.code, r.times) for r in receipt.rejects} == {
        (5, 21, 2),
        (0, 23, 1),
    }


def test_a_wall_clock_that_steps_back_breaks_nothing(edge):
    lane = Lane(edge.POOL, 0, edge.NOW)
    add(lane, make_key(edge), edge.NOW + 5000)
    add(lane, make_key(edge), edge.NOW - 3_600_000)
    first = close(edge, lane, edge.NOW - 3_600_000)
    assert [record.ms for record in first.records()] == [5000, 5000]
    assert first.to_ms == edge.NOW + 5001
    add(lane, make_key(edge), edge.NOW - 1_000)
    second = close(edge, lane, edge.NOW - 1_000)
    assert (second.from_ms, second.to_ms) == (first.to_ms, first.to_ms + 1)
    assert second.created_at >= first.created_at
    assert lane.after(edge.NOW) > second.to_ms


def test_a_job_that_ends_others_is_later_than_every_share(edge):
    lane = Lane(edge.POOL, 0, edge.NOW)
    last = lane.at(edge.NOW + 7)
    assert lane.after(edge.NOW) == last + 1


def test_a_gap_longer_than_a_window_is_bridged_by_empty_batches(edge):
    lane = Lane(edge.POOL, 0, edge.NOW)
    end = edge.NOW + 3 * MAX_WINDOW_MS // 2
    first = close(edge, lane, end)
    second = close(edge, lane, end)
    assert first.to_ms - first.from_ms == MAX_WINDOW_MS
    assert second.from_ms == first.to_ms
    assert second.to_ms >= end


def test_a_restored_batch_is_the_batch(edge):
    one, other = Lane(edge.POOL, 0, edge.NOW), Lane(edge.POOL, 0, edge.NOW)
    records, jobs, keys = [], ["ab" * 32, "cd" * 32], []
    for number in range(20):
        key = make_key(edge, number % 5)
        entry = add(one, key, edge.NOW + number, job=jobs[number % 3 == 2], nonce=number)
        records.append(entry.record)
        if entry.new_session:
            keys.append(key)
    other.restore(jobs, keys, records)
    assert close(edge, other, edge.NOW + 99).shares == close(edge, one, edge.NOW + 99).shares
    assert one.head == other.head


def test_a_batch_names_at_most_256_jobs(edge):
    lane = Lane(edge.POOL, 0, edge.NOW)
    for number in range(MAX_JOBS):
        job = f"{number:064x}"
        assert lane.fits(make_key(edge), job)
        add(lane, make_key(edge), edge.NOW, job=job)
    assert not lane.fits(make_key(edge), "ff" * 32)
    assert lane.fits(make_key(edge), job)
    assert len(close(edge, lane, edge.NOW + 1).jobs) == MAX_JOBS


@settings(max_examples=25, deadline=None)
@given(
    sessions=st.integers(1, 1500),
    jobs=st.integers(1, 200),
    worker=st.text("aZ0._-", max_size=32),
    rejects=st.integers(0, 900),
)
def test_a_full_batch_fits_a_relay(edge, sessions, jobs, worker, rejects):
    """Invariant: whatever fills a batch, its event stays within the limit, and only its last share may be refused."""
    lane = Lane(edge.POOL, 65535, edge.NOW, Head(10**9, "ef" * 32), 0)
    for number in range(rejects):
        lane.reject(make_key(edge, number, worker), 23)
    number = 0
    while True:
        key = make_key(edge, number % sessions, worker)
        job = f"{number % jobs:064x}"
        if not lane.fits(key, job):
            break
        add(lane, key, edge.NOW + number, job=job)
        number += 1
    event = lane.close(edge.EDGE_KEY, edge.NOW + number, fin=True)
    assert len(encode_event(event)) <= MAX_EVENT_BYTES
    assert parse_receipt(event).count == number
