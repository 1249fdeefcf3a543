"""A miner's year as CSV, for its taxes: what matured, what was taken back, what was paid, each with what proves it.

`msat` is what an entry does to what the pool owes the miner: earnings add to it, payouts take from it. Times are UTC,
the year too. What pends is not in it: it may still be orphaned.
"""

import csv
import io
from collections.abc import AsyncIterable, AsyncIterator
from datetime import UTC, datetime

from accounting.beancount_text import sat_text
from accounting.entries import Entry, Reference
from accounting.ledger import miner_account

COLUMNS = (
    "time",
    "type",
    "sat",
    "msat",
    "event",
    "statement",
    "block",
    "height",
    "found",
    "payout",
    "method",
)
EARNED, TAKEN_BACK, PAYOUT, PAID_BACK, NETWORK_FEE = "earned", "taken back", "payout", "paid back", "network fee"
# What a spreadsheet takes for a formula when a text begins with it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
FIRST_YEAR, LAST_YEAR = 2009, 9998


def year_bounds(year: int) -> tuple[int, int]:
    """The first second of a year (UTC), and of the next. Raises ValueError for a year without bitcoin."""
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(f"{year} is no year from {FIRST_YEAR} to {LAST_YEAR}")
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp()), int(datetime(year + 1, 1, 1, tzinfo=UTC).timestamp())


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(values: tuple[object, ...]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(values)
    return out.getvalue()


def tax_rows(entry: Entry, reference: Reference, miner: str) -> list[tuple[object, ...]]:
    """The rows of one entry, in the order of COLUMNS."""
    moved = {account: msat for account, msat in entry.transaction.postings if account.startswith(f"miner:{miner}:")}
    told: list[tuple[str, int]] = []
    if reference.payout is not None:
        paid = moved.get(miner_account(miner, "paid"), 0)
        told.append((PAYOUT if paid < 0 else PAID_BACK, paid))
        told.append((NETWORK_FEE, moved.get(miner_account(miner, "fees"), 0)))
    else:
        earned = -moved.get(miner_account(miner, "owed"), 0)
        told.append((EARNED if earned > 0 else TAKEN_BACK, earned))
    reward, payout = reference.reward, reference.payout
    return [
        (
            _moment(entry.transaction.created_at * 1000),
            kind,
            sat_text(msat),
            msat,
            entry.transaction.id,
            reference.statement,
            "" if reward is None else reward.block,
            "" if reward is None or not reward.block else reward.height,
            "" if reward is None else _moment(reward.found_ms),
            "" if payout is None else _plain(payout.payout_id),
            "" if payout is None else payout.method,
        )
        for kind, msat in told
        if msat
    ]


async def tax_csv(entries: AsyncIterable[tuple[Entry, Reference]], miner: str) -> AsyncIterator[str]:
    """The text (RFC 4180), a piece an entry; `miner`: the key in hex whose entries these are."""
    yield _line(COLUMNS)
    async for entry, reference in entries:
        for row in tax_rows(entry, reference, miner):
            yield _line(row)
