"""The books in a process that has no accounting: folded from the relays, signed by nobody here."""

from contextlib import AsyncExitStack
from pathlib import Path

from accounting.ports import ChainView, EventFeed
from accounting.reading import reading
from accounting.service import Accounting
from nips.pool.address import PoolAddress
from noncestr.clock import WallClock
from noncestr.running import running

# So much of the accounting's key names the file: another key's books are read anew, from its beginning.
SHOWN_KEY = 16


class NoChain:
    """In the place of a chain: what matures and what is orphaned the log says (4216)."""

    async def confirmations(self, block_hash: bytes) -> int | None:  # noqa: ARG002  nothing is known of any
        """Never a word."""
        return 0

    def height(self) -> int:
        """Unknown."""
        return 0


def books_path(data: Path, accounting: str) -> Path:
    """The file of the books of an accounting (hex key); it can be dropped at any time."""
    return data / f"books-{accounting[:SHOWN_KEY]}.sqlite"


async def open_books(
    stack: AsyncExitStack, data: Path, pool: PoolAddress, accounting: str, feed: EventFeed, chain: ChainView | None
) -> Accounting:
    """The books of a pool, read until the stack closes."""
    books = reading(
        pool=pool,
        accounting=accounting,
        feed=feed,
        chain=chain or NoChain(),
        store_path=books_path(data, accounting),
        clock=WallClock(),
    )
    await stack.enter_async_context(running(books.run))
    return books
