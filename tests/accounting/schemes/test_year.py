"""bench/year.py in short: ledger, statements and a second reckoning agree to the msat over 500 blocks."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.statement import make, read, work_of
from bench.year import Drift, Year
from bench.year_log import YearLog


def test_five_hundred_blocks_end_without_drift() -> None:
    figures = Year(500, 1).run()
    assert figures.statements == 500 + figures.void
    assert figures.orphaned > 0
    assert figures.void > 0
    assert figures.donated_msat > 0
    assert figures.bonus_msat > 0
    assert figures.paid_msat > 0
    assert figures.drift_msat == 0


def test_a_row_that_is_off_by_a_msat_is_found() -> None:
    year = Year(10, 2)
    year.run()
    statement = next(iter(year.stands.values()))
    rows = (replace(statement.rows[0], msat=statement.rows[0].msat + 1), *statement.rows[1:])
    year.stands[statement.id] = replace(statement, rows=rows)
    with pytest.raises(Drift, match="differ by"):
        year.compare()


def test_a_posting_that_is_off_by_a_msat_is_found() -> None:
    year = Year(10, 2)
    year.run()
    year.ledger.accounts["fee:pending"] += 1
    with pytest.raises(Drift):
        year.compare()


# 10 CPU seconds: minutes on a machine that is shared.
@pytest.mark.timeout(600)
def test_five_hundred_blocks_as_a_signed_log_hold_before_a_stranger(tmp_path: Path) -> None:
    """Through the audit: its reckoning, the ledger and the statements are the same to the msat, with no finding."""
    figures = YearLog(tmp_path, 500, 1).run()
    assert figures.statements == 500 + figures.void + figures.periods
    assert min(figures.periods, figures.donations, figures.orphaned, figures.void) > 0


def test_statements_that_drift_by_a_msat_from_the_audit_are_found(tmp_path: Path) -> None:
    year = YearLog(tmp_path, 20, 2)
    year.run()
    year.sums[year.miners[0].pubkey, "matured"] += 1
    # The fold's file is closed, and the ledger's balances are in memory.
    with pytest.raises(Drift, match="statements"):
        year.compare()


def test_a_statement_of_many_miners_stands_in_parts() -> None:
    work = work_of(1000)
    events = make(work)
    assert len(events) == 4
    assert {row.miner: row.work for row in read(events).rows} == work
