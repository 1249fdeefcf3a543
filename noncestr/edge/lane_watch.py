"""The pool's eye on its lanes: says which are silent, and closes by terms those it is time to go on without."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

import anyio

from accounting.lanes import Lane, LaneKey
from accounting.service import Accounting
from nips.errors import InvalidKey, InvalidPoolEvent
from nips.nip01 import VerifiedEvent, make_filter
from nips.nip19 import parse_pubkey
from nips.pool.address import PoolAddress
from nips.pool.chain import Head
from nips.pool.kinds import RECEIPT
from nips.pool.receipt import Receipt, parse_receipt
from nips.pool.terms import Limits, Terms
from noncestr.edge.lane_gate import GatedFeed
from noncestr.edge.watermarks import Mark, Watermarks, lane_name
from noncestr.errors import NoncestrError
from noncestr.terms.promises import DEFAULT_GRACE_MS
from relay_bridge.errors import RelayBridgeError

log = logging.getLogger("noncestr.lanes")

# How often the lanes are looked at. A heartbeat is seconds at least.
LOOK_S: Final = 1.0
# A lane that could not be closed by itself is tried again after this.
RETRY_S: Final = 60.0
SECOND_MS: Final = 1000


class Clock(Protocol):
    """Unix time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        ...


class TermsInForce(Protocol):
    """The terms, as far as this goes."""

    def current(self) -> Terms:
        """The terms in force."""
        ...


