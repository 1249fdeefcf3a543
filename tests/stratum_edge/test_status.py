"""The edge's own hashrate: work over five minutes."""

from stratum_edge.names import Name
from stratum_edge.status import RATE_STEP_MS, RATE_WINDOW_MS, SHOWN_WORKERS, Hashrate, Present, shown


def test_steady_work_is_its_rate_from_the_start_on():
    rate = Hashrate(0)
    for now in range(0, 600_000, 1000):
        rate.add(5000, now)
        if now >= 60_000:
            assert abs(rate.per_second(now) - 5000) <= 5000 * RATE_STEP_MS // 60_000


def test_old_work_is_forgotten_and_the_first_seconds_do_not_boast():
    rate = Hashrate(0)
    rate.add(1_000_000, 0)
    assert rate.per_second(1) == 100_000
    assert rate.per_second(RATE_WINDOW_MS - 1) > 0
    assert rate.per_second(2 * RATE_WINDOW_MS) == 0


def test_who_is_there_is_counted_once_however_often_it_came():
    present, name = Present(), Name("ab" * 32, "rig")
    for worker in ("rig", "rig", "other"):
        present.come(name._replace(worker=worker))
    assert (present.miners, present.workers) == (1, 2)
    present.go(name)
    assert (present.miners, present.workers) == (1, 2)
    present.go(name)
    assert (present.miners, present.workers) == (1, 1)
    present.go(name._replace(worker="other"))
    assert (present.miners, present.workers) == (0, 0)


def test_of_many_workers_the_first_are_shown_and_the_others_counted():
    assert shown(["b", "a", "b"]) == ("a", "b")
    names = [f"{number:02}" for number in range(SHOWN_WORKERS + 3)]
    assert shown(names) == (*names[:SHOWN_WORKERS], "+3 more")
