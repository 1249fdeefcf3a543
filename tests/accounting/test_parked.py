"""What others sign with the pool's name: kept only so far, and never in the place of the pool's own."""

from typing import Any

import pytest

import accounting.parked
from accounting.findings import Code
from accounting.fold import Fold
from accounting.log import PoolLog
from accounting.verifier import Audit, audit
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.kinds import JOB, SUMMARY
from tests.accounting.conftest import tell_story
from tests.accounting.hourly import tell_hours

MOST = 20
AFTER_MS = 10**9


@pytest.fixture(scope="module")
def hours() -> Any:
    return tell_hours(tell_story())


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole story is more than what is kept of strangers."""
    monkeypatch.setattr(accounting.parked, "MAX_PARKED", MOST)


def flood(story: Any, count: int = 3 * MOST) -> list[VerifiedEvent]:
    """A stranger's jobs and summaries, of as good a form as the pool's."""
    key, found = SecretKey(b"\5" * 32), []
    forms = [event for event in story.events.values() if event.kind in (JOB, SUMMARY)]
    for number in range(count):
        form = forms[number % len(forms)]
        found.append(
            key.sign(UnsignedEvent(form.kind, form.created_at + number // len(forms), form.tags, form.content))
        )
    return found


def test_the_jobs_of_strangers_are_bounded(hours: Any) -> None:
    log = PoolLog(hours.pool)
    for event in [hours.events["terms 0"], *flood(hours)]:
        log.add(event)
    log.settle()
    assert len(log.parked) == MOST
    assert len(log.mining.read_jobs) <= MOST
    for event in hours.all():
        log.add(event)
    assert not [fact for fact in log.settle() if type(fact).__name__ == "Reopened"]
    # All of its own are there.
    assert not [found for found in log.findings if found.code is Code.MISSING_JOB]
    assert {job.id for job in hours.jobs.values()} <= set(log.mining.read_jobs)


@pytest.mark.parametrize("terms_last", [False, True])
def test_an_audit_knows_its_own_whatever_comes_first(hours: Any, terms_last: bool) -> None:
    """A flood before the terms, and more of its own before them than is kept."""
    events = hours.all()
    if terms_last:
        events = sorted(events, key=lambda event: event.kind == 4210)
    report = audit([*flood(hours), *events], [], hours.pool, now_ms=hours.t0 + AFTER_MS)
    assert {found.code for found in report.findings} == {Code.CHAIN_FACTS, Code.STRANGER}
    (strangers,) = [found for found in report.findings if found.code is Code.STRANGER]
    assert strangers.text.startswith(f"{3 * MOST} events")
    assert {row.name: row.checked for row in report.claims}["summaries"] == 2


def test_what_may_have_been_let_go_is_read_again(hours: Any) -> None:
    """Piece by piece, the terms last: the log is to be read again, its terms first, and nothing of it is lost."""
    judge = Audit(hours.pool)
    terms = [event for event in hours.all() if event.kind == 4210]
    rest = [event for event in hours.all() if event.kind != 4210]
    for event in [*rest, *terms]:
        judge.add(event)
    assert judge.finish(hours.t0 + AFTER_MS) is None
    assert judge.reopened is not None
    again = Audit(hours.pool)
    for event in [*terms, *flood(hours), *rest]:
        again.add(event)
        again.settle()
    report = again.finish(hours.t0 + AFTER_MS)
    assert report is not None
    assert {found.code for found in report.findings} == {Code.CHAIN_FACTS, Code.STRANGER}


def test_summaries_before_the_terms_are_told_once_their_key_has_its_role(hours: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(accounting.parked, "MAX_PARKED", 1000)
    fold = Fold(hours.pool)
    for event in sorted(hours.all(), key=lambda event: event.kind == 4210):
        fold.add(event)
    fold.settle()
    assert fold.summaries.taken == 2
    assert not fold.violations
