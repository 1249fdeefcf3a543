"""The desk: what it journals is what a restart finds, at every byte it could have stopped at."""

from itertools import pairwise

import pytest

from nips.errors import InvalidEvent
from nips.pool.kinds import RECEIPT
from nips.pool.receipt import parse_receipt
from stratum_edge.desk import Desk, House
from stratum_edge.errors import ForeignJournal
from stratum_edge.extranonce import Seats
from stratum_edge.jobs import Payout
from stratum_edge.journal import encode_record, read_records, recover
from stratum_edge.lane import Lane
from stratum_edge.privacy import Hidden, HiddenNames
from stratum_edge.status import Counts

BLOCK_TARGET = 0x7FFFFF << 232


def restart(edge, stored: bytes, now: int, signer=None):
    """A new desk on what a journal holds, as the service begins it."""
    recovered = recover(read_records(stored))
    assert recovered is not None
    lane = Lane(edge.POOL, recovered.checkpoint.lane, recovered.from_ms, recovered.head, recovered.newest_s)
    house = House(edge.POOL, Payout(b"\x51", b""))
    desk = Desk(house, signer or edge.EDGE_KEY, edge.MemoryJournal(), lane, Seats(b"\x08" * 32), Counts(0), ["main"])
    desk.take_up(recovered, now)
    desk.begin_segment()
    return desk


def events_of(desk):
    return [event for publication in desk.outbox for event in publication.events]


def mined(edge, bench, shares=6, seal_at=3, **wanted):
    """A bench with some shares, sealed in between; the hashes with the journal's length once each was stored."""
    peer = bench.peer()
    peer.login(edge.NPUB)
    stored = []
    for start in range(shares):
        found = peer.find(start, **wanted)
        peer.now += 10
        assert peer.submit(edge.NPUB, found)["result"] is True
        stored.append((found.hash, len(bench.journal.stored)))
        if start == seal_at:
            bench.desk.seal(peer.now)
            bench.journal.flush()
    return stored


def test_a_hidden_workers_name_is_in_no_event_from_the_next_job_on(edge):
    names = HiddenNames(bytes(32))
    bench = edge.Bench(privacy=names)
    mined(edge, bench, shares=2, seal_at=1)
    names.put(bench.peers[0].session.miner, Hidden(everything=True, workers=frozenset()))
    bench.renew(edge.make_template(), edge.NOW + 60_000)
    peer = bench.peers[0]
    for start in range(3):
        assert peer.submit(edge.NPUB, peer.find(100 * (start + 1)))["result"] is True
    bench.desk.seal(peer.now + 1)
    first, second = (parse_receipt(event) for event in bench.events() if event.kind == RECEIPT)
    worker = first.sessions[0].worker
    assert {session.worker for session in first.sessions} == {worker}
    assert not worker.startswith("#")
    assert {session.worker for session in second.sessions} == {names.in_log(peer.session.miner, worker)}


def test_a_crash_at_every_byte_loses_no_stored_share_and_doubles_none(edge):
    bench = edge.Bench()
    begun = len(bench.journal.stored)
    stored = mined(edge, bench)
    data = bytes(bench.journal.stored)
    for cut in range(begun, len(data) + 1, 7):
        desk = restart(edge, data[:cut], edge.NOW + 60_000)
        events = events_of(desk)
        found = [digest for _, _, digest in edge.good_shares(events, bench.terms)]
        assert found[: sum(length <= cut for _, length in stored)] == [h for h, length in stored if length <= cut]
        assert len(set(found)) == len(found)


def test_what_was_published_is_not_sent_again_and_what_was_not_is(edge):
    bench = edge.Bench()
    mined(edge, bench)
    bench.desk.published(bench.desk.outbox[0])
    bench.journal.flush()
    desk = restart(edge, bytes(bench.journal.stored), edge.NOW + 60_000)
    assert [publication.seq for publication in desk.outbox] == [1]
    desk = restart(edge, bytes(desk.journal.stored), edge.NOW + 90_000)
    assert [publication.seq for publication in desk.outbox] == [1]


def test_the_second_restart_sends_the_same_event(edge):
    bench = edge.Bench()
    mined(edge, bench)
    once = restart(edge, bytes(bench.journal.stored), edge.NOW + 60_000)
    twice = restart(edge, bytes(once.journal.stored), edge.NOW + 120_000)
    assert [event.id for event in events_of(once)] == [event.id for event in events_of(twice)]


def test_a_block_is_announced_with_its_batch_and_handed_in_until_answered(edge):
    bench = edge.Bench(edge.make_terms(block_bits=edge.EASY_BLOCK))
    mined(edge, bench, shares=1, seal_at=-1, target=BLOCK_TARGET)
    assert [event.kind for event in bench.events()] == [edge.KINDS.JOB, edge.KINDS.RECEIPT, edge.KINDS.BLOCK]
    begun = bytes(bench.journal.stored)
    desk = restart(edge, begun, edge.NOW + 60_000)
    assert len(desk.found) == 1
    assert desk.found[0].block == bench.desk.found[0].block
    bench.desk.resolved(bench.desk.found[0])
    bench.journal.flush()
    assert not restart(edge, bytes(bench.journal.stored), edge.NOW + 60_000).found


