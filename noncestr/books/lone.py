"""The books in a process that has no accounting: folded from the relays, signed by nobody here."""

from contextlib import AsyncExitStack
from pathlib import Path

from accounting.ports import ChainView, EventFeed
from accounting.reading import reading
from accounting.service import Accounting
from nips.pool.address import PoolAddress
from nips.pool.hashing import display
from noncestr.books.settings_follower import SettingsFollower
from noncestr.clock import WallClock
from noncestr.running import running

# So much of the accounting's key names the file: another key's books are read anew, from its beginning.
SHOWN_KEY = 16


class LogHeight:
    """In the place of a chain: what matures and what is orphaned the log says (4216), and where the tip is its jobs."""

    def __init__(self) -> None:
        self.books: Accounting | None = None

    async def confirmations(self, block_hash: bytes) -> int | None:  # noqa: ARG002  nothing is known of any
        """Never a word."""
        return 0

    def height(self) -> int:
        """The height that the newest job builds on; 0 while there is none."""
        mining = None if self.books is None else self.books.fold.log.mining
        if mining is None or not mining.newest_job:
            return 0
        job = mining.read_jobs.get(max(mining.newest_job.values())[1])
        return 0 if job is None else job.height - 1


class LogBlocks:
    """Whether blocks are in the chain, by the log: an edge that makes jobs on top of one has it from its own node."""

    def __init__(self, books: Accounting) -> None:
        self._books = books

    async def confirmations(self, block_hash: bytes) -> int | None:
        """1 for a block that a job of the pool builds on, else 0, which is no word."""
        return 1 if display(block_hash) in self._books.fold.log.mining.heights else 0


def books_path(data: Path, accounting: str) -> Path:
    """The file of the books of an accounting (hex key); it can be dropped at any time."""
    return data / f"books-{accounting[:SHOWN_KEY]}.sqlite"


async def open_books(
    stack: AsyncExitStack,
    data: Path,
    pool: PoolAddress,
    accounting: str,
    feed: EventFeed,
    chain: ChainView | None = None,
    settings: SettingsFollower | None = None,
) -> Accounting:
    """The books of a pool, read until the stack closes; `settings`, which run, show workers as miners want them."""
    view = chain or LogHeight()
    books = reading(
        pool=pool,
        accounting=accounting,
        feed=feed,
        chain=view,
        store_path=books_path(data, accounting),
        clock=WallClock(),
        settings=settings,
    )
    if isinstance(view, LogHeight):
        view.books = books
    if settings is not None:
        settings.serve(books.knows, books.heed_settings)
    await stack.enter_async_context(running(books.run))
    return books
