"""The payouts in the intent store by state, read beside the zapper that writes them."""

import sqlite3
from pathlib import Path
from urllib.parse import quote

import aiosqlite


async def payout_counts(path: Path) -> dict[str, tuple[int, int]]:
    """state -> (how many, created_ms of the oldest, Unix ms); empty while there is no store. O(payouts)."""
    try:
        async with aiosqlite.connect(f"file:{quote(str(path))}?mode=ro", uri=True) as db:
            rows = await db.execute_fetchall("SELECT state, count(*), min(created_ms) FROM intents GROUP BY state")
    except sqlite3.OperationalError:
        # No file, no table yet, or a writer that holds it: what there is comes with the next question.
        return {}
    return {str(state): (int(count), int(oldest)) for state, count, oldest in rows}
