"""The pool as a citizen of Nostr: it posts notes, keeps a status, answers who asks. Its parts are in `citizen_*`."""

from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskStatus

from noncestr.citizen.answerer import Answerer
from noncestr.citizen.facts import Books
from noncestr.citizen.memory import open_memory
from noncestr.citizen.ports import Clock, Feed, Identity, Test
from noncestr.citizen.teller import Teller
from noncestr.config.social import SocialConfig

# Its memory in the data folder.
FILE: Final = "citizen.sqlite"


class Citizen:
    """Run it beside the books. Nothing it does may stop the pool: what fails is logged and tried again."""

    def __init__(
        self,
        who: Identity,
        config: SocialConfig,
        books: Books,
        feed: Feed,
        clock: Clock,
        data: Path,
        test: Test | None = None,
    ) -> None:
        """`test`: see `Answerer`."""
        self._test = test
        self._who = who
        self._config = config
        self._books = books
        self._feed = feed
        self._clock = clock
        self._path = data / FILE

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Raises NoncestrError for a memory that can't be opened."""
        async with open_memory(self._path, self._clock.now_ms()) as memory, anyio.create_task_group() as tasks:
            parts = (self._who, self._config, self._books, self._feed, self._clock, memory)
            tasks.start_soon(Teller(*parts).run)
            if self._config.replies:
                tasks.start_soon(Answerer(*parts, self._test).run)
            task_status.started()
