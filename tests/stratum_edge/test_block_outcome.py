"""What nodes' answers to a block come to."""

import pytest

from stratum_edge.block_outcome import ACCEPTED, NOT_ACTIVE, Answer, counted_as, judge_answer, needs_look, verdict
from stratum_edge.ports import Submitted

YES = Answer(True, "")
STALE = Answer(False, "inconclusive")
BAD = Answer(False, "high-hash")


@pytest.mark.parametrize(
    ("answer", "confirmations", "judged"),
    [
        (None, 1, YES),
        (None, 3, YES),
        (None, -1, Answer(False, NOT_ACTIVE)),
        (None, None, Answer(False, NOT_ACTIVE)),
        ("duplicate", 1, YES),
        ("duplicate", -1, Answer(False, "duplicate")),
        ("duplicate-inconclusive", 1, Answer(False, "duplicate-inconclusive")),
        ("inconclusive", None, STALE),
        ("high-hash", None, BAD),
        ("", None, Answer(False, "")),
    ],
)
def test_only_null_or_a_confirmed_duplicate_is_success(
    answer: str | None, confirmations: int | None, judged: Answer
) -> None:
    assert judge_answer(answer, confirmations) == judged


def test_what_is_looked_up() -> None:
    assert needs_look(None)
    assert needs_look("duplicate")
    assert not needs_look("inconclusive")
    assert not needs_look("")


def test_one_acceptance_decides() -> None:
    assert verdict([None, YES, STALE], final=False) == Submitted(True, "")


def test_a_refusal_waits_for_the_others() -> None:
    assert verdict([None, STALE], final=False) is None
    assert verdict([None, STALE], final=True) == Submitted(False, "inconclusive")
    assert verdict([BAD, STALE], final=False) == Submitted(False, "high-hash")


def test_silence_is_no_verdict() -> None:
    assert verdict([None, None], final=False) is None
    assert verdict([None, None], final=True) is None


def test_refusals_that_time_heals() -> None:
    assert Answer(False, "prev-blk-not-found").may_change
    assert Answer(False, "time-too-new").may_change
    assert not BAD.may_change
    assert not YES.may_change


def test_a_node_cannot_make_counters() -> None:
    assert counted_as(YES) == ACCEPTED
    assert counted_as(BAD) == "high-hash"
    assert counted_as(Answer(False, NOT_ACTIVE)) == NOT_ACTIVE
    assert counted_as(Answer(False, "my own words 12345")) == "other"
