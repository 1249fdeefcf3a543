"""From what the pool knows to what its miners are told: each thing once, to who asked for it, within limits."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from accounting.settings_book import Known, destination
from nips.pool.payout import Payout
from nips.pool.settings import SettingsBody
from noncestr.citizen.facts import BlockFacts
from noncestr.citizen.limits import DAY_MS, HOUR_MS
from noncestr.notices.channels import Channels
from noncestr.notices.memory import MESSAGE, Batch, NoticeMemory, ToSend
from noncestr.notices.texts import Notice, Speaker, failed_subject, footer, moved_subject
from noncestr.notices.watch import MinerWatch, RateSeries, WorkerState, is_forgotten, judge_worker
from noncestr.notices.wishes import Wishes
from zapper.ports import Payee
from zapper.said import Move

# What is older when it is seen for the first time is no news: the page and the log have it.
NEWS_MS: Final = 6 * HOUR_MS
# A change of where money goes is told later too; what was told is remembered for longer.
MOVES_MS: Final = 3 * DAY_MS
# One failure is a server that was away for a minute; the third comes after some five minutes.
FAILURES: Final = 3
# Whoever has a stolen key must not fill the limits before it changes the address: changes are told beside them, the
# newest of an hour alone.
DESTINATION_MS: Final = HOUR_MS
# Workers and rates that are watched: some 3 KiB each.
MAX_WATCHED: Final = 20_000


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a watched miner: hashes a second over five minutes; worker -> (rate, last share's Unix ms)."""

    hashrate: int
    workers: Mapping[str, tuple[int, int]]
    # The name in the log -> what its owner calls it.
    shown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NoticeFacts:
    """One look. `settings`: of miners of this pool. `moves`: oldest first. `steady_ms`: since when the log is fresh,
    None while it is not.
    """

    now_ms: int
    steady_ms: int | None = None
    settings: Iterable[Known] = ()
    payouts: Sequence[Payout] = ()
    failing: Sequence[Payee] = ()
    moves: Sequence[Move] = ()
    blocks: Sequence[BlockFacts] = ()
    measured: Mapping[str, Measured] = field(default_factory=dict)
    # Who watches nothing any more.
    unwatched: frozenset[str] = frozenset()
    # Whether hashrates are sampled in this look.
    sampled: bool = False


@dataclass(frozen=True, slots=True)
class NoticeLimits:
    """Notices within 24 hours; `kinds`: the ways that are open besides private messages, which `messages` says."""

    per_day: int
    per_day_all: int
    messages: bool
    kinds: frozenset[str]


