"""The rounds of payouts in time: by a cron schedule or every so often, and once for the moment that was missed.

The last moment done is on disk only after its round has ended: a pool killed in a round makes it again, and the intents
keep anybody from being paid twice.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from zapper.config import ZapperConfig, ZapperStatus
from zapper.ports import IntentStore, RoundDone
from zapper.schedule import latest_round_ms, next_round_ms

log = logging.getLogger("zapper")

# A schedule's next moment is looked at again this often: the wall clock may be set.
CLOCK_CHECK_S = 30.0
# A round that could not be made (nothing may be paid, the log is not read whole) is tried again after so long.
RETRY_S = 30.0
# A holiday's outage is made up for. A pool that was away for longer is looked at by its operator (`noncestr payouts
# plan`, `run`) before money leaves it at an hour that nobody expects.
MAX_LATE_MS = 7 * 86_400_000
# Clocks are set back by less for a leap or a drift. By more, the moments done were a wrong clock's: after them nobody
# would be paid for as long as the clock was ahead.
MAX_SET_BACK_MS = 3_600_000

# Runs a task beside.
Start = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]


class Timetable:
    """`make_round` pays a round and says whether it was one, raising whatever it raises; `clock` gives Unix ms."""

    def __init__(
        self,
        config: ZapperConfig,
        *,
        store: IntentStore,
        status: ZapperStatus,
        make_round: Callable[[], Awaitable[bool]],
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._config = config
        self._store = store
        self._status = status
        self._make_round = make_round
        self._clock = clock
        self._sleep = sleep
        self._begun = 0
        # The newest moment whose round has ended.
        self._done_ms = 0

    async def run(self, start: Start) -> None:
        """Have each moment's round made, for good. A round that waits for a slow payee keeps no other waiting.

        Raises what the store raises.
        """
        if self._config.schedule:
            await self._by_schedule(start)
        await self._by_interval(start)

    async def _by_interval(self, start: Start) -> None:
        if (last := await self._store.last_round()) is not None:
            self._status.last_round_ms = last.ended_ms
        while True:
            now_ms = self._clock()
            self._begin(now_ms, start)
            self._status.next_round_ms = now_ms + int(self._config.payout_interval_s * 1000)
            await self._sleep(self._config.payout_interval_s)

    async def _by_schedule(self, start: Start) -> None:
        after_ms = await self._first_ms()
        while True:
            now_ms = self._clock()
            if after_ms > now_ms + MAX_SET_BACK_MS:
                log.warning("the clock was set back: the schedule goes on from now")
                after_ms = self._done_ms = now_ms
            latest_ms = latest_round_ms(self._config.schedule, now_ms)
            if latest_ms > after_ms:
                after_ms = latest_ms
                if now_ms - latest_ms <= MAX_LATE_MS:
                    self._begin(latest_ms, start)
                else:
                    log.warning("a round was missed too long ago to be made up for: `noncestr payouts run` makes one")
            self._status.next_round_ms = next_round_ms(self._config.schedule, now_ms)
            await self._sleep(min((self._status.next_round_ms - now_ms) / 1000, CLOCK_CHECK_S))

    async def _first_ms(self) -> int:
        """The moment after which rounds are due: what was before a schedule was first followed is not missed."""
        last = await self._store.last_round()
        if last is not None:
            self._status.last_round_ms = last.ended_ms
        if last is None or last.schedule != self._config.schedule:
            ended_ms = None if last is None else last.ended_ms
            last = RoundDone(self._config.schedule, self._clock(), ended_ms)
            await self._store.set_last_round(last)
        self._done_ms = last.moment_ms
        return last.moment_ms

    def _begin(self, moment_ms: int, start: Start) -> None:
        self._begun += 1
        number = self._begun

        async def make() -> None:
            await self._make(number, moment_ms)

        start(make)

    async def _make(self, number: int, moment_ms: int) -> None:
        """The round of a moment, tried until it is made, the next one begins, or it is too late. Never raises."""
        self._status.undone_ms = moment_ms
        while True:
            try:
                if await self._make_round():
                    await self._ended(number, moment_ms)
                    return
            except Exception:
                log.exception("the zapper's round failed; it is tried again")
            await self._sleep(RETRY_S)
            if number != self._begun:
                return
            if self._clock() - moment_ms > MAX_LATE_MS:
                log.warning("a round could not be made in time and is left out")
                self._status.undone_ms = None
                return

    async def _ended(self, number: int, moment_ms: int) -> None:
        now_ms = self._clock()
        if number == self._begun:
            self._status.undone_ms = None
        self._status.last_round_ms = now_ms
        # An older round may end after a newer one, and the clock may be set back meanwhile.
        self._done_ms = max(self._done_ms, min(moment_ms, now_ms))
        await self._store.set_last_round(RoundDone(self._config.schedule, self._done_ms, now_ms))
