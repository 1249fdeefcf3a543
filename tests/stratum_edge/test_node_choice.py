"""Which node is mined with."""

from stratum_edge.node_choice import FAULT_S, LAG_S, RETURN_AFTER_S, Standing, choose, order_of_trial

AWAY = Standing(None, 0.0, None)
NEW = Standing(1.0, 0.0, None)
SETTLED = Standing(RETURN_AFTER_S, 0.0, None)
FAULTY = Standing(500.0, 0.0, 1.0)
HEALED = Standing(500.0, 0.0, FAULT_S)
BEHIND = Standing(500.0, 1.0, None)
CUT_OFF = Standing(500.0, LAG_S, None)


def test_the_first_that_is_well() -> None:
    assert choose([NEW, SETTLED], None) == 0
    assert choose([AWAY, NEW], None) == 1
    assert choose([AWAY, AWAY], None) is None
    assert choose([FAULTY, NEW], None) == 1
    assert choose([CUT_OFF, NEW], None) == 1


def test_it_stays_while_it_is_well() -> None:
    assert choose([NEW, SETTLED], 1) == 1
    assert choose([SETTLED, NEW], 1) == 0
    assert choose([AWAY, SETTLED, NEW], 2) == 1
    assert choose([NEW, BEHIND], 1) == 1


def test_a_better_one_is_returned_to_only_when_it_is_settled() -> None:
    for not_yet in (AWAY, NEW, FAULTY, BEHIND, CUT_OFF):
        assert choose([not_yet, SETTLED], 1) == 1
    assert choose([HEALED, SETTLED], 1) == 0


def test_failover() -> None:
    assert choose([AWAY, NEW, SETTLED], 0) == 1
    assert choose([FAULTY, NEW], 0) == 1
    assert choose([CUT_OFF, NEW], 0) == 1
    assert choose([AWAY, BEHIND, NEW], 0) == 2
    assert choose([AWAY, BEHIND], 0) == 1


def test_with_none_usable_the_one_in_use_stays_unless_it_is_away() -> None:
    assert choose([FAULTY, AWAY], 0) == 0
    assert choose([AWAY, AWAY], 0) == 0
    assert choose([AWAY, FAULTY], 0) == 1
    assert choose([FAULTY, FAULTY], 1) == 1
    assert choose([FAULTY, CUT_OFF], None) == 0


def test_templates_are_asked_for_from_all_that_answer() -> None:
    assert order_of_trial([NEW, AWAY, NEW], 2) == [2, 0]
    assert order_of_trial([FAULTY, NEW, SETTLED], None) == [1, 2, 0]
    assert order_of_trial([FAULTY, NEW], 0) == [0, 1]
    assert order_of_trial([AWAY], 0) == []