class Newsroom:
    """`wishes`: by miner (hex). `owed`: what it is owed, msat. `statement`: its newest statement's id."""

    def __init__(
        self,
        speaker: Speaker,
        limits: NoticeLimits,
        memory: NoticeMemory,
        wishes: Callable[[str], Wishes],
        channels: Channels,
        *,
        owed: Callable[[str], int],
        statement: Callable[[str], str | None],
    ) -> None:
        self._speaker = speaker
        self._limits = limits
        self._memory = memory
        self._wishes = wishes
        self._channels = channels
        self._owed = owed
        self._statement = statement

    def look(self, facts: NoticeFacts) -> Batch:
        """What is new. With a new memory all of it is taken for told. Watches change in the memory at once."""
        batch = Batch()
        found = [*self._once(facts, batch), *self._watched(facts, batch)]
        changes = [*self._destinations(facts, batch), *self._moved(facts, batch)]
        if not self._memory.is_new:
            self._admit([*changes, *found], batch, facts.now_ms)
        return batch

    def _once(self, facts: NoticeFacts, batch: Batch) -> Iterable[Notice]:
        """What has a subject: told with it, or never."""
        found: list[Notice] = []
        found += [
            self._speaker.paid(payout, owed_msat=self._owed(payout.miner), statement=self._statement(payout.miner))
            for payout in facts.payouts
            if f"paid {payout.id}" not in self._memory.subjects
        ]
        found += [
            self._speaker.block(block) for block in facts.blocks if f"block {block.block}" not in self._memory.subjects
        ]
        found += [
            self._failed(payee)
            for payee in facts.failing
            if (payee.failures >= FAILURES or payee.dead_ms)
            and failed_subject(payee.miner, payee.since_ms, given_up=bool(payee.dead_ms)) not in self._memory.subjects
        ]
        batch.subjects += [notice.subject for notice in found]
        return [notice for notice in found if notice.word in self._wishes(notice.miner).words]

    def _failed(self, payee: Payee) -> Notice:
        return self._speaker.failed(
            payee.miner,
            payee.reason,
            since_ms=payee.since_ms,
            failures=payee.failures,
            given_up=bool(payee.dead_ms),
            owed_msat=self._owed(payee.miner),
        )

    def _destinations(self, facts: NoticeFacts, batch: Batch) -> list[Notice]:
        found = []
        for known in facts.settings:
            miner, since_ms = known.settings.miner, known.destination_ms
            before = self._memory.destinations.get(miner)
            if before is not None and since_ms <= before[0]:
                continue
            body = known.settings.body
            # First settings that say nothing of it, and all that there were when the pool began to tell, are no change.
            is_first = before is None or not before[0]
            told_ms = 0 if before is None else before[1]
            if self._memory.is_new or (is_first and destination(body) == destination(SettingsBody())):
                batch.destinations[miner] = (since_ms, told_ms)
            elif self._may_tell_of(miner, facts.now_ms):
                batch.destinations[miner] = (since_ms, facts.now_ms)
                found.append(self._speaker.destination(miner, known.settings.id, body, since_ms))
        return found

    def _moved(self, facts: NoticeFacts, batch: Batch) -> list[Notice]:
        """Of what profiles and nutzap infos changed, the newest of each kind and miner."""
        new = [move for move in facts.moves if moved_subject(move) not in self._memory.subjects]
        newest = {(move.miner, move.kind): move for move in new}
        waiting = {miner for miner, _ in newest if not self._may_tell_of(miner, facts.now_ms)}
        batch.subjects += [moved_subject(move) for move in new if move.miner not in waiting]
        found = [move for (miner, _), move in newest.items() if miner not in waiting]
        for move in found:
            since_ms, _ = batch.destinations.get(move.miner) or self._memory.destinations.get(move.miner, (0, 0))
            batch.destinations[move.miner] = (since_ms, 0 if self._memory.is_new else facts.now_ms)
        return [self._speaker.moved(move) for move in found]

    def _may_tell_of(self, miner: str, now_ms: int) -> bool:
        """Whether the hour has passed since a change of where its money goes was told."""
        return now_ms - self._memory.destinations.get(miner, (0, 0))[1] >= DESTINATION_MS

    # Workers and hashrates

    def _watched(self, facts: NoticeFacts, batch: Batch) -> list[Notice]:
        watches = self._memory.watches
        batch.watches.update(dict.fromkeys(facts.unwatched & watches.keys()))
        if facts.steady_ms is None:
            return []
        found: list[Notice] = []
        room = MAX_WATCHED - sum(len(watch.workers) + len(watch.rates) for watch in watches.values())
        for miner, measured in facts.measured.items():
            watch = watches.setdefault(miner, MinerWatch())
            before = len(watch.workers) + len(watch.rates)
            news = [
                *self._workers(miner, measured, watch, facts, room),
                *(self._rates(miner, measured, watch, facts, room) if facts.sampled else ()),
            ]
            room -= len(watch.workers) + len(watch.rates) - before
            if news:
                batch.watches[miner] = watch
                found += news
        return found

    def _workers(
        self, miner: str, measured: Measured, watch: MinerWatch, facts: NoticeFacts, room: int
    ) -> Iterable[Notice]:
        assert facts.steady_ms is not None
        wishes = self._wishes(miner)
        for name in [*watch.workers, *(name for name in measured.workers if name not in watch.workers)]:
            shown = measured.shown.get(name, name)
            if not wishes.watches(shown):
                watch.workers.pop(name, None)
                continue
            _, last_ms = measured.workers.get(name, (0, 0))
            state = watch.workers.get(name)
            if state is None:
                if len(watch.workers) >= room:
                    continue
                state = WorkerState(last_ms)
            state, said = judge_worker(state, last_ms=last_ms, now_ms=facts.now_ms, steady_ms=facts.steady_ms)
            watch.workers[name] = state
            if said == "offline":
                yield self._speaker.offline(miner, shown, state.last_ms)
            elif said == "back":
                yield self._speaker.back(miner, shown, state.last_ms)
            elif is_forgotten(state, facts.now_ms):
                del watch.workers[name]

    def _rates(
        self, miner: str, measured: Measured, watch: MinerWatch, facts: NoticeFacts, room: int
    ) -> Iterable[Notice]:
        wishes = self._wishes(miner)
        for name in ["", *{*watch.rates, *measured.workers} - {""}]:
            shown = measured.shown.get(name, name)
            if not wishes.measures(shown):
                watch.rates.pop(name, None)
                continue
            series = watch.rates.get(name)
            if series is None:
                if len(watch.rates) >= room:
                    continue
                series = watch.rates[name] = RateSeries()
            series.add(facts.now_ms, measured.workers.get(name, (0, 0))[0] if name else measured.hashrate)
            drop = series.judge(facts.now_ms)
            if drop is not None:
                yield self._speaker.hashrate(miner, shown, drop, facts.now_ms)

    # Limits and ways

    def _admit(self, notices: list[Notice], batch: Batch, now_ms: int) -> None:
        if not notices:
            return
        sent = {miner: len(times) for miner, times in self._memory.sent_since(now_ms - DAY_MS).items()}
        everybody = sum(sent.values())
        for notice in notices:
            number = sent.get(notice.miner, 0) + 1
            is_limited = notice.word != "destination"
            if is_limited and (number > self._limits.per_day or everybody >= self._limits.per_day_all):
                continue
            ways = self.ways(notice, last=is_limited and number == self._limits.per_day)
            if ways:
                sent[notice.miner] = number
                everybody += 1
                batch.sends += ways

    def ways(self, notice: Notice, *, last: bool = False) -> list[ToSend]:
        """Where a notice goes. `last`: it says that no more come within the limit."""
        if last:
            text = f"{notice.text}\nThat is all for 24 hours: you had {self._limits.per_day} notices."
            notice = replace(notice, text=text)
        ways = [ToSend(notice, MESSAGE)] if self._limits.messages else []
        channels = self._wishes(notice.miner).private.channels
        confirmed = [channel for channel in channels if self._channels.is_confirmed(notice.miner, channel)]
        for channel in confirmed:
            text = f"{notice.text}\n\n{footer(channel.kind)}"
            ways.append(ToSend(replace(notice, text=text), channel.kind, channel.address))
        return ways
