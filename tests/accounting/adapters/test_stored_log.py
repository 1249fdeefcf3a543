"""The stored log read from outside, in both databases: as it stood when opened, while the accounting writes on."""

from pathlib import Path

import anyio.from_thread
import anyio.to_thread
import pytest

from accounting.adapters.database import StoreError
from accounting.adapters.postgres_database import PostgresPlace
from accounting.adapters.store import open_store
from accounting.adapters.stored_log import StoredLog
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.archive import ArchiveBody, Digest
from nips.pool.chain import Head, next_link
from nips.pool.kinds import RECEIPT, TERMS
from nips.pool.statement import build_status

pytestmark = pytest.mark.anyio
KEY = SecretKey(b"\x07" * 32)
POOL = PoolAddress(KEY.pubkey, "regtest")


def event(second: int, kind: int = RECEIPT) -> VerifiedEvent:
    return KEY.sign(UnsignedEvent(kind, second, (), ""))


async def in_thread(place: Path | PostgresPlace, look: object) -> object:
    def run() -> object:
        with StoredLog(place) as log:
            return look(log)  # type: ignore[operator] - a function of the log

    return await anyio.to_thread.run_sync(run)


async def test_what_is_in_it(store_place: Path | PostgresPlace) -> None:
    events = [event(second) for second in (9, 1, 5, 3)]
    terms = [event(8, TERMS), event(2, TERMS)]
    async with open_store(store_place, POOL, KEY.pubkey) as store:
        assert await in_thread(store_place, lambda log: log.bounds()) is None
        await store.add_events([*events, *terms])

    def look(log: StoredLog) -> None:
        assert (log.pool, log.signer) == (POOL, KEY.pubkey)
        assert log.bounds() == (1, 9)
        assert [each.created_at for each in log.terms()] == [2, 8]
        assert [each.created_at for each in log.between(3, 9)] == [3, 5, 8]
        assert log.event(events[0].id) == events[0]
        assert log.event("00" * 32) is None

    await in_thread(store_place, look)


async def test_it_is_read_as_it_stood_while_the_accounting_writes_on(store_place: Path | PostgresPlace) -> None:
    async with open_store(store_place, POOL, KEY.pubkey) as store:
        await store.add_events([event(1)])

        def look(log: StoredLog) -> list[list[int]]:
            found = []
            for _ in range(2):
                found.append([each.created_at for each in log.between(0, 10)])
                anyio.from_thread.run(store.add_events, [event(2)])
            return found

        assert await in_thread(store_place, look) == [[1], [1]]
        assert await in_thread(store_place, lambda log: log.bounds()) == (1, 2)


async def test_an_announcement_is_asked_for_once_and_told_when_it_is_signed(store_place: Path | PostgresPlace) -> None:
    body = ArchiveBody(1, 2, 3, Digest("aa" * 32, 4), Digest("bb" * 32, 5), {"x": Head(1, "cc" * 32)}, ("https://x",))
    announcing = KEY.sign(build_status(POOL, next_link(None), "00" * 32, "matured", 1000))

    def ask(log: StoredLog) -> str | None:
        log.request_announcement(body)
        log.request_announcement(body)
        return log.announced(body.stream.sha256)

    async with open_store(store_place, POOL, KEY.pubkey) as store:
        assert await in_thread(store_place, ask) is None
        assert await store.archives() == [body]
        # Any event of our chain will do here.
        await store.add_own(announcing, archive=body.stream.sha256)
        assert await store.archives() == []
        assert await in_thread(store_place, ask) == announcing.id
        assert await in_thread(store_place, lambda log: log.announced("dd" * 32)) is None


async def test_a_place_without_books_is_said(store_place: Path | PostgresPlace) -> None:
    with pytest.raises(StoreError, match=r"there is no ledger|holds no books"):
        await in_thread(store_place, lambda log: log.bounds())
