"""What a session was handed out, and what goes with each job: the difficulty it was announced at."""

from collections.abc import Callable
from fractions import Fraction

from stratum_edge import messages
from stratum_edge.jobs import Grade, LiveJob
from stratum_edge.shares import Assigned


class Handed:
    """The work of one session, by Stratum job id; shares on anything else are not its own."""

    __slots__ = ("_latest", "_sent", "_work")

    def __init__(self) -> None:
        # A grade until its first share: most jobs of most sessions never have one.
        self._work: dict[str, Grade | Assigned] = {}
        self._latest: Grade | None = None
        self._sent: Fraction | None = None

    @property
    def difficulty(self) -> Fraction | None:
        """What was announced last."""
        return self._sent

    @property
    def latest(self) -> Grade | None:
        """The newest work."""
        return self._latest

    def clear(self) -> None:
        """The session is over."""
        self._work.clear()

    def find(self, id: str, miner: str, extranonce1: bytes) -> Assigned | None:
        """The work of a Stratum job id, ready to judge shares; None if it is not this session's, or too old."""
        work = self._work.get(id)
        if isinstance(work, Grade):
            work = self._work[id] = Assigned(work, miner, extranonce1)
        return work

    def add(self, live: LiveJob, difficulty: Fraction, miner: str, clean: bool, knows: Callable[[str], bool]) -> bytes:
        """Hand out a job: its notify, with a set_difficulty right before where that is new to the session.

        `knows`: whether a job event is still kept; work on others is forgotten.
        """
        grade = live.grade(difficulty)
        if grade.stratum_id in self._work:
            grade = live.fresh_grade(grade.difficulty)
        line = live.form.line(grade.stratum_id, live.binding(miner, grade.share_bits), clean)
        if grade.difficulty != self._sent:
            line = messages.set_difficulty(grade.difficulty) + line
            self._sent = grade.difficulty
        # Jobs are forgotten in the order they came, so that looking at the oldest is enough.
        while self._work and not knows(self._work[oldest := next(iter(self._work))].live.job.id):
            del self._work[oldest]
        self._latest = self._work[grade.stratum_id] = grade
        return line
