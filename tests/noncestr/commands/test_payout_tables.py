"""What `noncestr payouts` prints: others' words never steer the terminal."""

import pytest

from noncestr.commands.payout_tables import plain, show_payouts


def test_a_profile_cannot_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;pwned\x07[/red]\u202e"
    row = {
        "payout_id": "ab" * 16, "state": "failed", "step_ms": 0, "created_ms": 0, "miner": "11" * 32,
        "amount_msat": 1500, "fee_msat": 0, "max_fee_msat": 0, "method": "zap", "destination": evil, "to": "22" * 32,
        "reference": None, "preimage": None, "reason": evil,
    }  # fmt: skip
    payee = {"dead_ms": 0, "not_before_ms": 0, "miner": "11" * 32, "failures": 1, "reason": evil}
    rounds = {"last": None, "next": 0, "undone": 0, "held": evil}
    for rows in ([row], [row, row]):
        show_payouts({"payouts": rows, "payees": [payee], "rounds": rounds})
        shown = capsys.readouterr().out
        assert "pwned" in shown
        assert plain(shown.replace("\n", "")) == shown.replace("\n", "")
