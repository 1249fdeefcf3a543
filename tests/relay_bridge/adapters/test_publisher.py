"""The publisher on a disk that fails for a while: nobody is told that an event is kept when it is not."""

import anyio
import pytest

from relay_bridge.adapters import publisher as module
from relay_bridge.adapters.outbox_store import OutboxStore
from relay_bridge.adapters.publisher import Publisher
from relay_bridge.errors import StoreError
from relay_bridge.messages import RelayOk
from relay_bridge.outbox import Outbox
from relay_bridge.roles import Routes

pytestmark = pytest.mark.anyio
RELAY = "ws://relay.test"


class FailingStore(OutboxStore):
    """Refuses while `full`; the first commit waits for `go`."""

    full = False

    def __init__(self, path) -> None:
        super().__init__(path)
        self.entered, self.go, self.refused = anyio.Event(), anyio.Event(), anyio.Event()

    async def add(self, events):
        self.entered.set()
        await self.go.wait()
        if self.full:
            raise StoreError("database or disk is full")
        return await super().add(events)

    async def record(self, answers, settled):
        if self.full:
            self.refused.set()
            raise StoreError("database or disk is full")
        await super().record(answers, settled)


@pytest.fixture
async def store(tmp_path):
    store = FailingStore(tmp_path / "outbox.sqlite")
    await store.open()
    yield store
    await store.close()


async def test_all_who_wait_for_a_failing_commit_hear_of_it(store, sign) -> None:
    publisher = Publisher(store, Outbox(Routes([RELAY])), [])
    failed: list[int] = []

    async def publish(number: int) -> None:
        try:
            await publisher.publish([(sign(at=number), "chain")])
        except StoreError:
            failed.append(number)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publish, 0)
        await store.entered.wait()
        # These three wait behind the first, and go in one commit.
        for number in (1, 2, 3):
            tasks.start_soon(publish, number)
        await anyio.wait_all_tasks_blocked()
        store.full = True
        store.go.set()
    assert sorted(failed) == [0, 1, 2, 3]
    assert await store.load() == []
    store.full = False
    for number in range(4):
        await publisher.publish([(sign(at=number), "chain")])
    assert [entry.event_id for entry in await store.load()] == [sign(at=number).id for number in range(4)]


async def test_answers_that_the_disk_refuses_are_written_later(store, sign, monkeypatch) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    outbox = Outbox(Routes([RELAY]))
    publisher = Publisher(store, outbox, [])
    publisher._wakes[RELAY] = anyio.Event()
    store.go.set()
    await publisher.publish([(sign(), "")])
    outbox.take(RELAY, 0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publisher.run)
        store.full = True
        publisher._hear(RELAY, RelayOk(sign().id, True, ""))
        await store.refused.wait()
        store.full = False
        with anyio.fail_after(60):
            while not (await store.load())[0].accepted:  # noqa: ASYNC110 - the file has no event to wait for
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert (await store.load())[0].accepted == {RELAY}
