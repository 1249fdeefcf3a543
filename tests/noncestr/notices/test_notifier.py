"""The notifier at work: kills, relays that are away, tests asked for, and what a stranger's client reads."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import nostr_sdk
import pytest

from nips.nip01 import UnsignedEvent, encode_event, make_filter
from nips.nip17 import build_dm_relays
from nips.nip65 import normal_relay_url
from noncestr.feed import BridgeFeed
from noncestr.notices.lines import MessageLine
from noncestr.notices.memory import FILE, ask_for_test, open_notice_memory, queue_of
from noncestr.notices.notifier import CODE_LENGTH, TESTS_PER_HOUR, new_code
from noncestr.notices.post import MAX_ATTEMPTS, STALE_NOTICE_MS
from noncestr.running import running
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.fetch import fetch_events
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy
from relay_bridge.service import RelayBridge
from zapper.adapters.relay_reader import RelayReader
from zapper.adapters.relay_writer import RelayWriter

pytestmark = pytest.mark.anyio
PATIENCE_S = 60


@asynccontextmanager
async def relay(path: Path) -> AsyncIterator[str]:
    """A relay of ours that takes anything."""
    async with (
        SqliteEventStore(path.with_suffix(".sqlite")) as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy()) as server,
    ):
        yield server.url


async def test_a_kill_before_sending_costs_nothing_and_gives_nothing_twice(notices):
    notices.settle("alice", notify=("paid",))
    async with notices.notifier() as notifier:
        notices.pay("alice")
        await notifier.look()
    # Killed before it was sent; and once more after it was, before that was written.
    async with notices.notifier() as notifier:
        memory = notifier._memory
        done = memory.mark_done

        async def killed(_queued):
            raise RuntimeError

        memory.mark_done = killed
        with pytest.raises(BaseExceptionGroup):
            await notifier.send()
        memory.mark_done = done
    async with notices.notifier() as notifier:
        await notifier.send()
        await notifier.send()
    # The very same event: relays and clients take it once.
    assert len(notices.messages.wraps) == 2
    assert len({wrap.id for wrap in notices.messages.wraps}) == 1


async def test_a_mail_is_sent_once_whatever_becomes_of_it(notices):
    notices.settle("alice", notify=("paid",), private={"channels": [["email", "a@example.com", ""]]})
    async with notices.notifier() as notifier:
        await notifier.send()
        code = notices.mail.got[0][2].partition("settings: ")[2].split()[0]
        notices.clock.ms += 1000
        notices.settle("alice", notify=("paid",), private={"channels": [["email", "a@example.com", code]]})
        notices.mail.works = False
        notices.pay("alice")
        await notifier.look()
        await notifier.send()
        await notifier.send()
    async with notices.notifier() as notifier:
        await notifier.send()
    assert [title for _, title, _ in notices.mail.got] == ["Example: your code", "Paid: 1,234 sat"]


async def test_a_message_is_tried_again_and_then_given_to_the_pools_relays(notices):
    lasts = []

    async def send(_miner, wrap, *, now_s, last):
        assert now_s == notices.clock.ms // 1000
        lasts.append((wrap.id, last))
        return last

    notices.messages.send = send
    notices.settle("alice", notify=("paid",))
    async with notices.notifier() as notifier:
        notices.pay("alice")
        await notifier.look()
        for _ in range(200):
            await notifier.send()
            notices.clock.ms += 60_000
    assert [last for _, last in lasts] == [False] * (MAX_ATTEMPTS - 1) + [True]
    assert len({wrap for wrap, _ in lasts}) == 1


async def test_what_is_old_is_not_sent(notices):
    notices.settle("alice", notify=("paid",))
    async with notices.notifier() as notifier:
        notices.pay("alice")
        await notifier.look()
        notices.clock.ms += STALE_NOTICE_MS
        await notifier.send()
    assert notices.messages.wraps == []
    assert queue_of(notices.path / FILE, notices.key("alice").pubkey)[0][4]


async def test_relays_that_are_away_stop_nothing(notices, caplog):
    notices.settle("alice", notify=("paid",))
    notices.feed.away = True
    notices.books.is_synced = False
    async with notices.notifier() as notifier:
        notices.books.is_synced = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notifier._repeat, notifier.look, 0)
            with anyio.fail_after(PATIENCE_S):
                while "can't be told for a moment" not in caplog.text:  # noqa: ASYNC110 - a log tells nothing by itself
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()


async def test_a_private_part_nobody_can_read(notices, caplog):
    caplog.set_level("INFO")
    event = notices.settle("alice", notify=("paid",), private={"channels": "secret-of-alice"}).settings
    async with notices.notifier() as notifier:
        assert notifier.wishes(event.miner).words == {"paid"}
        notices.pay("alice")
        await notifier.look()
        await notifier.send()
    assert len(notices.read("alice")) == 1
    assert event.id in caplog.text
    assert "secret-of-alice" not in caplog.text


async def test_a_test_by_word_and_by_command(notices):
    alice = notices.key("alice").pubkey
    notices.settle("alice", private={"channels": [["email", "a@example.com", ""]]})
    async with notices.notifier() as notifier:
        assert "never seen a share" in await notifier.test(notices.key("stranger").pubkey)
        answer = await notifier.test(alice)
        assert "A test is on its way by message." in answer
        assert "Not used before your settings repeat the code sent there: email." in answer
        for _ in range(TESTS_PER_HOUR - 1):
            await notifier.test(alice)
        assert "ask again later" in await notifier.test(alice)
        await notifier.send()
        assert len(notices.read("alice")) == TESTS_PER_HOUR
        notices.clock.ms += 3_600_001
        await anyio.to_thread.run_sync(ask_for_test, notices.path / FILE, alice, notices.clock.ms)
        await notifier.look()
        await notifier.look()
        await notifier.send()
    texts = notices.read("alice")
    assert len(texts) == TESTS_PER_HOUR + 1
    assert set(texts) == {"A test message of the mining pool Example: its notices reach you here."}


async def test_the_memory_forgets_what_it_said(notices):
    notices.settle("alice", notify=("paid",))
    async with notices.notifier() as notifier:
        notices.pay("alice")
        await notifier.look()
        await notifier.send()
        rows = await notifier._memory._rows("SELECT text, event FROM queue")
        assert [tuple(row) for row in rows] == [("", "")]
    assert (notices.path / FILE).stat().st_mode & 0o077 == 0


async def test_a_write_that_fails_is_taken_back(notices):
    notices.settle("alice", notify=("paid",))
    async with notices.notifier() as notifier, open_notice_memory(notices.path / FILE, 0) as other:
        assert not other.is_new
        await notifier._memory._db.execute("DROP TABLE queue")
        notices.pay("alice")
        with pytest.raises(Exception, match="queue"):
            await notifier.look()
        assert not any(subject.startswith("paid") for subject in notifier._memory.subjects)


def test_codes_are_hard_to_guess():
    codes = {new_code() for _ in range(100)}
    assert len(codes) == 100
    assert all(len(code) == CODE_LENGTH and code.isalnum() and code.isupper() for code in codes)


async def test_a_strangers_client_reads_it_at_the_miners_relay(notices, tmp_path):
    """The miner's 10050 stands at the pool's relay and names another; nostr-sdk, as its client, opens what comes."""
    notices.clock.ms = int(time.time() * 1000)
    alice = notices.key("alice")
    async with AsyncExitStack() as stack:
        pools, theirs = [await stack.enter_async_context(relay(tmp_path / name)) for name in ("ours", "theirs")]
        bridge = RelayBridge([pools], outbox_path=tmp_path / "outbox.sqlite")
        await stack.enter_async_context(running(bridge.run))
        feed = BridgeFeed(bridge)
        await feed.publish(alice.sign(build_dm_relays([theirs], created_at=notices.clock.ms // 1000)))
        assert await bridge.flush(PATIENCE_S)
        notices.settle("alice", notify=("paid",))
        notices.settle("bob", notify=("paid",))
        notices.messages = MessageLine(
            feed,
            RelayReader(allow_private=True),
            RelayWriter(feed, [pools], allow_private=True),
            [normal_relay_url(pools)],
        )
        async with notices.notifier() as notifier:
            notices.pay("alice")
            notices.pay("bob")
            await notifier.look()
            await notifier.send()
        assert await bridge.flush(PATIENCE_S)
        # Bob has no such list: his waits at the pool's relays.
        for name, where in (("alice", theirs), ("bob", pools)):
            miner = notices.key(name)
            wanted = make_filter(kinds=[1059], tags={"p": [miner.pubkey]})
            [wrap] = (await fetch_events([where], [wanted], timeout_s=PATIENCE_S)).events
            keys = nostr_sdk.Keys.parse(miner.secret_bytes().hex())
            event = nostr_sdk.Event.from_json(encode_event(wrap).decode())
            gift = nostr_sdk.UnwrappedGift.from_gift_wrap(keys, event)
            assert gift.sender().to_hex() == notices.key("pool").pubkey
            rumor = json.loads(gift.rumor().as_json())
            assert rumor["kind"] == 14
            assert rumor["tags"] == [["p", miner.pubkey]]
            assert "paid you 1,234 sat by a zap" in rumor["content"]


async def test_relays_are_asked_where_the_miner_writes(notices, tmp_path):
    alice = notices.key("alice")
    async with relay(tmp_path / "theirs") as theirs, relay(tmp_path / "inbox") as inbox:
        writer = RelayWriter(notices.feed, [], allow_private=True)
        listed = alice.sign(build_dm_relays([inbox], created_at=5))
        await writer.deliver(listed, [theirs])
        notices.feed.stored.append(alice.sign(UnsignedEvent(10002, 5, (("r", theirs),), "")))
        line = MessageLine(notices.feed, RelayReader(allow_private=True), writer, [])
        assert await line.relays_of(alice.pubkey, now_s=10) == (normal_relay_url(inbox),)
        wrap = alice.sign(UnsignedEvent(1, 5, (), "x"))
        assert await line.send(alice.pubkey, wrap, now_s=10, last=False)
        assert notices.feed.published == []
        own = MessageLine(
            notices.feed,
            RelayReader(allow_private=True),
            RelayWriter(notices.feed, [inbox]),
            [normal_relay_url(inbox)],
        )
        assert await own.send(alice.pubkey, wrap, now_s=10, last=False)
        assert notices.feed.published == [wrap]
        # Nobody there: the last attempt leaves it at the pool's relays.
        notices.feed.stored.append(alice.sign(build_dm_relays(["ws://127.0.0.1:1"], created_at=9)))
        assert not await line.send(alice.pubkey, wrap, now_s=10, last=False)
        assert notices.feed.published == [wrap]
        assert await line.send(alice.pubkey, wrap, now_s=10, last=True)
        assert notices.feed.published == [wrap, wrap]
