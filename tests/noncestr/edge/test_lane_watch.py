"""Closing a lane: where it ends, whose may be closed, and when."""

import hashlib
from collections.abc import Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from accounting.chains import Chain
from accounting.lanes import NO_SHARES, Batch, Lane, LaneKey, Lanes
from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head, Link
from nips.pool.receipt import ReceiptBody, build_receipt, parse_receipt
from nips.pool.terms import Limits
from noncestr.edge.lane_watch import LaneWatch, batches_of, follow, parse_lane
from noncestr.edge.watermarks import Watermarks
from noncestr.errors import NoncestrError
from relay_bridge.errors import RelayUnavailable

EDGE = SecretKey(hashlib.sha256(b"noncestr test key lane watch").digest())
POOL = PoolAddress(EDGE.pubkey, "regtest")
KEY = LaneKey(EDGE.pubkey, 2)
NAME = f"{encode_npub(EDGE.pubkey)}/2"
T0 = 1_800_000_000_000
GRACE_MS = 600_000

pytestmark = pytest.mark.anyio


def chain_of(count: int, *, lane: int = 2, step_ms: int = 1000) -> list[VerifiedEvent]:
    """Empty batches of a lane, one after the other."""
    events: list[VerifiedEvent] = []
    for seq in range(count):
        link = FIRST if seq == 0 else Link(seq, events[-1].id)
        to_ms = T0 + step_ms * (seq + 1)
        body = ReceiptBody(lane, link, to_ms - step_ms, to_ms, (), (), (), b"", (), 0)
        events.append(EDGE.sign(build_receipt(POOL, body, to_ms // 1000 + 1)))
    return events


def test_lanes_are_read_as_they_are_shown() -> None:
    assert parse_lane(NAME) == parse_lane(f"{EDGE.pubkey}/2") == KEY
    for wrong in (NAME.rpartition("/")[0], NAME + "x", NAME + "/1", "npub1x/0", f"{EDGE.pubkey}/123456", "/0"):
        with pytest.raises(NoncestrError):
            parse_lane(wrong)


def test_a_chain_is_followed_to_its_gap() -> None:
    events = chain_of(6)
    receipts = batches_of([events[5], *events[1:4], *chain_of(3, lane=1)], KEY)
    assert [receipt.link.seq for receipt in receipts] == [1, 2, 3, 5]
    assert follow(Head(0, events[0].id), T0, receipts) == (Head(3, events[3].id), T0 + 4000)
    assert follow(Head(1, "another"), T0, receipts) == (Head(1, "another"), T0)


class Rig:
    """A watch over one lane read up to batch 1, of which the relays have `told` batches."""

    def __init__(self, told: int = 2, *, own: bool = False, fin: bool = False, away: bool = False) -> None:
        self.events = chain_of(told)
        first = [parse_receipt(event) for event in chain_of(2)]
        self.lane = Lane(KEY, Chain(str(KEY), lambda _: None, head=Head(1, first[1].id)), fin=fin)
        for receipt in first:
            batch = Batch(receipt.link.seq, receipt.id, receipt.from_ms, receipt.to_ms, receipt.created_at, NO_SHARES)
            self.lane.add(batch, follows=True)
        self.now = T0 + 2000
        self.synced = True
        self.away = away
        self.held: list[list[str]] = []
        self.until: list[str] = []
        self.issued: list[Mapping[str, Head]] = []
        self.automatic = False
        self.connected = True
        self.looks = 0
        self.marks = Watermarks()
        self.marks.listen(connected=True, now=T0)
        block = SimpleNamespace(found_ms=T0 + 2000, block=SimpleNamespace(block="ab" * 32, height=7))
        fold = SimpleNamespace(log=SimpleNamespace(lanes=Lanes({KEY: self.lane})), unsettled=lambda: [block])
        accounting = SimpleNamespace(fold=fold, condition=lambda: SimpleNamespace(synced=self.synced))
        self.limits = Limits(heartbeat_seconds=1, lane_grace_ms=GRACE_MS)
        self.watch = LaneWatch(
            pool=POOL,
            accounting=cast(Any, accounting),
            gate=cast(Any, self),
            watermarks=self.marks,
            terms=cast(Any, SimpleNamespace(current=self.terms)),
            issue=self.issue,
            running=lambda: {KEY} if own else set(),
            automatic=lambda: self.automatic,
            connected=self.is_connected,
            clock=SimpleNamespace(now_ms=lambda: self.now),
        )

    def is_connected(self) -> bool:
        """Asked once at the beginning of each look."""
        self.looks += 1
        return self.connected

    async def look(self, times: int = 3) -> None:
        """Watch until it has looked so often, each look to its end."""
        until = self.looks + times + 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.watch.watch)
            with anyio.fail_after(60):
                while self.looks < until:  # noqa: ASYNC110 - the watch has no event for it
                    await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()

    def terms(self) -> Any:
        return SimpleNamespace(body=SimpleNamespace(limits=self.limits))

    @contextmanager
    def hold(self, edges: list[str]) -> Any:
        self.held.append(edges)
        yield SimpleNamespace(until=self.until.append)

    async def fetch(self, filters: Any, *, timeout_s: float = 10) -> list[VerifiedEvent]:
        assert self.held, "what comes is held back before the end is looked for"
        if self.away:
            raise RelayUnavailable({})
        return [event for event in self.events if any(wanted.matches(event) for wanted in filters)]

    async def issue(self, closed: Mapping[str, Head]) -> Any:
        self.issued.append(closed)
        self.lane.chain.closed = closed[str(KEY)]
        return SimpleNamespace(id="terms", link=SimpleNamespace(seq=3))


async def test_a_lane_is_closed_at_the_last_batch_that_any_relay_has() -> None:
    rig = Rig(told=4)
    rig.now = T0 + 4000 + GRACE_MS
    closed = await rig.watch.close(NAME, at_once=False)
    assert rig.issued == [{str(KEY): Head(3, rig.events[3].id)}]
    assert (rig.held, rig.until) == ([[EDGE.pubkey]], ["terms"])
    assert closed == {
        "lane": NAME,
        "batch": 3,
        "receipt": rig.events[3].id,
        "to_ms": T0 + 4000,
        "quiet_ms": GRACE_MS,
        "terms": "terms",
        "waited_for_it": [{"block": "ab" * 32, "height": 7}],
    }


async def test_a_lane_has_its_grace_unless_the_operator_says_otherwise() -> None:
    """It counts from the newest batch, seen by the accounting or not."""
    rig = Rig(told=4)
    rig.now = T0 + 3999 + GRACE_MS
    with pytest.raises(NoncestrError, match="its grace is 600 s: --now"):
        await rig.watch.close(NAME, at_once=False)
    assert rig.issued == []
    await rig.watch.close(NAME, at_once=True)
    assert len(rig.issued) == 1


@pytest.mark.parametrize(
    ("rig", "name", "said"),
    [
        (lambda: Rig(own=True), NAME, "this process's own"),
        (lambda: Rig(fin=True), NAME, "has ended already"),
        (lambda: Rig(away=True), NAME, "no relay says"),
        (Rig, NAME[:-1] + "3", "no batch of lane"),
        (Rig, "3", "3: "),
    ],
)
async def test_what_can_not_be_closed_is_said(rig: Any, name: str, said: str) -> None:
    made = rig()
    with pytest.raises(NoncestrError, match=said):
        await made.watch.close(name, at_once=True)
    assert made.issued == []


async def test_nothing_is_closed_before_the_log_is_read() -> None:
    rig = Rig()
    rig.synced = False
    with pytest.raises(NoncestrError, match="still being read"):
        await rig.watch.close(NAME, at_once=True)


@pytest.mark.parametrize(
    ("automatic", "own", "after_ms", "closed"),
    [
        (True, False, GRACE_MS, True),
        (True, False, GRACE_MS - 1, False),
        (False, False, GRACE_MS, False),
        (True, True, GRACE_MS, False),
    ],
)
async def test_lanes_are_closed_unasked_only_where_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch, automatic: bool, own: bool, after_ms: int, closed: bool
) -> None:
    monkeypatch.setattr("noncestr.edge.lane_watch.LOOK_S", 0.001)
    rig = Rig(own=own)
    rig.automatic, rig.now = automatic, T0 + 2000 + after_ms
    await rig.look()
    assert len(rig.issued) == closed


async def test_the_grace_is_over_by_the_second_that_terms_are_dated() -> None:
    """Terms dated a part of a second too early would convict the pool of closing a lane that lived on."""
    rig = Rig()
    over = T0 + 2000 + GRACE_MS
    rig.now = over + 999
    mark = SimpleNamespace(quiet_ms=10 * GRACE_MS)
    for newest, quiet in ((over, 0), (over - GRACE_MS + 1, GRACE_MS - 1), (over - GRACE_MS, GRACE_MS)):
        assert rig.watch._silence_ms(cast(Any, mark), newest) == quiet
    assert rig.watch._silence_ms(cast(Any, SimpleNamespace(quiet_ms=5)), T0) == 5


async def test_a_pool_that_was_away_gives_every_lane_its_grace_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its edges could not reach it: neither it nor its operator closes their lanes for that."""
    monkeypatch.setattr("noncestr.edge.lane_watch.LOOK_S", 0.001)
    rig = Rig()
    rig.automatic, rig.now, rig.connected = True, T0 + 10 * GRACE_MS, False
    await rig.look()
    rig.connected = True
    await rig.look()
    assert rig.issued == []
    rig.now += GRACE_MS - 1
    with pytest.raises(NoncestrError, match="silent for 599 s while we listen"):
        await rig.watch.close(NAME, at_once=False)
    rig.now += 1
    await rig.look()
    assert len(rig.issued) == 1


async def test_a_close_that_fails_is_said_and_waits_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("noncestr.edge.lane_watch.LOOK_S", 0.001)
    rig = Rig(away=True)
    rig.automatic, rig.now = True, T0 + 2000 + GRACE_MS
    await rig.look()
    said = [record.message for record in caplog.records]
    assert [text for text in said if "is silent for 600 s; 1 statements wait for it" in text] == said[:1]
    assert [text for text in said if "is not closed: no relay says" in text] == said[1:]
    assert len(said) == 2


async def test_the_status_tells_which_lanes_are_this_process() -> None:
    assert [row["own"] for row in Rig(own=True).watch.plain()] == [True]
    assert [row["own"] for row in Rig().watch.plain()] == [False]
    rig = Rig()
    assert rig.watch.grace_ms == GRACE_MS
    rig.limits = Limits()
    assert rig.watch.grace_ms == 600_000
