"""Asking for zap receipts: soon, then seldom, then no more."""

from itertools import pairwise

from accounting.wanted import FIRST_MS, GIVE_UP_MS, LONGEST_MS, MOST_AT_ONCE, Wanted


def test_asked_less_and_less_often_then_given_up():
    wanted, now, asked = Wanted(), 1_000_000, []
    wanted.want("a")
    wanted.want("a")
    while wanted:
        if wanted.due(now):
            asked.append(now)
        now += FIRST_MS
    waits = [late - early for early, late in pairwise(asked)]
    assert waits[:3] == [FIRST_MS, 2 * FIRST_MS, 4 * FIRST_MS]
    assert max(waits) == LONGEST_MS
    assert GIVE_UP_MS <= asked[-1] - asked[0] <= GIVE_UP_MS + LONGEST_MS


def test_what_was_found_is_not_asked_for():
    wanted = Wanted()
    for number in range(MOST_AT_ONCE + 1):
        wanted.want(str(number))
    wanted.found("0")
    wanted.found("unknown")
    assert wanted.due(1) == [str(number) for number in range(1, MOST_AT_ONCE + 1)]
    assert wanted.due(1) == []
    assert len(wanted.due(1 + FIRST_MS)) == len(wanted) == MOST_AT_ONCE
