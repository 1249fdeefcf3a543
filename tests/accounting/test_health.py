"""What the accounting says of itself: each finding once, troubles bounded, the books gone through now and then."""

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from accounting.findings import Code, finding
from accounting.fold import MAX_TROUBLES, Fold
from accounting.health import STUCK_TROUBLES, Condition, Health


class Books(SimpleNamespace):
    """A fold as far as its health is asked for; `wrong` is what going through its books says."""

    def check(self) -> list[str]:
        self.looks += 1
        return list(self.wrong)


def books(*codes: Code, wrong: tuple[str, ...] = (), violations: tuple[str, ...] = ()) -> Any:
    findings = [finding(code, code.value) for code in codes]
    return cast(Fold, Books(log=SimpleNamespace(findings=findings), wrong=wrong, violations=violations, looks=0))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    words = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return words


def condition(health: Health, fold: Any) -> Condition:
    return health.condition(fold, synced=True, may_sign=None, waiting={}, unpublished=3)


def test_each_finding_is_said_once_and_again_of_another_fold(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    codes = list(Code)[:3]
    health, fold = Health(1000), books(*codes[:2])
    health.look(fold, 0)
    assert [code.value in line for code, line in zip(codes, said(caplog), strict=False)] == [True, True]
    health.look(fold, 1)
    assert said(caplog) == []
    fold.log.findings.append(finding(codes[2], codes[2].value))
    health.look(fold, 2)
    assert len(said(caplog)) == 1
    # The log was folded anew and has one finding, fewer than were said of the old one: it is said all the same.
    fresh = books(codes[0])
    health.replaced(fresh)
    health.look(fresh, 3)
    assert len(said(caplog)) == 1


def test_the_books_are_gone_through_once_an_interval_and_what_is_wrong_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    health, fold = Health(1000), books(wrong=("a sum is off",), violations=("one entry is off",))
    for now_ms in (0, 999, 1000, 1999):
        health.look(fold, now_ms)
    assert fold.looks == 2
    assert said(caplog) == ["the books: a sum is off"]
    assert condition(health, fold).violations == ("a sum is off", "one entry is off")
    fold.wrong = ()
    health.look(fold, 2000)
    assert condition(health, fold).violations == ("one entry is off",)


def test_the_last_troubles_are_kept() -> None:
    health = Health(1000)
    for number in range(MAX_TROUBLES + 5):
        health.trouble(str(number))
    fold = books(*list(Code)[:1])
    health.look(fold, 0)
    shown = condition(health, fold)
    assert (len(shown.troubles), shown.troubles[-1]) == (MAX_TROUBLES, str(MAX_TROUBLES + 4))
    assert (sum(shown.findings.values()), shown.synced, shown.may_sign, shown.unpublished) == (1, True, None, 3)


def test_a_database_that_is_away_is_said_once_and_known_to_whoever_asks(caplog: pytest.LogCaptureFixture) -> None:
    health, fold = Health(1000), books()
    health.look(fold, 0)
    for _ in range(STUCK_TROUBLES - 2):
        health.trouble("the database: no connection")
    health.trouble("publishing failed: no connection")
    assert said(caplog) == ["the database: no connection", "publishing failed: no connection"]
    assert condition(health, fold).may_sign is None
    health.trouble("the database: no connection")
    shown = condition(health, fold)
    assert shown.may_sign == "nothing is booked for now: publishing failed: no connection"
    assert shown.troubles == ("the database: no connection", "publishing failed: no connection")
    # It is back.
    health.look(fold, 1)
    assert said(caplog) == [f"the accounting goes on, after {STUCK_TROUBLES} failures in a row"]
    assert condition(health, fold).may_sign is None
    health.trouble("the database: no connection")
    assert said(caplog) == ["the database: no connection"]
