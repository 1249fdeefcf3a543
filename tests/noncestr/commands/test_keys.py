"""`noncestr keys` and `noncestr signer run`, as an operator uses them."""

import re
import subprocess
import sys
from contextlib import asynccontextmanager

import anyio
import pytest
from typer.testing import CliRunner

from nips.nip01 import UnsignedEvent
from nips.nip19 import encode_npub
from nips.pool.kinds import STATEMENT
from noncestr.cli import command_line
from noncestr.errors import NoncestrError
from noncestr.keys import files as keyfiles
from noncestr.keys.files import load, load_or_create
from noncestr.keys.passphrase import FILE_VARIABLE
from noncestr.running import running
from noncestr.terms.promises import Keys
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy

# A process has to start, import and connect, on a machine that does other things too.
WAIT = 120


def run(*args):
    result = CliRunner().invoke(command_line(), [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture
def data(tmp_path):
    Keys.load(tmp_path / "keys")
    return tmp_path


@pytest.fixture
def passphrase(tmp_path, monkeypatch):
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    return path


def test_keys_are_listed_without_a_secret(data):
    shown = run("keys", "list", "--data", data)
    for name in ("pool", "edge", "accounting", "zapper", "wallet"):
        assert encode_npub(load(data / "keys" / f"{name}.nsec").pubkey) in shown
    assert "nsec1" not in shown
    with pytest.raises(NoncestrError, match="no keys"):
        run("keys", "list", "--data", data / "none")


def test_encrypted_and_back(data, passphrase):
    before = load(data / "keys" / "zapper.nsec").pubkey
    assert encode_npub(before) in run("keys", "encrypt", "zapper", "--data", data, "--passphrase-file", passphrase)
    assert not (data / "keys" / "zapper.nsec").exists()
    assert "under a passphrase" in run("keys", "list", "--data", data)
    assert Keys.load(data / "keys").zapper.pubkey == before
    with pytest.raises(NoncestrError, match="under a passphrase"):
        run("keys", "encrypt", "zapper", "--data", data, "--passphrase-file", passphrase)
    run("keys", "decrypt", "zapper", "--data", data)
    assert load(data / "keys" / "zapper.nsec").pubkey == before
    assert not (data / "keys" / "zapper.ncryptsec").exists()
    with pytest.raises(NoncestrError, match="is not there"):
        run("keys", "encrypt", "nobody", "--data", data, "--passphrase-file", passphrase)


def test_a_wrong_passphrase_changes_nothing(data, passphrase):
    run("keys", "encrypt", "pool", "--data", data, "--passphrase-file", passphrase)
    passphrase.write_text("battery staple\n")
    with pytest.raises(NoncestrError, match="does not open"):
        run("keys", "decrypt", "pool", "--data", data)
    with pytest.raises(NoncestrError, match="does not open"):
        Keys.load(data / "keys")
    assert [path.name for path in (data / "keys").glob("pool.*")] == ["pool.ncryptsec"]


@asynccontextmanager
async def signer(key, relay):
    """`noncestr signer run`; gives its token."""
    command = [sys.executable, "-m", "noncestr", "signer", "run", "--key", str(key), "--relay", relay, "--offer"]
    async with await anyio.open_process(command, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        said = ""
        while not (found := re.search(r"bunker://\S+", said)):
            said += (await process.stdout.receive()).decode()
        try:
            yield found[0]
        finally:
            process.terminate()


@pytest.mark.anyio
async def test_the_accounting_key_elsewhere(data, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (data / "keys" / "accounting.nsec").rename(elsewhere / "accounting.nsec")
    pubkey = load(elsewhere / "accounting.nsec").pubkey
    with anyio.fail_after(WAIT):
        async with (
            SqliteEventStore(tmp_path / "events.db") as store,
            RelayServer("127.0.0.1", 0, store, OpenPolicy()) as relay,
            signer(elsewhere / "accounting.nsec", relay.url) as token,
        ):
            said = await anyio.to_thread.run_sync(run, "keys", "connect", "accounting", token, "--data", data)
            assert encode_npub(pubkey) in said
            assert "at a remote signer" in run("keys", "list", "--data", data)
            keys = Keys.load(data / "keys")
            assert keys.accounting.pubkey == pubkey
            [remote] = keys.remote
            async with running(remote.run):
                event = await keys.accounting.sign(UnsignedEvent(STATEMENT, 1, (), "x"))
            assert (event.pubkey, event.content) == (pubkey, "x")
            # A signer that has another key cannot take a key's place, nor let a used token in again.
            with pytest.raises(NoncestrError, match="refused"):
                await anyio.to_thread.run_sync(run, "keys", "connect", "pool", token, "--data", data)
    assert load(data / "keys" / "pool.nsec").pubkey != pubkey


@pytest.mark.anyio
async def test_a_signer_of_another_key(data, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    load_or_create(elsewhere, "other")
    with anyio.fail_after(WAIT):
        async with (
            SqliteEventStore(tmp_path / "events.db") as store,
            RelayServer("127.0.0.1", 0, store, OpenPolicy()) as relay,
            signer(elsewhere / "other.nsec", relay.url) as token,
        ):
            with pytest.raises(NoncestrError, match="another"):
                await anyio.to_thread.run_sync(run, "keys", "connect", "pool", token, "--data", data)
    assert [path.name for path in (data / "keys").glob("pool.*")] == ["pool.nsec"]


def test_what_cannot_be_connected(data):
    with pytest.raises(NoncestrError, match="not of 'edge'"):
        run("keys", "connect", "edge", "bunker://x", "--data", data)
    with pytest.raises(NoncestrError, match="bunker://"):
        run("keys", "connect", "pool", "nsec1whatever", "--data", data)


def test_no_two_forms(data):
    key = load_or_create(data / "keys", "pool")
    keyfiles.write_ncryptsec(data / "keys" / "pool.ncryptsec", key, "x", 4)
    with pytest.raises(NoncestrError, match="one of them"):
        Keys.load(data / "keys")
