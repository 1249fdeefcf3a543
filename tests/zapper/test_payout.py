"""The payout's table: no way around an unknown outcome, no way out of an end."""

import itertools
from pathlib import Path

import pytest

from zapper.errors import IllegalStep
from zapper.payout import FINAL, HOLDING, OPEN, TABLE, Intent, State, Step, diagram, next_state


def test_states_are_open_final_or_due() -> None:
    assert OPEN | FINAL | {State.DUE} == set(State)
    assert not OPEN & FINAL
    assert set(State) - HOLDING == {State.DUE, State.FAILED, State.RETURNED}


@pytest.mark.parametrize(("state", "step"), list(itertools.product(State, Step)), ids=str)
def test_steps_outside_the_table_are_refused(state: State, step: Step) -> None:
    if (state, step) in TABLE:
        assert next_state(state, step) is TABLE[state, step]
    else:
        with pytest.raises(IllegalStep):
            next_state(state, step)


def test_no_step_but_the_moneys_return_and_somebody_elses_sending_leads_out_of_an_end() -> None:
    assert [key for key in TABLE if key[0] in FINAL] == [(State.FAILED, Step.FOUND), (State.SETTLED, Step.RETURN)]


def test_money_is_sent_from_one_state_only() -> None:
    """SENDING is entered once: from INVOICED, whose invoice is stored; nothing leads back to it."""
    assert [key for key, target in TABLE.items() if target is State.SENDING] == [(State.INVOICED, Step.SEND)]
    after = {State.SENDING}
    for _ in State:
        after |= {target for (source, _step), target in TABLE.items() if source in after}
    assert not after & {State.INTENT, State.AWAITING, State.INVOICED, State.DUE}


def test_every_state_is_reached_and_every_open_one_can_end() -> None:
    reached = {State.DUE} | set(TABLE.values())
    assert reached == set(State)
    for state in OPEN:
        ways = {state}
        for _ in State:
            ways |= {target for (source, _step), target in TABLE.items() if source in ways}
        assert State.FAILED in ways
        assert State.SETTLED in ways


def test_the_diagram_is_the_table() -> None:
    text = diagram()
    for (source, step), target in TABLE.items():
        assert f"{source.value} --> {target.value}: {step.value}\n" in text
    assert text.count("-->") == len(TABLE) + 4


def test_a_step_changes_what_it_is_told_and_nothing_else() -> None:
    intent = Intent("id", "aa" * 32, 1000, 5, State.INTENT, 1, 1, "bb" * 32, "a@b", "zap")
    after = intent.after(Step.INVOICE, 9, payload="lnbcrt1", reference="cc" * 32)
    assert (after.state, after.step_ms, after.created_ms, after.payload) == (State.INVOICED, 9, 1, "lnbcrt1")
    assert intent.state is State.INTENT


def test_the_docs_show_the_table() -> None:
    docs = Path(__file__).parents[2] / "docs" / "payouts.md"
    assert diagram().strip() in docs.read_text("utf-8")
