"""bench/year.py in short: ledger, statements and a second reckoning agree to the msat over 500 blocks."""

from dataclasses import replace

import pytest

from bench.year import Drift, Year


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
