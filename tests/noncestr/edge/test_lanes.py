"""Which lanes the processes go on in; a lost journal means a new lane, and the old one closed at its last batch."""

import hashlib
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head, Link
from nips.pool.receipt import ReceiptBody, build_receipt
from nips.pool.terms import NEVER
from noncestr.edge.lanes import (
    LanePlan,
    close_keys,
    close_lanes,
    journal_of,
    journals_in,
    plan_lanes,
    put_away,
    set_aside,
    wait_for_orphans,
)
from relay_bridge.errors import RelayUnavailable
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.errors import JournalDamaged
from stratum_edge.journal import Checkpoint, Kind, encode_json

EDGE = SecretKey(hashlib.sha256(b"noncestr test key lanes").digest())
POOL = PoolAddress(EDGE.pubkey, "regtest")
EMPTY = ReceiptBody(
    lane=0, link=FIRST, from_ms=0, to_ms=1000, jobs=(), miners=(), sessions=(), shares=b"", rejects=(), work=0
)

pytestmark = pytest.mark.anyio


def batch(lane: int, seq: int, prev: str | None = None, *, fin: bool = False) -> VerifiedEvent:
    link = Link(seq, prev or (None if seq == 0 else "0" * 64))
    return EDGE.sign(build_receipt(POOL, replace(EMPTY, lane=lane, link=link, fin=fin), 1))


class FakeFeed:
    def __init__(self, *events: VerifiedEvent) -> None:
        self.events = list(events)
        self.wanted = []

    async def fetch(self, filters, *, timeout_s: float = 10) -> list[VerifiedEvent]:
        self.wanted += filters
        return [event for event in self.events if any(wanted.matches(event) for wanted in filters)]


def keep_journal(folder: Path, lane: int, seq: int | None = 9, *, finished: bool = False) -> None:
    """A journal that has just begun, behind batch `seq`."""
    journal = JournalFile(folder)
    start = Checkpoint(
        pool=str(POOL),
        pubkey=EDGE.pubkey,
        lane=lane,
        from_ms=0,
        newest_s=0,
        seq=seq,
        head="" if seq is None else "0" * 64,
        pending=[],
        blocks=[],
        finished=finished,
    )
    assert journal.rotate(encode_json(Kind.CHECKPOINT, start))
    journal.close()


def damage(folder: Path) -> None:
    (path,) = folder.glob("*.journal")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data) + bytes(data))


async def test_a_first_start_takes_the_first_lanes(tmp_path: Path) -> None:
    assert await plan_lanes(FakeFeed(), EDGE.pubkey, POOL, tmp_path / "journal", 1) == LanePlan((0,), {})
    assert await plan_lanes(FakeFeed(), EDGE.pubkey, POOL, tmp_path / "journal", 3) == LanePlan((0, 1, 2), {})


async def test_journals_know_their_own_lanes_and_only_newer_batches_are_asked_for(tmp_path: Path) -> None:
    keep_journal(journal_of(tmp_path, 0), 4)
    keep_journal(journal_of(tmp_path, 1), 2)
    feed = FakeFeed(batch(9, 0))
    assert await plan_lanes(feed, EDGE.pubkey, POOL, tmp_path, 2) == LanePlan((4, 2), {})
    (asked,) = feed.wanted
    assert asked.since == 0


async def test_lanes_without_a_journal_are_closed_at_their_last_batch(tmp_path: Path) -> None:
    newest, other = batch(2, 5), batch(0, 1)
    feed = FakeFeed(batch(2, 4), newest, batch(0, 0), other, batch(1, 0), batch(1, 1, fin=True))
    assert await plan_lanes(feed, EDGE.pubkey, POOL, tmp_path, 1) == LanePlan(
        (3,), {f"{EDGE.pubkey}/2": Head(5, newest.id), f"{EDGE.pubkey}/0": Head(1, other.id)}
    )


async def test_one_lost_journal_of_two_opens_one_new_lane(tmp_path: Path) -> None:
    keep_journal(journal_of(tmp_path, 0), 0)
    lost = batch(1, 7)
    plan = await plan_lanes(FakeFeed(batch(0, 0), lost), EDGE.pubkey, POOL, tmp_path, 2)
    assert plan == LanePlan((0, 2), {f"{EDGE.pubkey}/1": Head(7, lost.id)})


async def test_more_workers_get_new_lanes_and_close_nothing(tmp_path: Path) -> None:
    keep_journal(journal_of(tmp_path, 0), 0)
    plan = await plan_lanes(FakeFeed(batch(0, 3)), EDGE.pubkey, POOL, tmp_path, 3)
    assert plan == LanePlan((0, 1, 2), {})


async def test_fewer_workers_leave_lanes_to_be_finished_and_no_number_serves_twice(tmp_path: Path) -> None:
    for process in range(3):
        keep_journal(journal_of(tmp_path, process), process)
    first, *left = (journal_of(tmp_path, process) for process in range(3))
    events = [batch(lane, 0) for lane in range(3)]
    plan = await plan_lanes(FakeFeed(*events), EDGE.pubkey, POOL, tmp_path, 1)
    assert plan == LanePlan((0,), {}, finish=tuple(left))
    assert list(journals_in(tmp_path).values()) == [first, *left]
    # Lane 2 was finished, and the kill came before its journal was put away.
    events.append(batch(2, 1, fin=True))
    plan = await plan_lanes(FakeFeed(*events), EDGE.pubkey, POOL, tmp_path, 1)
    assert plan == LanePlan((0,), {}, finish=(left[0],), over=(left[1],))
    put_away(left[0], tmp_path, 1)
    put_away(left[1], tmp_path, 2)
    events.append(batch(1, 1, fin=True))
    assert list(journals_in(tmp_path)) == [0]
    plan = await plan_lanes(FakeFeed(*events), EDGE.pubkey, POOL, tmp_path, 2)
    assert plan == LanePlan((0, 3), {})


