"""A journal damaged in each of its frames: what is saved goes on in its lane without a fork, or it is refused."""

import asyncio
import json
from fractions import Fraction
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.findings import NOT_CHECKED
from accounting.verifier import audit
from nips.nip01 import decode_event, verify
from nips.pool.receipt import parse_receipt
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.adapters.journal_salvage import UNSENT_NAME, newest_used, salvage_journal, view_journal
from stratum_edge.desk import Desk, House
from stratum_edge.errors import JournalDamaged
from stratum_edge.extranonce import Seats
from stratum_edge.jobs import Payout
from stratum_edge.journal import Kind, read_records
from stratum_edge.lane import Lane
from stratum_edge.segment import FRAME_HEAD_SIZE, SegmentHeader, decode_header, encode_header, scan
from stratum_edge.status import Counts

ANY = (1 << 256) - 1


class Life:
    """A desk on a journal on the disk, one frame a share: a batch published, one not, an open one with late comers."""

    def __init__(self, edge, directory, sync=False):
        self.edge, self.sync = edge, sync
        bench = edge.Bench(start=Fraction(1, 1 << 32), fixed=True)
        self.journal = bench.desk.journal = JournalFile(directory)
        assert self.journal.recover() is None
        assert bench.desk.begin_segment()
        self.bench, self.count, self.hashes = bench, 0, []
        first, second = bench.peer(), bench.peer()
        first.login(edge.NPUB)
        second.login(edge.OTHER_NPUB)
        self.share(first, edge.NPUB, 3)
        self.seal()
        bench.desk.published(bench.desk.outbox[-1])
        self.journal.flush()
        self.share(first, edge.NPUB, 2)
        bench.renew(edge.make_template(now_s=edge.NOW // 1000 + 30), first.now)
        self.share(second, edge.OTHER_NPUB, 2)
        self.seal()
        self.share(first, edge.NPUB, 2)
        self.share(second, edge.OTHER_NPUB, 2)
        self.share(first, edge.NPUB, 2)
        if sync:
            asyncio.run(self.make_durable())
        self.open = 6
        self.published = bench.events()
        self.now = max(first.now, second.now)

    def share(self, peer, user, times):
        for _ in range(times):
            self.count += 1
            peer.now = self.edge.NOW + 1000 * self.count
            found = peer.find(self.count, target=ANY)
            assert peer.submit(user, found)["result"] is True
            self.hashes.append(found.hash)

    def seal(self):
        self.bench.desk.seal(self.edge.NOW + 1000 * self.count + 500)
        self.journal.flush()
        if self.sync:
            asyncio.run(self.make_durable())

    async def make_durable(self):
        assert await self.journal.sync()
        await self.journal.synced()


@pytest.fixture
def life(edge, tmp_path):
    life = Life(edge, tmp_path)
    yield life
    life.journal._lock.close()


def restart(edge, directory, now):
    """What an edge publishes that goes on there."""
    journal = JournalFile(directory)
    try:
        recovered = journal.recover()
        lane = Lane(edge.POOL, recovered.checkpoint.lane, recovered.from_ms, recovered.head, recovered.newest_s)
        house = House(edge.POOL, Payout(b"\x51", b""))
        desk = Desk(house, edge.EDGE_KEY, journal, lane, Seats(b"\x08" * 32), Counts(0), ["main"])
        desk.take_up(recovered, now)
        assert desk.begin_segment()
        return [event for publication in desk.outbox for event in publication.events]
    finally:
        journal.close()


def frames_of(path):
    data = path.read_bytes()
    return data, scan(data, decode_header(data)).whole


def kinds_of(frame):
    return {record.kind for record in read_records(frame.body)}


def damaged_at(data, at):
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def test_damage_in_every_frame_is_saved_without_a_fork_or_refused(edge, life, tmp_path):
    life.journal._lock.close()
    (path,) = tmp_path.glob("*.journal")
    data, frames = frames_of(path)
    saved_count = refused_count = 0
    for number, frame in enumerate(frames[:-1]):
        for at in (frame.at + 5, frame.at + FRAME_HEAD_SIZE + 2):
            place = tmp_path / f"{number}-{at}"
            place.mkdir()
            (place / path.name).write_bytes(damaged_at(data, at))
            journal = JournalFile(place)
            with pytest.raises(JournalDamaged):
                journal.recover()
            journal.close()
            view, written = salvage_journal(place)
            assert view.state == "damaged"
            assert view.end == frame.at
            [gap] = view.salvage.gaps
            assert (gap.start, gap.end) == (frame.at, frame.end)
            assert gap.records == len(list(read_records(frame.body)))
            if view.salvage.why_not:
                # Nothing is touched but the list of what was signed.
                refused_count += 1
                assert (place / path.name).read_bytes() == damaged_at(data, at)
                assert {p.name for p in place.iterdir()} <= {path.name, "lock", UNSENT_NAME}
                assert kinds_of(frame) & {Kind.CHECKPOINT, Kind.SEALED, Kind.JOB}
                continue
            saved_count += 1
            assert not kinds_of(frame) & {Kind.CHECKPOINT, Kind.SEALED}
            assert (place / path.name).with_suffix(".damaged").read_bytes() == damaged_at(data, at)
            assert list(place.glob("*.journal")) == [written]
            later = restart(edge, place, life.now + 60_000)
            lost = check_log(edge, life, later, view.salvage)
            # Only what the damaged frame held itself, or what hung on a number it gave.
            assert lost <= gap.records + view.salvage.left
    assert saved_count > 15
    assert refused_count >= 6


def check_log(edge, life, later, saved):
    """All that may ever have been published, with what the salvaged lane publishes, holds; how many shares it lacks."""
    events = list({event.id: event for event in [*life.published, *later]}.values())
    report = audit([edge.make_terms_event(), *events], (), edge.POOL, now_ms=None)
    assert [found for found in report.findings if found.grade != NOT_CHECKED] == []
    receipts = [parse_receipt(event) for event in events if event.kind == edge.KINDS.RECEIPT]
    assert sorted(receipt.link.seq for receipt in receipts) == list(range(3 if saved.kept else 2))
    hashes = {digest for _, _, digest in edge.good_shares(events, edge.make_terms())}
    assert hashes <= set(life.hashes)
    assert not saved.kept or receipts[-1].count == saved.kept
    assert life.open - saved.kept == len(life.hashes) - len(hashes)
    return len(life.hashes) - len(hashes)


def test_a_lost_batch_is_refused_and_a_lost_note_of_publication_is_not(edge, life, tmp_path):
    life.journal._lock.close()
    (path,) = tmp_path.glob("*.journal")
    data, frames = frames_of(path)
    sealed = [frame for frame in frames if Kind.SEALED in kinds_of(frame)]
    path.write_bytes(damaged_at(data, sealed[1].at + 60))
    view, written = salvage_journal(tmp_path)
    assert "1 batches were closed in the lost bytes" in view.salvage.why_not
    assert written is None, "the batch before it was published"
    told = next(frame for frame in frames if Kind.PUBLISHED in kinds_of(frame))
    path.write_bytes(damaged_at(data, told.end - 1))
    view, written = salvage_journal(tmp_path)
    assert view.salvage.why_not == ""
    assert view.salvage.kept == life.open
    assert len(view.salvage.unsent()) == len(life.published), "sent again, as they are"


def test_a_refused_journal_lists_its_signed_events(edge, life, tmp_path):
    life.seal()
    peer = life.bench.peers[0]
    life.share(peer, edge.NPUB, 1)
    life.journal._lock.close()
    (path,) = tmp_path.glob("*.journal")
    data, frames = frames_of(path)
    sealed = [frame for frame in frames if Kind.SEALED in kinds_of(frame)]
    path.write_bytes(damaged_at(data, sealed[2].at + 60))
    view, written = salvage_journal(tmp_path)
    assert "1 batches were closed in the lost bytes" in view.salvage.why_not
    assert written == tmp_path / UNSENT_NAME
    events = [verify(decode_event(line)) for line in written.read_bytes().splitlines()]
    assert events == life.published[2:], "the batch that was closed before, with its job"


def test_two_damages_are_told_and_refused_if_the_last_write_is_one(edge, life, tmp_path):
    life.journal._lock.close()
    (path,) = tmp_path.glob("*.journal")
    data, frames = frames_of(path)
    shares = [frame for frame in frames if kinds_of(frame) == {Kind.SHARE}]
    twice = damaged_at(damaged_at(data, shares[-4].at + 40), shares[-2].at + 3)
    path.write_bytes(twice)
    [view] = view_journal(tmp_path)
    assert [(gap.start, gap.records) for gap in view.salvage.gaps] == [(shares[-4].at, 1), (shares[-2].at, 1)]
    assert (view.salvage.why_not, view.salvage.kept, view.salvage.lost_records) == ("", 2, 2)
    assert view.salvage.left == 2, "their session was numbered behind the first damage"
    path.write_bytes(damaged_at(damaged_at(data, shares[-4].at + 40), shares[-1].at + 40))
    [view] = view_journal(tmp_path)
    assert "last write" in view.salvage.why_not
    assert view.salvage.lost_records is None


def test_nothing_is_done_to_a_whole_or_torn_journal(edge, life, tmp_path):
    life.journal._lock.close()
    (path,) = tmp_path.glob("*.journal")
    data = path.read_bytes()
    for state, text in (("whole", data), ("torn", data[:-3])):
        path.write_bytes(text)
        view, written = salvage_journal(tmp_path)
        assert (view.state, written) == (state, None)
        assert path.read_bytes() == text
    assert newest_used(view_journal(tmp_path)).recovered.head.seq == 1


def test_a_damaged_header_is_refused(edge, life, tmp_path):
    life.journal._lock.close()
    (path,) = tmp_path.glob("*.journal")
    path.write_bytes(damaged_at(path.read_bytes(), 12))
    view, written = salvage_journal(tmp_path)
    assert view.state == "damaged"
    assert view.salvage.why_not
    assert written is None
    assert json.dumps(view.salvage.why_not)


def test_every_flipped_bit_of_a_journal_is_damage_up_to_its_last_frame(synced_life):
    """The whole journal of an edge, bit by bit; the last frame alone may be a write that was cut short."""
    _, data, frames = synced_life
    counts = {"header": 0, "damaged": 0, "torn": 0}
    flipped = bytearray(data)
    for bit in range(8 * len(data)):
        flipped[bit // 8] ^= 1 << bit % 8
        header = decode_header(flipped)
        if header is None:
            counts["header"] += 1
        else:
            counts["damaged" if scan(bytes(flipped), header).damaged else "torn"] += 1
        flipped[bit // 8] ^= 1 << bit % 8
    last = frames[-1]
    assert (last.end, last.body) == (len(data), b""), "it says only that all before it is on the disk"
    assert counts == {
        "header": 8 * frames[0].at,
        "damaged": 8 * (last.at - frames[0].at),
        "torn": 8 * (last.end - last.at),
    }


def test_every_cut_of_a_journal_is_a_torn_end(synced_life):
    _, data, frames = synced_life
    for cut in range(frames[0].at, len(data)):
        found = scan(data[:cut], decode_header(data))
        assert not found.damaged
        assert found.whole == frames[: len(found.whole)]
        assert len(found.whole) == sum(frame.end <= cut for frame in frames)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from(["flip", "zeros", "noise"]), st.floats(0, 1), st.integers(1, 700)),
        min_size=1,
        max_size=4,
    )
)
def test_any_damage_to_what_was_synced_is_refused_or_goes_on_without_a_fork(edge, synced_life, damages):
    """Whatever is broken, wherever, and how often: short of the last frame, which says what was on the disk."""
    life, data, frames = synced_life
    broken = bytearray(data)
    last = frames[-1].at
    for kind, where, size in damages:
        at = int(where * (last - 1))
        if kind == "flip":
            broken[at] ^= 1 << size % 8
        else:
            piece = slice(at, min(at + size, last))
            fill = bytes(piece.stop - at) if kind == "zeros" else Random(size).randbytes(piece.stop - at)
            broken[piece] = fill
    with TemporaryDirectory() as name:
        place = Path(name)
        (place / "00000001.journal").write_bytes(broken)
        journal = JournalFile(place)
        try:
            if bytes(broken) == data:
                assert journal.recover() is not None
                return
            with pytest.raises(JournalDamaged):
                journal.recover()
        finally:
            journal.close()
        view, _ = salvage_journal(place)
        assert view.state == "damaged"
        if not view.salvage.why_not:
            check_log(edge, life, restart(edge, place, life.now + 60_000), view.salvage)


@pytest.fixture(scope="module")
def synced_life(edge, tmp_path_factory):
    """A journal whose batches were on the disk before they were published, as an edge does it; its bytes and frames."""
    folder = tmp_path_factory.mktemp("synced")
    life = Life(edge, folder, sync=True)
    life.journal._lock.close()
    (path,) = folder.glob("*.journal")
    return life, *frames_of(path)


@given(st.binary(max_size=300), st.booleans())
def test_nonsense_is_never_more_than_damaged(data, as_segment):
    with TemporaryDirectory() as name:
        path = Path(name) / "00000001.journal"
        path.write_bytes(encode_header(SegmentHeader(bytes(8), 0)) + data if as_segment else data)
        assert view_journal(Path(name))[0].state in ("begun", "torn", "damaged")
        journal = JournalFile(Path(name))
        try:
            assert journal.recover() is None
        except JournalDamaged:
            assert path.read_bytes().endswith(data)
        finally:
            journal.close()