def test_a_crash_between_a_block_and_its_seal_announces_the_same_block(edge):
    bench = edge.Bench(edge.make_terms(block_bits=edge.EASY_BLOCK))
    begun = len(bench.journal.stored)
    mined(edge, bench, shares=1, seal_at=-1, target=BLOCK_TARGET)
    data = bytes(bench.journal.stored)
    (block,) = [event for event in bench.events() if event.kind == edge.KINDS.BLOCK]
    announced = 0
    for cut in range(begun, len(data), 11):
        desk = restart(edge, data[:cut], edge.NOW + 60_000)
        blocks = [event for event in events_of(desk) if event.kind == edge.KINDS.BLOCK]
        assert len(blocks) == len(desk.found)
        for event in blocks:
            announced += 1
            assert event.content == block.content
            receipt = next(e for e in events_of(desk) if e.id == event.tag_values("e")[0])
            assert parse_receipt(receipt).count == 1
    assert announced


def test_a_journal_of_another_key_or_pool_is_refused(edge):
    bench = edge.Bench()
    with pytest.raises(ForeignJournal):
        restart(edge, bytes(bench.journal.stored), edge.NOW, signer=edge.POOL_KEY)


def test_a_forged_receipt_in_the_journal_is_noticed(edge):
    bench = edge.Bench()
    mined(edge, bench)
    receipt = next(event for event in bench.events() if event.kind == edge.KINDS.RECEIPT)
    forged = with_signature(bench, receipt.sig)
    with pytest.raises(InvalidEvent):
        restart(edge, forged, edge.NOW + 60_000)


def with_signature(bench, sig):
    """The journal with another signature in a record whose checksum fits."""
    out = b""
    for record in read_records(bytes(bench.journal.stored)):
        out += encode_record(record.kind, record.payload.replace(sig.encode(), b"00" * 64))
    return out


def test_a_suspend_is_bridged_before_the_next_job(edge):
    bench = edge.Bench()
    later = edge.NOW + 3_600_000
    bench.renew(edge.make_template(now_s=later // 1000), later)
    peer = bench.peer()
    peer.now = later + 5
    peer.login(edge.NPUB)
    assert peer.submit(edge.NPUB, peer.find())["result"] is True
    bench.desk.seal(later + 10)
    assert len(edge.good_shares(bench.events(), bench.terms)) == 1


def test_a_leap_of_the_clock_makes_old_jobs_stale_and_closes_the_window(edge):
    bench = edge.Bench()
    peer = bench.peer()
    peer.login(edge.NPUB)
    found = peer.find()
    peer.now = edge.NOW + 100 * 86_400_000
    assert peer.submit(edge.NPUB, found)["error"][0] == 21
    bench.renew(edge.make_template(now_s=peer.now // 1000), peer.now)
    assert peer.submit(edge.NPUB, peer.find())["result"] is True
    bench.desk.seal(peer.now + 10)
    assert len(edge.good_shares(bench.events(), bench.terms)) == 1


def test_a_late_block_after_a_leap_of_years_is_still_written_down(edge):
    bench = edge.Bench(edge.make_terms(block_bits=edge.EASY_BLOCK))
    peer = bench.peer()
    peer.login(edge.NPUB)
    found = edge.mine(peer.notifies[0], peer.extranonce1, BLOCK_TARGET)
    peer.now += 5 * 365 * 86_400_000
    assert peer.submit(edge.NPUB, found)["error"][0] == 21
    assert len(bench.desk.found) == 1
    windows = [
        parse_receipt(publication.events[-2 if publication.seq == bench.desk.lane.head.seq else -1])
        for publication in bench.desk.outbox
    ]
    assert len(windows) > 30
    for before, after in pairwise(windows):
        assert before.to_ms == after.from_ms


def test_a_full_batch_is_sealed_by_the_share_that_does_not_fit(edge):
    bench = edge.Bench(start=edge.EASIEST)
    peer = bench.peer()
    peer.login(edge.NPUB)
    count = 0
    while len(bench.desk.outbox) < 2:
        notify = peer.notifies[-1]
        found = edge.mine(
            notify, peer.extranonce1, 1 << 250 if peer.difficulty > edge.EASIEST else 1 << 256, start=count
        )
        peer.submit(edge.NPUB, found)
        peer.mono += 10_000
        count += 1
    bench.desk.seal(peer.now + 1)
    assert len(edge.good_shares(bench.events(), bench.terms)) == bench.desk.counts.accepted


def test_the_segment_turns_over_between_batches(edge, monkeypatch):
    monkeypatch.setattr("stratum_edge.desk.SEGMENT_BYTES", 1000)
    bench = edge.Bench()
    mined(edge, bench)
    desk = restart(edge, bytes(bench.journal.stored), edge.NOW + 60_000)
    assert len(edge.good_shares(events_of(desk), bench.terms)) == 6
