"""The running accounting's fold on the disk: taken up at a start, kept every so many events and at a stop."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio

from accounting.adapters.database import StoreError, reason_of
from accounting.adapters.kept_shelves import KeptShelves, open_kept_shelves
from accounting.adapters.store import AccountingStore
from accounting.fold import Fold, codec_of, form

# A kill costs folding so many events again, a second or two; keeping the fold costs as much, of a large pool.
KEEP_EVENTS = 2_000


def fold_path(ledger: Path) -> Path:
    """Where the fold of a ledger's log is kept, beside it; the file can be dropped at any time."""
    return ledger.with_name(f"{ledger.stem}.fold.sqlite")


class KeptFold:
    """Open while the accounting runs. `keeping`: until that is over the fold stays as it is."""

    def __init__(self, ledger: Path, trouble: Callable[[str], None]) -> None:
        """`ledger`: its file, or where it would be; `trouble` is told what went wrong."""
        self._path = fold_path(ledger)
        self._trouble = trouble
        self.shelves: KeptShelves | None = None
        self.keeping = False
        # Events that were read when it was kept last.
        self._read = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Raises StoreError when the disk refuses."""
        with closing(open_kept_shelves(self._path, codec_of, form())) as self.shelves:
            yield

    def loaded(self, fold: Fold) -> None:
        """The fold was taken up, or made anew."""
        self._read = fold.log.read

    def is_due(self, fold: Fold) -> bool:
        """Whether so much was read since that it is to be kept."""
        return fold.log.read >= self._read + KEEP_EVENTS

    async def keep(self, store: AccountingStore, fold: Fold) -> None:
        """Keep the fold as it stands, so that a start goes on from here. Between two steps only."""
        if self.shelves is None:
            return
        self._read = fold.log.read
        self.keeping = True
        try:
            position, newest = await store.newest()
            # In a thread, so that Stratum and relays go on beside it: nothing changes the fold between two steps. What
            # the shelves have not written yet is little, and written here: readers share them with us.
            state = await anyio.to_thread.run_sync(fold.freeze)
            self.shelves.flush()
            await anyio.to_thread.run_sync(self.shelves.keep, position, newest, state)
        except (sqlite3.Error, StoreError) as error:
            self._trouble(f"the fold could not be kept: {reason_of(error)}")
        finally:
            self.keeping = False
