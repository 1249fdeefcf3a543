"""How much the pool may say: limits as functions of what it said before and of now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
# Whoever writes what no command is gets the help once, and then silence: two machines would thank each other for ever.
HELPS_PER_DAY: Final = 1


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many `times` within any `span_ms`."""

    times: int
    span_ms: int

    def allows(self, times_ms: Iterable[int], now_ms: int) -> bool:
        """Whether one more may be done now, after those at `times_ms`. What lies ahead of a clock set back counts."""
        return sum(at > now_ms - self.span_ms for at in times_ms) < self.times


class Answered(NamedTuple):
    """An answer that was given: when, to whom (hex), to what (a Command's value)."""

    at_ms: int
    asker: str
    command: str


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """What each asker gets, what each gets of unasked help, and what all get together."""

    each: Sequence[Limit]
    unasked: Sequence[Limit]
    together: Sequence[Limit]

    @property
    def span_ms(self) -> int:
        """How far back a history must reach."""
        return max(limit.span_ms for limit in (*self.each, *self.unasked, *self.together))

    def allow(self, history: Sequence[Answered], asker: str, command: str, now_ms: int, *, unasked: bool) -> bool:
        """Whether this asker is answered now."""
        own = [answered for answered in history if answered.asker == asker]
        all_of_them = [answered.at_ms for answered in history]
        alike = [answered.at_ms for answered in own if answered.command == command]
        return (
            all(limit.allows([answered.at_ms for answered in own], now_ms) for limit in self.each)
            and all(limit.allows(all_of_them, now_ms) for limit in self.together)
            and (not unasked or all(limit.allows(alike, now_ms) for limit in self.unasked))
        )


def answer_limits(per_hour: int, per_day: int) -> AnswerLimits:
    """`per_hour` answers to one npub, `per_day` to all."""
    return AnswerLimits(
        each=(Limit(per_hour, HOUR_MS),),
        unasked=(Limit(HELPS_PER_DAY, DAY_MS),),
        together=(Limit(per_day, DAY_MS),),
    )


def may_note(posted_ms: Iterable[int], now_ms: int, per_day: int) -> bool:
    """Whether one more block may have its note: one of the day's notes is kept for the summary, which tells of all."""
    return Limit(max(per_day - 1, 0), DAY_MS).allows(posted_ms, now_ms)
