"""Shared fixtures: anyio tests run on asyncio, as the product does; a PostgreSQL server of the tests' own."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import anyio
import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from accounting.adapters.postgres_database import PostgresPlace

# No example is timed: a machine that does other things too is slow now and then, and that says nothing of the code.
settings.register_profile("noncestr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("noncestr")

# initdb and postgres refuse to be root: then they run as one of these.
UNPRIVILEGED = ("postgres", "nobody")
# initdb takes seconds of a free core, and passed a minute of a machine with ten processes for each; what is waited for
# longer than this, just under a test's own limit, is broken.
START_S = 110


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """await eventually(condition): until it holds, for what has no event to wait for; fails after a minute."""

    async def wait(condition: Callable[[], bool]) -> None:
        with anyio.fail_after(60):
            while not condition():  # noqa: ASYNC110 - the condition lives in the code under test
                await anyio.sleep(0.005)

    return wait


def _programs() -> Path | None:
    """Where initdb and postgres are; Debian keeps them out of PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in versions), key=lambda path: int(path.parent.name), default=None)


@dataclass
class PostgresServer:
    """A cluster in a temporary folder, reached by a socket there and by nothing else."""

    folder: Path
    programs: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://noncestr@/postgres?host={self.folder}"

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        user = None
        if os.getuid() == 0:
            user = next(name for name in UNPRIVILEGED if name in {entry.pw_name for entry in pwd.getpwall()})
            shutil.chown(self.folder, user)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self.programs / command[0], *command[1:]],
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            )

    def make(self) -> None:
        data = str(self.folder / "data")
        made = self._start("initdb", "-D", data, "-U", "noncestr", "-A", "trust", "-E", "UTF8", "--no-sync")
        assert made.wait(START_S) == 0, (self.folder / "log").read_text()

    def start(self) -> None:
        self.process = self._start(
            "postgres", "-D", str(self.folder / "data"), "-k", str(self.folder), "-c", "listen_addresses=",
            "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=40",
        )  # fmt: skip
        asyncio.run(self._answers())

    async def _answers(self) -> None:
        async with asyncio.timeout(START_S):
            while True:
                try:
                    connection = await asyncpg.connect(self.url)
                except (OSError, asyncpg.CannotConnectNowError):
                    assert self.process is not None
                    assert self.process.poll() is None, (self.folder / "log").read_text()
                    await asyncio.sleep(0.05)
                else:
                    await connection.close()
                    return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: let go of clients and shut down; SIGQUIT: at once, as a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(START_S)
            self.process = None


@pytest.fixture(scope="session")
def postgres_programs() -> Path:
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: no initdb in PATH nor under /usr/lib/postgresql")
    return programs


@pytest.fixture(scope="session")
def new_postgres_server(postgres_programs: Path) -> Iterator[Callable[[], PostgresServer]]:
    """Starts servers, each with a cluster of its own; all end with the session."""
    servers: list[PostgresServer] = []

    def new() -> PostgresServer:
        # Not pytest's own folder: a socket's path has 107 bytes at most, and others may not look into that one.
        server = PostgresServer(Path(tempfile.mkdtemp(prefix="noncestr-pg-")), postgres_programs)
        servers.append(server)
        server.make()
        server.start()
        return server

    yield new
    for server in servers:
        server.stop()
        shutil.rmtree(server.folder)


@pytest.fixture(scope="session")
def postgres_server(new_postgres_server: Callable[[], PostgresServer]) -> PostgresServer:
    return new_postgres_server()


@pytest.fixture(scope="session")
def _schema_numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def postgres_place(postgres_server: PostgresServer, _schema_numbers: Iterator[int]) -> PostgresPlace:
    """A place of the test's own."""
    return PostgresPlace(postgres_server.url, schema=f"test{next(_schema_numbers)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def store_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | PostgresPlace:
    """Where an accounting keeps its books: a file, or a server."""
    if request.param == "sqlite":
        return tmp_path / "ledger.sqlite"
    place: PostgresPlace = request.getfixturevalue("postgres_place")
    return place
