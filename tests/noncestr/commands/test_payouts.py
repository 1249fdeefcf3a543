"""`noncestr payouts`: what each command asks of whoever answers, and what it prints of it."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nips.keys import SecretKey
from nips.nip19 import encode_npub
from noncestr.commands import payouts
from noncestr.commands.payouts import ROUND_S, payouts_app
from noncestr.errors import NoncestrError

MINER = SecretKey(b"\x01" * 32).pubkey
SHORT = encode_npub(MINER)[:16]
PLAN: dict[str, Any] = {
    "blocked": "", "payouts": [[MINER, 21_000]], "unpaid": {}, "waiting": {}, "unknown": [],
}  # fmt: skip


class Answers:
    """In the place of a pool."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...], float]] = []
        self.says: Any = None

    def answer(self, data: object, name: str, *args: Any, timeout_s: float = 60.0) -> Any:
        assert str(data) == "folder"
        self.asked.append((name, args, timeout_s))
        return self.says


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Answers:
    answers = Answers()
    monkeypatch.setattr(payouts, "answer", answers.answer)
    return answers


def run(*arguments: str) -> Result:
    return CliRunner().invoke(payouts_app, [*arguments, "--data", "folder"])


def test_a_plan_pays_nothing_and_a_round_waits_for_slow_payees(pool: Answers) -> None:
    pool.says = PLAN
    plan, paid = run("plan"), run("run")
    assert pool.asked == [("payouts_plan", (), 60.0), ("payouts_run", (), ROUND_S)]
    assert SHORT in plan.output
    assert "would be paid" in plan.output
    assert "would be paid" not in paid.output
    assert "is paid" in paid.output
    assert json.loads(run("plan", "--json").output) == PLAN


def test_what_is_shown_is_asked_for(pool: Answers) -> None:
    pool.says = {"payouts": [], "waiting": {}, "dead": {}}
    assert json.loads(run("show", "npub1x", "--limit", "7", "--json").output) == pool.says
    assert pool.asked == [("payouts_show", ("npub1x", 7), 60.0)]
    assert run("show", "--limit", "0").exit_code == 2
    assert len(pool.asked) == 1


def test_who_is_tried_again_is_named(pool: Answers) -> None:
    pool.says = {"retried": [MINER]}
    assert run("retry").output == f"{SHORT} is tried again in the next round\n"
    pool.says = {"retried": []}
    assert run("retry", "npub1x").output == "nobody has failed\n"
    assert [args for _, args, _ in pool.asked] == [("",), ("npub1x",)]


def test_an_unknown_payout_is_ended_by_one_evidence(pool: Answers) -> None:
    row = {"payout_id": "p1", "state": "settled", "reason": "", "said": ["the mint said \x1b[31myes"]}
    pool.says = row
    shown = run("resolve", "p1", "--preimage", "ab")
    assert shown.output == "the mint said ?[31myes\npayout p1 is settled\n"
    pool.says = {"payout_id": "p1", "state": "unknown", "reason": "it can still be paid"}
    assert run("resolve", "p1", "--never-paid", "I saw it").output == "payout p1 is unknown: it can still be paid\n"
    assert [(args, timeout) for _, args, timeout in pool.asked] == [
        (("p1", "ab", ""), ROUND_S),
        (("p1", "", "I saw it"), ROUND_S),
    ]
    assert json.loads(run("resolve", "p1", "--json").output) == pool.says
    both = run("resolve", "p1", "--preimage", "ab", "--never-paid", "no")
    assert isinstance(both.exception, NoncestrError)
    assert len(pool.asked) == 3, "nothing is asked with two answers at hand"
