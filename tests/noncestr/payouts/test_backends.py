"""The configured wallet: what is missing is told in a sentence, and each backend opens with its secret from a file or
the environment."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.nip47 import INFO, Connection
from noncestr.config.file import load_config
from noncestr.config.payouts import WALLETS
from noncestr.errors import ConfigError, KeyFileError
from noncestr.payouts.backends import MAX_SECRET_FILE, open_backend, read_secret
from noncestr.running import leaves
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy
from relay_bridge.service import RelayBridge
from tests.zapper.backends import nwc_wallets, rigs
from tests.zapper.backends.scripted_http import serve
from tests.zapper.backends.scripted_ledger import ScriptedLedger

WALLET, CLIENT = SecretKey(b"\x31" * 32), SecretKey(b"\x32" * 32)
NAMES = {"lnd": "macaroon", "cln": "rune", "lnbits": "key", "phoenixd": "password"}
SaveSecret = Callable[[bytes], Path]


@pytest.fixture
def save_secret(tmp_path: Path) -> SaveSecret:
    def save(data: bytes, mode: int = 0o600) -> Path:
        path = tmp_path / "secret"
        path.write_bytes(data)
        path.chmod(mode)
        return path

    return save


@pytest.fixture
def a_ledger() -> ScriptedLedger:
    return ScriptedLedger(lambda **_: "", lambda: 1_800_000_000, balance_msat=123_000)


def test_secrets_are_read_from_files(save_secret) -> None:
    assert read_secret(save_secret(b"abc123\n")).reveal() == "abc123"
    assert read_secret(save_secret(b"  rune=  \n")).reveal() == "rune="
    assert read_secret(save_secret(bytes.fromhex("0201036c6e64ff0a"))).reveal() == "0201036c6e64ff0a"


@pytest.mark.parametrize(
    ("data", "mode", "why"),
    [
        (b"hunter2", 0o644, "chmod 600"),
        (b"hunter2", 0o640, "chmod 600"),
        (b"", 0o600, "is empty"),
        (b"hunter2 and more", 0o600, "more than the secret"),
        (b"hunter2\nhunter2", 0o600, "more than the secret"),
        ("hünter2".encode(), 0o600, "more than the secret"),
        (b"hunter2" * MAX_SECRET_FILE, 0o600, "something else"),
    ],
)
def test_no_secret_file(save_secret, data: bytes, mode: int, why: str) -> None:
    path = save_secret(data, mode)
    with pytest.raises(KeyFileError, match=why) as raised:
        read_secret(path)
    # The folder has its name from the test's parameters.
    assert "hunter2" not in str(raised.value).replace(str(path), "")


def test_a_missing_secret_file(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        read_secret(tmp_path / "none")


@pytest.mark.parametrize("backend", WALLETS)
def test_what_a_backend_needs(backend: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(None, {"NONCESTR_PAYOUTS_BACKEND": backend})
    problems = raised.value.problems
    assert any(f"[payouts.{backend}] needs one of" in problem for problem in problems)
    assert (backend == "nwc") or any(f"[payouts.{backend}] url" in problem for problem in problems)


def test_a_section_that_is_not_used_needs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "noncestr.toml"
    path.write_text('[payouts]\nbackend = "none"\n[payouts.lnd]\nurl = "https://127.0.0.1:8080"\n')
    assert load_config(path, {}).payouts.lnd.url == "https://127.0.0.1:8080"


def test_bad_sections_are_told_by_name(tmp_path: Path) -> None:
    path = tmp_path / "noncestr.toml"
    path.write_text(
        '[payouts]\nbackend = "lnd"\ncln = 3\n'
        '[payouts.lnd]\nurl = "http://node.example"\nmacaron = "x"\nmacaroon = 7\n[payouts.lnbits]\nkey = ["hunter2"]\n'
    )
    with pytest.raises(ConfigError) as raised:
        load_config(path, {"NONCESTR_PAYOUTS_NWC_URL": "x"})
    text = "\n".join(raised.value.problems)
    for told in (
        "[payouts.lnd] url",
        "clear text",
        "[payouts.lnd] macaron: there is no such key",
        "[payouts.lnd] macaroon = ...: must be text",
        "payouts.cln: must be a section, written [payouts.cln]",
        "[payouts.lnbits] key = ...: must be text",
        "NONCESTR_PAYOUTS_NWC_URL: there is no such key",
    ):
        assert told in text
    assert "hunter2" not in text


@pytest.mark.anyio
@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("from_file", [True, False])
async def test_each_wallet_over_http(
    tmp_path: Path, save_secret, a_ledger: ScriptedLedger, backend: str, from_file: bool
) -> None:
    how, name = rigs.HTTP[backend], NAMES[backend]
    async with serve(how.script(a_ledger)) as server:
        env = {"NONCESTR_PAYOUTS_BACKEND": backend, f"NONCESTR_PAYOUTS_{backend.upper()}_URL": server.url}
        told = {f"{name}_file": str(save_secret(how.secret.encode() + b"\n"))} if from_file else {name: how.secret}
        env |= {f"NONCESTR_PAYOUTS_{backend.upper()}_{key.upper()}": value for key, value in told.items()}
        config = load_config(None, env)
        assert how.secret not in repr(config)
        async with open_backend(config.payouts, tmp_path) as wallet:
            assert await wallet.balance_msat() == 123_000
            assert server.url.removeprefix("http://") in wallet.name


@pytest.mark.anyio
async def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    env = {"BACKEND": "cln", "CLN_URL": "https://127.0.0.1:1", "CLN_RUNE": "r", "CLN_TLS_CERT": str(tmp_path / "none")}
    config = load_config(None, {f"NONCESTR_PAYOUTS_{key}": value for key, value in env.items()})
    with pytest.raises(ConfigError, match=r"\[payouts.cln\] tls_cert"):
        async with open_backend(config.payouts, tmp_path):
            pass


@pytest.mark.anyio
async def test_a_connection_that_is_none(tmp_path: Path) -> None:
    env = {"NONCESTR_PAYOUTS_BACKEND": "nwc", "NONCESTR_PAYOUTS_NWC_URI": "nostr+walletconnect://hunter2"}
    with pytest.raises(ConfigError, match=r"\[payouts.nwc\]") as raised:
        async with open_backend(load_config(None, env).payouts, tmp_path):
            pass
    assert "hunter2" not in str(raised.value)


@pytest.mark.anyio
async def test_nostr_wallet_connect(tmp_path: Path, save_secret, a_ledger: ScriptedLedger) -> None:
    """Out of a URI in a file, over a relay and @getalby/sdk; what an earlier run left unsent is gone."""
    clock = rigs.RigClock(1_800_000_000)
    stale = tmp_path / "data" / "nwc" / "outbox.sqlite"
    stale.parent.mkdir(parents=True)
    stale.write_text("an outbox of old")
    async with nwc_wallets.sdk_rig(tmp_path, a_ledger, clock) as rig:
        connection = Connection(nwc_wallets.WALLET.pubkey, (rig.url,), nwc_wallets.CLIENT)
        env = {
            "NONCESTR_PAYOUTS_BACKEND": "nwc",
            "NONCESTR_PAYOUTS_NWC_URI_FILE": str(save_secret(connection.uri().encode())),
        }
        async with open_backend(load_config(None, env).payouts, tmp_path / "data") as wallet:
            assert await wallet.balance_msat() == 123_000


@pytest.mark.anyio
async def test_a_wallet_that_will_not_do(tmp_path: Path) -> None:
    """It speaks NIP-04 only: the operator is told at once."""
    async with (
        SqliteEventStore(tmp_path / "events.db") as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy()) as relay,
    ):
        info = WALLET.sign(UnsignedEvent(INFO, 1_700_000_000, (), "pay_invoice lookup_invoice get_balance"))
        bridge = RelayBridge([relay.url], outbox_path=tmp_path / "outbox.sqlite")
        async with anyio.create_task_group() as tasks:
            await tasks.start(bridge.run)
            await bridge.publish(info)
            assert await bridge.flush(30)
            tasks.cancel_scope.cancel()
        env = {
            "NONCESTR_PAYOUTS_BACKEND": "nwc",
            "NONCESTR_PAYOUTS_NWC_URI": Connection(WALLET.pubkey, (relay.url,), CLIENT).uri(),
        }
        with pytest.raises(BaseExceptionGroup) as raised:
            async with open_backend(load_config(None, env).payouts, tmp_path / "data"):
                pass
        [error] = leaves(raised.value)
        assert isinstance(error, ConfigError)
        assert "nip44_v2" in str(error)


def test_the_documented_sections(tmp_path: Path) -> None:
    """Each of docs/payouts.md is a configuration that loads."""
    text = (Path(__file__).parents[3] / "docs" / "payouts.md").read_text("utf-8")
    shown = [block.partition("```")[0] for block in text.split("```toml\n")[1:]]
    path = tmp_path / "noncestr.toml"
    backends = set()
    for block in shown:
        path.write_text(block)
        backends.add(load_config(path, {}).payouts.backend)
    assert set(WALLETS) <= backends