async def test_a_lane_that_the_terms_have_closed_is_over_though_its_journal_came_back(tmp_path: Path) -> None:
    keep_journal(journal_of(tmp_path, 0), 0)
    keep_journal(journal_of(tmp_path, 1), 1)
    closed = [f"{EDGE.pubkey}/1", "ff/9", f"{EDGE.pubkey}/accounting", f"{EDGE.pubkey}/*"]
    plan = await plan_lanes(FakeFeed(batch(0, 0)), EDGE.pubkey, POOL, tmp_path, 2, closed)
    assert plan == LanePlan((0, 2), {}, over=(journal_of(tmp_path, 1),))
    plan = await plan_lanes(FakeFeed(batch(0, 0), batch(1, 0)), EDGE.pubkey, POOL, tmp_path, 3, closed)
    assert plan == LanePlan((0, 2, 3), {}, over=(journal_of(tmp_path, 1),))


async def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    keep_journal(tmp_path, 0)
    damage(tmp_path)
    with pytest.raises(JournalDamaged):
        await plan_lanes(FakeFeed(), EDGE.pubkey, POOL, tmp_path, 1)


async def test_an_edge_key_left_out_has_every_lane_closed(tmp_path: Path) -> None:
    open_one, finished = batch(0, 4), batch(1, 2, fin=True)
    feed = FakeFeed(batch(0, 3), open_one, finished)
    assert await close_keys(feed, POOL, [EDGE.pubkey]) == {
        f"{EDGE.pubkey}/0": Head(4, open_one.id),
        f"{EDGE.pubkey}/1": Head(2, finished.id),
        f"{EDGE.pubkey}/*": NEVER,
    }
    assert await close_keys(FakeFeed(), POOL, []) == {}


async def test_lanes_of_other_hosts_are_closed_by_name_once(tmp_path: Path, caplog) -> None:
    newest = batch(3, 4)
    feed = FakeFeed(batch(3, 3), newest)
    names = [f"{encode_npub(EDGE.pubkey)}/3", f"{EDGE.pubkey}/7"]
    closed = await close_lanes(feed, POOL, names, [])
    assert closed == {f"{EDGE.pubkey}/3": Head(4, newest.id)}
    assert "/7 can't be closed" in caplog.text
    assert await close_lanes(feed, POOL, names[:1], closed) == {}
    assert len(feed.wanted) == 1


async def test_a_journal_set_aside_is_finished_and_its_place_gets_a_new_lane(tmp_path: Path) -> None:
    keep_journal(tmp_path, 4)
    set_aside(tmp_path, tmp_path, 4)
    (aside,) = journals_in(tmp_path).values()
    plan = await plan_lanes(FakeFeed(batch(4, 0)), EDGE.pubkey, POOL, tmp_path, 1)
    assert plan == LanePlan((5,), {}, finish=(aside,))


async def test_a_process_that_is_going_is_waited_for(tmp_path: Path) -> None:
    keep_journal(tmp_path, 0)
    holder = JournalFile(tmp_path)
    passed = anyio.Event()

    async def wait() -> None:
        await wait_for_orphans(tmp_path)
        passed.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not passed.is_set()
        holder.close()
        with anyio.fail_after(5):
            await passed.wait()


async def test_a_journal_put_back_from_an_old_copy_forks_nothing(tmp_path: Path, caplog) -> None:
    keep_journal(journal_of(tmp_path, 0), 4, seq=1)
    feed = FakeFeed(batch(4, 0), batch(4, 1), newest := batch(4, 2), batch(3, 0))
    plan = await plan_lanes(feed, EDGE.pubkey, POOL, tmp_path, 1)
    assert plan.over == (tmp_path,)
    assert plan.lanes == (5,)
    assert plan.closed == {f"{EDGE.pubkey}/4": Head(2, newest.id)}
    assert "older than what was published" in caplog.text


async def test_a_journal_that_knows_what_was_published_goes_on(tmp_path: Path) -> None:
    keep_journal(journal_of(tmp_path, 0), 4, seq=2)
    feed = FakeFeed(batch(4, 1), batch(4, 2))
    assert await plan_lanes(feed, EDGE.pubkey, POOL, tmp_path, 1) == LanePlan((4,), {})


async def test_without_relays_whole_journals_go_on_and_a_missing_one_waits(tmp_path: Path) -> None:
    class Silent(FakeFeed):
        async def fetch(self, filters, *, timeout_s: float = 10) -> list[VerifiedEvent]:
            raise RelayUnavailable({"wss://away": "no answer"})

    keep_journal(journal_of(tmp_path, 0), 4, seq=2)
    assert await plan_lanes(Silent(), EDGE.pubkey, POOL, tmp_path, 1) == LanePlan((4,), {})
    with pytest.raises(RelayUnavailable):
        await plan_lanes(Silent(), EDGE.pubkey, POOL, tmp_path, 2)


async def test_a_finished_journal_that_was_not_put_away_is_finished_and_not_gone_on_in(tmp_path: Path) -> None:
    keep_journal(journal_of(tmp_path, 0), 4, seq=2, finished=True)
    feed = FakeFeed(batch(4, 2))
    plan = await plan_lanes(feed, EDGE.pubkey, POOL, tmp_path, 1)
    assert plan.lanes == (5,)
    assert plan.finish == (tmp_path / "100004",)
    assert not plan.closed
    assert journals_in(tmp_path) == {100_004: tmp_path / "100004"}
