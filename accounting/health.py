"""How the accounting stands: what it says in its log as things go wrong, and what whoever asks is told."""

import logging
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from accounting.fold import MAX_TROUBLES, Fold

logger = logging.getLogger(__name__)

# So many troubles without a step done in between, a third of a minute of tries: nothing is booked, whatever the cause.
STUCK_TROUBLES = 10


class Condition(NamedTuple):
    """How the accounting stands. `may_sign` is None when it signs, else why not; `waiting`: block -> why its statement
    has to wait.
    """

    synced: bool
    may_sign: str | None
    waiting: Mapping[str, str]
    violations: tuple[str, ...]
    troubles: tuple[str, ...]
    findings: Mapping[str, int]
    unpublished: int


class Health:
    """Says each finding once, each trouble once until a step succeeds, and goes through the whole books now and then.

    A step ends with a look, every second or so: troubles that pile up between two looks say that none ends well.
    """

    def __init__(self, audit_interval_ms: int) -> None:
        """`audit_interval_ms`: how often the books are checked as a whole."""
        self._interval_ms = audit_interval_ms
        self._looked_ms = 0
        self._whole: list[str] = []
        self._findings_said = 0
        self._troubles: deque[str] = deque(maxlen=MAX_TROUBLES)
        # Since the last look: how many, and what was said of them.
        self._since_look = 0
        self._said: set[str] = set()

    def trouble(self, text: str) -> None:
        """Something failed that is tried again: it is logged, unless it was since the last look, and the last ones are
        kept.
        """
        self._since_look += 1
        if text not in self._said:
            if len(self._said) >= MAX_TROUBLES:
                self._said.clear()
            self._said.add(text)
            logger.warning("%s", text)
            self._troubles.append(text)

    def replaced(self, fold: Fold) -> None:
        """Another fold has taken the place of the one that was looked at: its findings are all new."""
        self._findings_said = 0
        self._whole = fold.check()

    def look(self, fold: Fold, now_ms: int) -> None:
        """A step succeeded: log what is newly found, and what is wrong with the books once the interval is over."""
        if self._since_look >= STUCK_TROUBLES:
            logger.warning("the accounting goes on, after %d failures in a row", self._since_look)
        self._since_look = 0
        self._said.clear()
        for found in fold.log.findings[self._findings_said :]:
            logger.warning("%s: %s: %s %s", found.grade, found.code, found.text, " ".join(found.events))
        self._findings_said = len(fold.log.findings)
        if now_ms >= self._looked_ms:
            self._looked_ms = now_ms + self._interval_ms
            whole = fold.check()
            for text in whole:
                if text not in self._whole:
                    logger.error("the books: %s", text)
            self._whole = whole

    def condition(
        self, fold: Fold, *, synced: bool, may_sign: str | None, waiting: Mapping[str, str], unpublished: int
    ) -> Condition:
        """How it stands, by this fold."""
        grades: dict[str, int] = {}
        for found in fold.log.findings:
            grades[found.grade] = grades.get(found.grade, 0) + 1
        if self._since_look >= STUCK_TROUBLES:
            may_sign = f"nothing is booked for now: {self._troubles[-1]}"
        return Condition(
            synced=synced,
            may_sign=may_sign,
            waiting=waiting,
            violations=(*self._whole, *fold.violations),
            troubles=tuple(self._troubles),
            findings=grades,
            unpublished=unpublished,
        )
