"""Miners' settings off the relays: in force at once, kept on disk, told to whoever hides names."""

from contextlib import asynccontextmanager

import anyio
import pytest

from nips.keys import SecretKey
from nips.pool.settings import SettingsBody, WorkerSettings, build_settings
from noncestr.books.settings_follower import FILE, SALT, SPARE_LINES, SettingsFollower
from noncestr.feed import Delivery

pytestmark = pytest.mark.anyio
POOL = "ab" * 32
MINER = SecretKey(bytes([1] * 32))
NOW_S = 1_800_000_000
NOW = NOW_S * 1000


class FakeFeed:
    """Relays that have some events, and tell one more for each number sent."""

    def __init__(self, *stored) -> None:
        self.stored = stored
        self.send, self.receive = anyio.create_memory_object_stream(10)
        self.asked = []

    @asynccontextmanager
    async def subscribe(self, filters, *, name):
        self.asked.append(filters)

        async def items():
            for event in self.stored:
                yield Delivery(event)
            yield "end of stored"
            async for event in self.receive:
                yield Delivery(event)

        yield items()

    def close(self) -> None:
        self.send.close()
        self.receive.close()


def event(body=None, second=NOW_S, signer=MINER):
    return signer.sign(build_settings(POOL, body or SettingsBody(), second))


def follower(folder, feed=None, now=NOW):
    return SettingsFollower(folder, POOL, feed, lambda: now)


HIDE = SettingsBody(hide_workers=True, lightning="a@b.c")


async def test_what_relays_have_and_what_comes_is_in_force(tmp_path):
    feed = FakeFeed(event(HIDE, NOW_S - 100))
    settings = follower(tmp_path, feed)
    heard = []
    settings.serve(lambda _: True, heard.append)
    async with anyio.create_task_group() as tasks:
        await tasks.start(settings.run)
        with anyio.fail_after(20):
            assert await settings.changed(0) == 1
            known = settings.of(MINER.pubkey)
            assert known is not None
            assert known.destination_ms == NOW - 100_000, "of first settings the date tells"
            assert settings.names.in_log(MINER.pubkey, "rig").startswith("#")
            await feed.send.send(event(SettingsBody(lightning="d@e.f"), NOW_S - 50))
            assert await settings.changed(1) == 2
        known = settings.of(MINER.pubkey)
        assert known is not None
        assert known.destination_ms == NOW
        assert settings.names.in_log(MINER.pubkey, "rig") == "rig"
        assert heard == [MINER.pubkey] * 2
        tasks.cancel_scope.cancel()
    feed.close()
    assert feed.asked[0][0].kinds == {34216}


async def test_a_start_without_relays_hides_what_was_hidden_under_the_same_pseudonym(tmp_path):
    before = follower(tmp_path)
    before.take(event(HIDE), stored=False)
    shown = before.names.in_log(MINER.pubkey, "rig")
    later = follower(tmp_path, now=NOW + 1_000_000)
    assert later.names.in_log(MINER.pubkey, "rig") == shown
    known = later.of(MINER.pubkey)
    assert known is not None
    assert known.destination_ms == NOW
    assert (tmp_path / SALT).stat().st_mode & 0o077 == 0


async def test_a_kill_amid_a_line_loses_that_line_alone(tmp_path):
    before = follower(tmp_path)
    before.take(event(HIDE))
    other = SecretKey(bytes([2] * 32))
    before.take(event(HIDE, signer=other))
    data = (tmp_path / FILE).read_bytes()
    first = data.index(b"\n") + 1
    for cut in range(first, len(data) - 1, 40):
        (tmp_path / FILE).write_bytes(data[:cut])
        after = follower(tmp_path)
        assert after.of(MINER.pubkey) is not None
        assert after.of(other.pubkey) is None
        after.take(event(HIDE, signer=other))
        assert follower(tmp_path).of(other.pubkey) is not None
    (tmp_path / FILE).write_bytes(data[:-1])
    assert follower(tmp_path).of(other.pubkey) is not None, "all of it but the end of the line"
    assert (tmp_path / FILE).read_bytes() == data


async def test_a_stored_change_that_was_missed_holds_from_when_it_is_seen(tmp_path):
    before = follower(tmp_path)
    before.take(event(HIDE, NOW_S - 500))
    later = follower(tmp_path, now=NOW + 5)
    later.take(event(SettingsBody(lightning="d@e.f"), NOW_S - 400), stored=True)
    known = later.of(MINER.pubkey)
    assert known is not None
    assert known.destination_ms == NOW + 5, "the old address was in force here until now"


async def test_the_file_does_not_grow_with_the_changes(tmp_path):
    settings = follower(tmp_path)
    for number in range(SPARE_LINES + 20):
        workers = {"rig": WorkerSettings(hidden=number % 2 == 0)}
        assert settings.take(event(SettingsBody(workers=workers), NOW_S - 2000 + number))
    assert len((tmp_path / FILE).read_bytes().splitlines()) < SPARE_LINES
    assert follower(tmp_path).of(MINER.pubkey) == settings.of(MINER.pubkey)


async def test_what_is_older_or_of_another_pool_changes_nothing(tmp_path):
    settings = follower(tmp_path)
    assert settings.take(event(HIDE))
    assert not settings.take(event(SettingsBody(), NOW_S - 1))
    assert not settings.take(MINER.sign(build_settings("cd" * 32, SettingsBody(), NOW_S + 5)))
    assert len((tmp_path / FILE).read_bytes().splitlines()) == 1
