"""A data folder whose relay has the example's log, and its books made anew."""

from pathlib import Path

import anyio
import pytest

from nips.nip19 import encode_nsec
from noncestr.books.place import LEDGER
from noncestr.books.rebuild import Rebuild
from relay_bridge.adapters.event_store import SqliteEventStore
from tests.vectors.example_log import ACCOUNTING, EDGE, POOL, POOL_KEY, ZAPPER, ExampleLog


@pytest.fixture(scope="module")
def log():
    return ExampleLog()


async def fill_relay(data: Path, events) -> None:
    async with SqliteEventStore(data / "relay.sqlite") as store:
        left = len(events)
        done = anyio.Event()

        def count(_outcome) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        for event in events:
            store.put(event, count)
        await done.wait()


@pytest.fixture
async def data(tmp_path, log):
    """A data folder: keys, and a relay that has the example's log."""
    folder = tmp_path / "data"
    (folder / "keys").mkdir(parents=True)
    for name, key in (("pool", POOL_KEY), ("edge", EDGE), ("accounting", ACCOUNTING), ("zapper", ZAPPER)):
        path = folder / "keys" / f"{name}.nsec"
        path.write_text(encode_nsec(key.secret_bytes()))
        path.chmod(0o600)
    await fill_relay(folder, list(log.events.values()))
    return folder


@pytest.fixture
def ledger(store_place, data):
    """Where the books are."""
    return data / LEDGER if isinstance(store_place, Path) else store_place


@pytest.fixture
def rebuild(ledger):
    database = None if isinstance(ledger, Path) else ledger

    async def rebuild(data: Path, *archives: Path, force: bool = False):
        said: list[str] = []
        work = Rebuild(data, POOL, ACCOUNTING.pubkey, said.append, database)
        return await work.run(archives, (), timeout_s=5, force=force), said

    return rebuild
