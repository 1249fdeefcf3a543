"""What can still be read of a damaged ledger file: the events of our own chain, which may be nowhere else."""

from pathlib import Path

from accounting.adapters.database import StoreError
from accounting.adapters.sqlite_database import open_sqlite
from accounting.kept_events import unpack_raw
from nips.errors import InvalidEvent
from nips.nip01 import VerifiedEvent, decode_event, verify


async def salvage(path: Path) -> list[VerifiedEvent]:
    """Every event of our chain that is whole, by its signature; none if the file gives nothing."""
    found: list[VerifiedEvent] = []
    try:
        async with open_sqlite(path, read_only=True) as database:
            for (name,) in await database.fetch("SELECT id FROM own_chain ORDER BY seq"):
                try:
                    rows = await database.fetch("SELECT raw FROM events WHERE id = ?", name)
                    found += [verify(decode_event(unpack_raw(raw))) for (raw,) in rows]
                except (StoreError, InvalidEvent, ValueError, TypeError):
                    # This one lies on a damaged page.
                    continue
    except StoreError:
        return found
    return found
