"""The demo's Nutshell mint: a process of its own, beside the pool. What befalls it is shown and stops nothing."""

import logging
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
from anyio.abc import TaskStatus

from noncestr.demo.mint_main import FOLDER, KEY, PORT
from noncestr.whole_file import write_whole

log = logging.getLogger("noncestr.mint")

# Import and migrations take 2 s, on a busy machine some more.
START_S: Final = 120.0
# It gives its requests LAST_S (noncestr.demo.mint_main) to end.
STOP_S: Final = 7.0
# One that ends by itself is started again after the first wait, then after twice as long each time.
FIRST_WAIT_S: Final = 1.0
LAST_WAIT_S: Final = 300.0
# The last lines of its log, for whoever asks why it did not start.
LAST_WORDS: Final = 400


@dataclass(slots=True)
class MintStatus:
    """How the mint is: `url` while it answers, else "" and why not."""

    url: str = ""
    error: str = "it is starting"


class MintProcess:
    """A mint of `folder`: its database, key, port and log. It ends with this process, however that ends.

    Its keysets are derived from the key: with another one, all ecash of it would be worth nothing.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the folder and chooses the port, once for good: ecash names its mint by the URL."""
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = _kept(folder / "key", lambda: secrets.token_hex(32))
        self._port = _kept(folder / "port", _free_port)
        self.status = MintStatus()

    @property
    def url(self) -> str:
        """Where it answers, while it does."""
        return f"http://127.0.0.1:{self._port}"

    async def run(
        self,
        up: Callable[[str], Awaitable[None]],
        *,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep it running until cancelled; `up(url)` is awaited while it answers, and cancelled when it ends.

        Does not wait for the mint to start, and raises nothing of it or of `up`.
        """
        task_status.started()
        wait_s = FIRST_WAIT_S
        while True:
            try:
                if await self._live(up):
                    wait_s = FIRST_WAIT_S
            except Exception as error:  # nothing of the mint's ends the pool
                self.status = MintStatus(error=f"{type(error).__name__} {error}".strip())
            log.warning("the mint is not there: %s; it is started again in %g s", self.status.error, wait_s)
            await anyio.sleep(wait_s)
            wait_s = min(2 * wait_s, LAST_WAIT_S)

    async def _live(self, up: Callable[[str], Awaitable[None]]) -> bool:
        """One life of the process; whether it ever answered."""
        self.status = MintStatus()
        words = self._folder / "mint.log"
        with words.open("wb") as told:
            child = await anyio.open_process(
                # -P: the folder it runs in is no place to import from.
                [sys.executable, "-P", "-m", "noncestr.demo.mint_main"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=told,
                # Nutshell reads .env files of the folder it runs in and of the home: it gets ones of its own.
                cwd=self._folder,
                env=self._environment(),
            )
        try:
            is_up = False
            with anyio.move_on_after(START_S):
                is_up = await self._answers(child)
            if not is_up:
                self.status = MintStatus(error=f"it did not start: {self._last_words(words)}")
                return False
            self.status = MintStatus(url=self.url, error="")
            await self._serve(child, up)
            self.status = MintStatus(error=f"it ended ({child.returncode}): {self._last_words(words)}")
            return True
        finally:
            with anyio.CancelScope(shield=True):
                await _end(child)

    async def _serve(self, child: anyio.abc.Process, up: Callable[[str], Awaitable[None]]) -> None:
        """Until the process ends."""

        async def guarded() -> None:
            try:
                await up(self.status.url)
            except Exception as error:  # whatever uses the mint: the pool goes on without it
                log.warning("the mint is of no use: %s", error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guarded)
            await child.wait()
            tasks.cancel_scope.cancel()

    async def _answers(self, child: anyio.abc.Process) -> bool:
        """Wait for its line; whether it came."""
        assert child.stdout is not None
        with suppress(anyio.EndOfStream):
            return bool(await child.stdout.receive())
        return False

    def _environment(self) -> dict[str, str]:
        # Of ours it needs where Python and its libraries are; settings of ours, and passwords in them, are not for it.
        kept = {
            name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
        }
        root = str(Path(__file__).resolve().parent.parent)
        ours = {FOLDER: str(self._folder), KEY: self._key, PORT: self._port}
        return {**kept, "HOME": str(self._folder), "PYTHONPATH": root, **ours}

    @staticmethod
    def _last_words(path: Path) -> str:
        lines = path.read_text(errors="replace").strip().splitlines()
        return lines[-1][:LAST_WORDS] if lines else "it said nothing"


async def _end(child: anyio.abc.Process) -> None:
    """Close its standard input, which ends it when its requests are answered; then by force."""
    assert child.stdin is not None
    with anyio.move_on_after(STOP_S):
        await child.stdin.aclose()
        await child.wait()
    with suppress(ProcessLookupError):
        child.kill()
    await child.aclose()


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def _kept(path: Path, make: Callable[[], str]) -> str:
    """What the file says; made and written down when it is missing, for its owner alone."""
    if not path.exists():
        write_whole(path, make().encode())
    return path.read_text().strip()
