"""The configured wallet as a `LightningBackend`, opened with its secret out of a file or the environment."""

import shutil
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio.to_thread

from nips.nip47 import Connection, InvalidConnection, parse_connection
from noncestr.config.payouts import WALLETS, NwcSection, WalletSection, secret_key
from noncestr.config.sections import PayoutsConfig
from noncestr.errors import ConfigError, KeyFileError
from noncestr.feed import BridgeFeed
from noncestr.running import running
from relay_bridge.service import RelayBridge
from zapper.adapters.cln_backend import RUNE_HEADER, open_cln_backend
from zapper.adapters.lnbits_backend import KEY_HEADER, open_lnbits_backend
from zapper.adapters.lnd_backend import MACAROON_HEADER, open_lnd_backend
from zapper.adapters.nwc_backend import WalletUnfit, open_nwc_backend
from zapper.adapters.phoenixd_backend import open_phoenixd_backend
from zapper.adapters.wallet_http import WalletServer
from zapper.ports import LightningBackend
from zapper.secret import Secret

# Macaroons with many permissions have some 500 bytes, connections at most 2,048.
MAX_SECRET_FILE = 4096
# The version byte of macaroons as LND writes them, and the tag of the field that follows.
_BINARY_MACAROON = b"\x02\x01"


def read_secret(path: Path) -> Secret:
    """The text of a file that only its owner can read; of a binary one (LND's macaroons), the hex.

    Raises KeyFileError, which never quotes the file.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        with path.open("rb") as file:
            data = file.read(MAX_SECRET_FILE + 1)
    except OSError as error:
        raise KeyFileError(f"cannot read the secret file {path}: {error.strerror}") from None
    if mode & 0o077:
        raise KeyFileError(f"the secret file {path} can be read by others (mode {mode:04o}): run chmod 600 {path}")
    if len(data) > MAX_SECRET_FILE:
        raise KeyFileError(f"the secret file {path} has more than {MAX_SECRET_FILE} bytes: it holds something else")
    if data.startswith(_BINARY_MACAROON):
        return Secret(data.hex())
    try:
        return Secret(data.decode("ascii").strip())
    except ValueError:
        raise KeyFileError(f"the secret file {path} is empty, or holds more than the secret alone") from None


def _secret(backend: str, section: WalletSection) -> Secret:
    name = secret_key(section)
    file = getattr(section, f"{name}_file")
    if file:
        return read_secret(Path(file).expanduser())
    try:
        return Secret(getattr(section, name).strip())
    except ValueError as error:
        raise ConfigError((f"[payouts.{backend}] {name}: {error}",)) from None


def _connection(section: NwcSection) -> Connection:
    try:
        return parse_connection(_secret("nwc", section).reveal())
    except InvalidConnection as error:
        raise ConfigError((f"[payouts.nwc]: {error}",)) from None


def _server(backend: str, section: WalletSection) -> WalletServer:
    assert not isinstance(section, NwcSection)
    certificate = Path(section.tls_cert).expanduser() if section.tls_cert else None
    if certificate is not None:
        try:
            ssl.create_default_context(cafile=str(certificate))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError((f"[payouts.{backend}] tls_cert = {section.tls_cert!r}: {error}",)) from None
    secret = _secret(backend, section)
    headers = {"lnd": MACAROON_HEADER, "cln": RUNE_HEADER, "lnbits": KEY_HEADER}
    if backend in headers:
        return WalletServer(section.url, {headers[backend]: secret}, tls_cert=certificate)
    return WalletServer(section.url, basic_password=secret, tls_cert=certificate)


def _empty(folder: Path) -> None:
    """What an earlier run could not send any more must not go out now: an order to pay is of its moment."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)


@asynccontextmanager
async def open_backend(payouts: PayoutsConfig, data: Path) -> AsyncIterator[LightningBackend]:
    """The wallet that [payouts] backend names, one of WALLETS. `data`: the pool's folder.

    A wallet that is away now may come back; raises ConfigError and KeyFileError for what only the operator can mend.
    """
    backend = payouts.backend
    if backend not in WALLETS:
        raise ValueError(f"{backend} is none of {', '.join(WALLETS)}")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        match backend:
            case "nwc":
                yield await enter(_open_nwc(payouts.nwc, data / "nwc"))
            case "lnd":
                yield await enter(open_lnd_backend(_server(backend, payouts.lnd)))
            case "cln":
                yield await enter(open_cln_backend(_server(backend, payouts.cln)))
            case "lnbits":
                yield await enter(open_lnbits_backend(_server(backend, payouts.lnbits)))
            case _:
                yield await enter(open_phoenixd_backend(_server(backend, payouts.phoenixd)))


@asynccontextmanager
async def _open_nwc(section: NwcSection, folder: Path) -> AsyncIterator[LightningBackend]:
    connection = _connection(section)
    await anyio.to_thread.run_sync(_empty, folder)
    bridge = RelayBridge(connection.relays, outbox_path=folder / "outbox.sqlite", signer=connection.secret)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(bridge.run))
        try:
            opened = await stack.enter_async_context(open_nwc_backend(BridgeFeed(bridge), connection))
        except WalletUnfit as error:
            raise ConfigError((f"[payouts.nwc]: {error}",)) from None
        yield opened