class LaneWatch:
    """The open lanes of a pool. `issue` signs new terms that close some and returns them."""

    def __init__(
        self,
        *,
        pool: PoolAddress,
        accounting: Accounting,
        gate: GatedFeed,
        watermarks: Watermarks,
        terms: TermsInForce,
        issue: Callable[[Mapping[str, Head]], Awaitable[Terms]],
        running: Callable[[], Collection[LaneKey]],
        automatic: Callable[[], bool],
        connected: Callable[[], bool],
        clock: Clock,
    ) -> None:
        """`running`: the lanes that this process serves miners on; `automatic`: whether others are closed unasked;
        `connected`: whether a relay of the log is in reach.
        """
        self._pool = pool
        self._accounting = accounting
        self._gate = gate
        self._watermarks = watermarks
        self._terms = terms
        self._issue = issue
        self._running = running
        self._automatic = automatic
        self._connected = connected
        self._clock = clock
        self._closing = anyio.Lock()
        self._retry_at = 0.0

    @property
    def _limits(self) -> Limits:
        return self._terms.current().body.limits

    @property
    def grace_ms(self) -> int:
        """How long a lane has to be silent before it may be closed, as the terms in force say."""
        grace = self._limits.lane_grace_ms
        return DEFAULT_GRACE_MS if grace is None else grace

    def marks(self) -> list[Mark]:
        """Every open lane."""
        fold = self._accounting.fold
        now = self._clock.now_ms()
        return self._watermarks.marks(fold.log.lanes, fold.unsettled(), self._limits.heartbeat_seconds, now)

    def plain(self) -> list[dict[str, Any]]:
        """The open lanes for JSON; `own`: served by this process."""
        running = set(self._running())
        return [{**mark.plain(), "own": mark.key in running} for mark in self.marks()]

    async def watch(self) -> None:
        """Say what is new of the lanes, and close those whose time is over if that is wanted; until cancelled."""
        while True:
            await anyio.sleep(LOOK_S)
            # What was stored when we came is read in no order: a lane is not silent because it comes last.
            heard = self._connected() and self._accounting.condition().synced
            self._watermarks.listen(connected=heard, now=self._clock.now_ms())
            if not heard:
                continue
            marks = self.marks()
            for text in self._watermarks.news(marks, self._limits.anchor_ms, self._clock.now_ms()):
                log.warning("%s", text)
            if self._automatic() and anyio.current_time() >= self._retry_at:
                await self._close_overdue(marks)

    async def _close_overdue(self, marks: Sequence[Mark]) -> None:
        running = set(self._running())
        for mark in marks:
            if self._silence_ms(mark, mark.to_ms) < self.grace_ms or mark.key in running:
                continue
            try:
                await self.close(mark.name, at_once=False)
            except (NoncestrError, RelayBridgeError, OSError) as error:
                # A full disk too: silence goes on, and so does the pool.
                log.error("lane %s is not closed: %s", mark.name, error)
                self._retry_at = anyio.current_time() + RETRY_S

    def _silence_ms(self, mark: Mark, newest_ms: int) -> int:
        """How long a lane is silent whose newest batch ends at `newest_ms`, by the second that terms signed now would
        be dated: so their readers reckon its grace.
        """
        dated_ms = self._clock.now_ms() // SECOND_MS * SECOND_MS
        return min(mark.quiet_ms, max(0, dated_ms - newest_ms))

    async def close(self, name: str, *, at_once: bool) -> dict[str, Any]:
        """Close a lane, NPUB/NUMBER, at its last batch. `at_once`: whether its grace is over or not.

        Raises NoncestrError, and then nothing has changed.
        """
        async with self._closing:
            key = parse_lane(name)
            lane = self._lane(key)
            with self._gate.hold([key.edge]) as hold:
                end, newest_ms = await self._end_of(key, lane)
                mark = next(mark for mark in self.marks() if mark.key == key)
                quiet_ms = self._silence_ms(mark, newest_ms)
                if not at_once and quiet_ms < self.grace_ms:
                    raise NoncestrError(
                        f"lane {name} is silent for {quiet_ms // 1000} s while we listen, its grace is"
                        f" {self.grace_ms // 1000} s: --now closes it all the same"
                    )
                terms = await self._issue({str(key): end})
                hold.until(terms.id)
        log.warning("lane %s is closed at batch %d, by terms %d", name, end.seq, terms.link.seq)
        return {
            "lane": lane_name(key),
            "batch": end.seq,
            "receipt": end.id,
            "to_ms": newest_ms,
            "quiet_ms": quiet_ms,
            "terms": terms.id,
            "waited_for_it": [held._asdict() for held in mark.holds_up],
        }

    def _lane(self, key: LaneKey) -> Lane:
        if not self._accounting.condition().synced:
            raise NoncestrError("the log is still being read: try again in a moment")
        if key in self._running():
            raise NoncestrError(
                f"lane {lane_name(key)} is this process's own: drain it; a start closes it if its journal is gone"
            )
        lane = self._accounting.fold.log.lanes.get(key)
        if lane is None or lane.head is None or not lane.batches:
            raise NoncestrError(f"no batch of lane {lane_name(key)} was read")
        if lane.ended:
            raise NoncestrError(f"lane {lane_name(key)} has ended already")
        return lane

    async def _end_of(self, key: LaneKey, lane: Lane) -> tuple[Head, int]:
        """The last batch of the lane that follows without a gap on what the accounting has, and its `to`."""
        wanted = make_filter(
            kinds=[RECEIPT], authors=[key.edge], tags={"a": [str(self._pool)]}, since=lane.chain.created_at
        )
        try:
            events = await self._gate.fetch([wanted])
        except RelayBridgeError as error:
            raise NoncestrError(f"no relay says what the lane's last batch is: {error}") from error
        assert lane.head is not None
        return follow(lane.head, lane.watermark_ms, batches_of(events, key))


def parse_lane(name: str) -> LaneKey:
    """A lane written as NPUB/NUMBER or HEX/NUMBER. Raises NoncestrError."""
    key, _, number = name.partition("/")
    try:
        edge = parse_pubkey(key)
    except InvalidKey as error:
        raise NoncestrError(f"{name}: {error}") from None
    if not (number.isascii() and number.isdecimal() and len(number) <= 5):
        raise NoncestrError(f"{name}: a lane is written as NPUB/NUMBER, as `noncestr edge status` shows it")
    return LaneKey(edge, int(number))


def batches_of(events: Sequence[VerifiedEvent], key: LaneKey) -> list[Receipt]:
    """The readable batches of one lane, by number."""
    found = []
    for event in events:
        try:
            receipt = parse_receipt(event)
        except InvalidPoolEvent:
            continue
        if LaneKey(receipt.signer, receipt.lane) == key:
            found.append(receipt)
    return sorted(found, key=lambda receipt: receipt.link.seq)


def follow(head: Head, to_ms: int, receipts: Sequence[Receipt]) -> tuple[Head, int]:
    """Where the batches that follow a head one by one end, and that one's `to`."""
    for receipt in receipts:
        if receipt.link.seq == head.seq + 1 and receipt.link.prev == head.id:
            head, to_ms = Head(receipt.link.seq, receipt.id), receipt.to_ms
    return head, to_ms
