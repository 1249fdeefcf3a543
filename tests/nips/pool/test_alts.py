"""Every event of the pool says what it is to clients that do not know its kind, but for the bulk of the log."""

import pytest

from nips.pool import kinds
from nips.pool.alts import ALTS, alt_tag

BULK = {kinds.JOB, kinds.RECEIPT}


def test_all_of_the_log_but_its_bulk_has_a_text() -> None:
    assert set(ALTS) == kinds.LEDGER_KINDS - BULK
    assert all("mining pool" in text and len(text) <= 40 for text in ALTS.values())


@pytest.mark.parametrize("name", ["terms", "block", "statement", "status", "payout", "archive", "summary"])
def test_events_end_with_it(log, name) -> None:
    event = log.events[name]
    assert event.tags[-1] == alt_tag(event.kind)


def test_jobs_and_receipts_are_spared(log) -> None:
    ours = kinds.LEDGER_KINDS | kinds.VIEW_KINDS
    for event in (event for event in log.events.values() if event.kind in ours):
        assert (event.tag("alt") is None) == (event.kind in BULK), event.kind
