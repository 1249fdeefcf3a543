"""What people see of batches that wait for a signature: whole ids and coins, no strangers' control characters."""

from typing import Any

import pytest

from nips.keys import SecretKey
from noncestr.commands.psbt_tables import show_batch, show_batches

MINER = SecretKey(b"\x01" * 32).pubkey
TXID, COIN = "ab" * 32, f"{'cd' * 32}:1"
ROW: dict[str, Any] = {
    "txid": TXID,
    "since_ms": 1_800_000_000_000,
    "shown_ms": None,
    "amount_msat": 1_234_567_000,
    "fee_sat": 4_321,
    "inputs": [COIN],
    "psbt": "cHNidP8" * 60,
    "payees": [{"miner": MINER, "amount_msat": 1_234_567_000, "to": "bcrt1q\x1b[31mred"}],
}


def test_batches_in_a_table_and_none(capsys: pytest.CaptureFixture[str]) -> None:
    show_batches({"batches": []})
    assert capsys.readouterr().out == "no batch waits for a signature\n"
    show_batches({"batches": [ROW, {**ROW, "txid": "ef" * 32, "shown_ms": 1_800_000_060_000}]})
    first, second = capsys.readouterr().out.splitlines()[1:3]
    assert TXID.startswith(first.split()[0])
    assert ("1,234,567" in first, "4,321" in first, "never shown" in first) == (True, True, True)
    assert "shown 2027-01-15 08:01" in second


def test_one_batch_says_whom_it_pays_and_what_it_spends(capsys: pytest.CaptureFixture[str]) -> None:
    show_batch(ROW, with_psbt=False)
    out = capsys.readouterr().out
    # Whole, on one line each: they are copied.
    assert f"batch:     {TXID}\n" in out
    assert f"spends:    {COIN}\n" in out
    assert "1,234,567 sat to 1 miners, fee 4,321 sat" in out
    assert ROW["psbt"] not in out
    assert "\x1b" not in out
    show_batch(ROW, with_psbt=True)
    assert f"{ROW['psbt']}\n" in capsys.readouterr().out
