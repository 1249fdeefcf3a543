"""Keys that live elsewhere: our client against our signer, and rust-nostr's client against it, over a relay."""

import json
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import nostr_sdk
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.nip46 import parse_bunker
from nips.pool.kinds import RECEIPT, STATEMENT
from noncestr.clock import WallClock
from noncestr.errors import NoncestrError
from noncestr.keys import remote_key, signer_run
from noncestr.keys.remote_key import RemoteKey, RemoteKeyError, make_acquaintance
from noncestr.keys.signer_run import SignerRun
from noncestr.running import running
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy

pytestmark = pytest.mark.anyio
USER = SecretKey(b"\7" * 32)
OWN = SecretKey(b"\10" * 32)
WAIT = 60


@pytest.fixture
async def relay(tmp_path):
    async with (
        SqliteEventStore(tmp_path / "events.db") as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy()) as server,
    ):
        yield server.url


@pytest.fixture
def signing(relay, tmp_path):
    """signing(): the remote signer, running."""

    @asynccontextmanager
    async def start():
        signer = SignerRun(USER, [relay], tmp_path / "pool.clients", WallClock())
        async with running(signer.run):
            await signer.listening()
            yield signer

    return start


def statement(at=1_700_000_000, kind=STATEMENT):
    return UnsignedEvent(kind, at, (("a", "x"), ("p", "y")), 'a "quoted" text\n')


async def test_signed_elsewhere(signing):
    with anyio.fail_after(WAIT):
        async with signing() as signer:
            file = await make_acquaintance(parse_bunker(signer.offer()), OWN, WallClock(), name="a test")
            assert file.user == USER.pubkey
            key = RemoteKey(file, WallClock())
            async with running(key.run):
                event = await key.sign(statement())
                assert (event.pubkey, event.kind, event.content) == (USER.pubkey, STATEMENT, statement().content)
                with pytest.raises(RemoteKeyError, match="not permitted"):
                    await key.sign(statement(kind=RECEIPT))


async def test_who_was_let_in_stays_in(signing, tmp_path):
    """The signer starts anew: the client needs no token again, and the used one lets nobody in."""
    with anyio.fail_after(WAIT):
        async with signing() as signer:
            token = parse_bunker(signer.offer())
            file = await make_acquaintance(token, OWN, WallClock(), name="a test")
        [[client, granted]] = json.loads((tmp_path / "pool.clients").read_text())
        assert client == OWN.pubkey
        assert f"sign_event:{STATEMENT}" in granted.split(",")
        async with signing():
            key = RemoteKey(file, WallClock())
            async with running(key.run):
                assert (await key.sign(statement())).pubkey == USER.pubkey
            with pytest.raises(RemoteKeyError, match="refused"):
                await make_acquaintance(token, SecretKey(b"\11" * 32), WallClock(), name="a thief")


async def test_who_can_not_be_written_down_is_not_let_in_yet(signing, tmp_path, monkeypatch):
    """Its secret is used up: a signer that forgot it at its next start would have locked it out."""
    save, failed = signer_run._save, []

    def full(*args):
        if len(failed) < 2:
            failed.append(args)
            raise OSError(28, "No space left on device")
        save(*args)

    monkeypatch.setattr(signer_run, "_save", full)
    monkeypatch.setattr(remote_key, "REPEAT_S", 0.05)
    with anyio.fail_after(WAIT):
        async with signing() as signer:
            file = await make_acquaintance(parse_bunker(signer.offer()), OWN, WallClock(), name="a test")
    assert (file.user, len(failed)) == (USER.pubkey, 2)
    assert json.loads((tmp_path / "pool.clients").read_text())[0][0] == OWN.pubkey


async def test_a_signer_that_is_away_comes_back(signing, monkeypatch):
    """Without an answer the question is repeated; after a time who asked hears of it; later it works again."""
    monkeypatch.setattr(remote_key, "REPEAT_S", 0.05)
    with anyio.fail_after(WAIT):
        async with signing() as signer:
            file = await make_acquaintance(parse_bunker(signer.offer()), OWN, WallClock(), name="a test")
        key = RemoteKey(file, WallClock())
        async with running(key.run), anyio.create_task_group() as tasks:
            with anyio.move_on_after(0.5) as waited:
                await key.sign(statement())
            assert waited.cancelled_caught
            signed = []

            async def sign():
                signed.append(await key.sign(statement()))

            tasks.start_soon(sign)
            await anyio.sleep(0.2)
            assert signed == []
            async with signing():
                while not signed:  # noqa: ASYNC110 - the list has no event
                    await anyio.sleep(0.01)


async def test_nobody_answers(relay, monkeypatch):
    monkeypatch.setattr(remote_key, "ANSWER_S", 0.3)
    line = remote_key.Line(parse_bunker(f"bunker://{USER.pubkey}?relay={relay}"), OWN, WallClock())
    async with running(line.run):
        with pytest.raises(RemoteKeyError, match="did not answer"):
            await line.ask(remote_key.Request("1", "ping", ()), timeout_s=0.3)


async def test_another_client(signing):
    """rust-nostr's client, written by others, has the same signer sign for it."""
    with anyio.fail_after(WAIT):
        async with signing() as signer:
            client = nostr_sdk.NostrConnect(
                nostr_sdk.NostrConnectUri.parse(signer.offer()),
                nostr_sdk.Keys.generate(),
                timedelta(seconds=WAIT),
                None,
            )
            user = await client.get_public_key_async()
            assert user is not None
            assert user.to_hex() == USER.pubkey
            unsigned = nostr_sdk.EventBuilder(nostr_sdk.Kind(STATEMENT), "hello").finalize_unsigned(user)
            event = await client.sign_event_async(unsigned)
            assert event.verify()
            assert (event.author().to_hex(), event.content()) == (USER.pubkey, "hello")


async def test_a_flood_of_strangers_leaves_our_clients_their_turn(relay, tmp_path):
    (tmp_path / "pool.clients").write_text(json.dumps([[OWN.pubkey, f"sign_event:{STATEMENT}"]]))
    signer = SignerRun(USER, [relay], tmp_path / "pool.clients", WallClock())
    stranger = SecretKey(b"\11" * 32)
    signer._queue, waiting_for = anyio.create_memory_object_stream[object](signer_run.MAX_WAITING)
    with signer._queue, waiting_for:
        for _ in range(3 * signer_run.MAX_WAITING):
            signer._hear(stranger.sign(statement()))
        assert waiting_for.statistics().current_buffer_used == signer_run.MAX_STRANGERS
        ours = OWN.sign(statement())
        signer._hear(ours)
        waiting = [waiting_for.receive_nowait() for _ in range(signer_run.MAX_STRANGERS + 1)]
    assert [event.pubkey for event in waiting] == [stranger.pubkey] * signer_run.MAX_STRANGERS + [OWN.pubkey]


async def test_a_damaged_list_of_clients(relay, tmp_path):
    (tmp_path / "pool.clients").write_text('[["x"]]')
    with pytest.raises(NoncestrError, match="let in"):
        SignerRun(USER, [relay], tmp_path / "pool.clients", WallClock())
