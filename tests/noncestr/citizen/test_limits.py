"""What may be said is a function of what was said."""

from hypothesis import given
from hypothesis import strategies as st

from noncestr.citizen.limits import DAY_MS, HOUR_MS, Answered, Limit, answer_limits, may_note

NOW = 1_800_000_000_000


def test_a_limit_counts_within_its_span() -> None:
    limit = Limit(2, 1000)
    assert limit.allows([], NOW)
    assert limit.allows([NOW - 1000, NOW - 999], NOW)
    assert not limit.allows([NOW - 999, NOW], NOW)
    # The clock was set back: what was said then still counts.
    assert not limit.allows([NOW + 5, NOW + 6], NOW)


def test_each_asker_has_a_limit_and_all_have_one_together() -> None:
    limits = answer_limits(2, 3)
    asked = [Answered(NOW - 5, "a", "hashrate"), Answered(NOW - 4, "a", "balance")]
    assert not limits.allow(asked, "a", "hashrate", NOW, unasked=False)
    assert limits.allow(asked, "b", "hashrate", NOW, unasked=False)
    assert not limits.allow([*asked, Answered(NOW, "b", "help")], "c", "hashrate", NOW, unasked=False)
    assert limits.allow(asked, "a", "hashrate", NOW + HOUR_MS, unasked=False)
    assert limits.span_ms == DAY_MS


def test_what_is_no_command_gets_one_help_a_day() -> None:
    limits = answer_limits(12, 100)
    assert limits.allow([Answered(NOW, "a", "hashrate")], "a", "other", NOW, unasked=True)
    helped = [Answered(NOW, "a", "other")]
    assert not limits.allow(helped, "a", "other", NOW + DAY_MS - 1, unasked=True)
    assert limits.allow(helped, "a", "balance", NOW + 1, unasked=False)
    assert limits.allow(helped, "a", "other", NOW + DAY_MS, unasked=True)


@given(st.integers(1, 20), st.lists(st.integers(0, 5 * DAY_MS), max_size=200))
def test_never_more_notes_than_allowed_within_a_day(per_day: int, tries: list[int]) -> None:
    posted: list[int] = []
    for now in sorted(tries):
        if may_note(posted, now, per_day):
            posted.append(now)
    assert all(sum(at <= other < at + DAY_MS for other in posted) < per_day for at in posted)
