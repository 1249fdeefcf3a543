"""The report's exit code, and its forms."""

import json

import pytest

from accounting.findings import Code, Finding, finding
from accounting.report import FAILS, HOLDS, MinerRow, Report, claim_row


def report(*findings: Finding) -> Report:
    rows = tuple(claim_row(name, 2, 1, findings) for name in ("chains", "payouts"))
    miner = MinerRow("aa", 3, 1 << 60, 5, 7, 4)
    return Report("34210:pool:regtest", 1, 2, rows, findings, (miner,), {"proven": 1}, 0)


@pytest.mark.parametrize(
    ("codes", "exit_code"),
    [
        ((), HOLDS),
        ((Code.PAYOUT_CLAIMED, Code.CHAIN_FACTS, Code.STRANGER), HOLDS),
        ((Code.PAYOUT_CLAIMED, Code.GAP), FAILS),
        ((Code.FORK,), FAILS),
    ],
)
def test_exit_code(codes: tuple[Code, ...], exit_code: int) -> None:
    assert report(*(finding(code, "text") for code in codes)).exit_code == exit_code


def test_claims_count_their_findings_by_grade() -> None:
    made = report(finding(Code.GAP, "a"), finding(Code.FORK, "b"), finding(Code.PAYOUT_CLAIMED, "c"))
    chains, payouts = made.claims
    assert (chains.contradicted, chains.missing, chains.not_checked) == (1, 1, 0)
    assert (payouts.contradicted, payouts.missing, payouts.not_checked) == (0, 0, 1)


def test_json() -> None:
    fields = json.loads(report(finding(Code.GAP, "a", "e1", miner="aa")).to_json())
    assert fields["findings"] == [
        {"code": "gap", "grade": "missing", "text": "a", "events": ["e1"], "miner": "aa", "key": None}
    ]
    assert fields["miners"][0]["work"] == str(1 << 60)
    assert fields["miners"][0]["owed_msat"] == 3
    assert fields["holds"] is False


def test_lines() -> None:
    lines = list(report(finding(Code.GAP, "seq 4", "e1")).lines())
    assert "chains: 1 of 2 hold, 1 missing" in lines
    assert any(line.startswith("missing: gap:") and line.endswith("seq 4") for line in lines)
    assert "  e1" in lines
    assert list(report().lines())[-1] == "all that was checked holds"
