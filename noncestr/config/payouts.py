"""The wallet that payouts are made from, as the configuration names it: [payouts] backend and [payouts.<backend>].

Each secret has three places: a file of mode 0600 (`..._file`), the environment, or the configuration itself.
"""

import dataclasses
from dataclasses import dataclass

from nips.pool.payout import METHODS
from noncestr.config.key import config_key as _key
from zapper.adapters.wallet_http import url_problem
from zapper.schedule import check_schedule

_FILE = "A file of mode 0600 that holds "
_TLS = 'A PEM file: only this certificate, or what it signed, is believed; "": the authorities of this system.'


def wallet_url(value: str) -> str | None:
    """Nothing, or the address of a node or wallet server."""
    return url_problem(value) if value else None


@dataclass(frozen=True, slots=True)
class NwcSection:
    """A wallet over Nostr Wallet Connect (NIP-47, NIP-44)."""

    uri_file: str = _key("", _FILE + "the connection, nostr+walletconnect://...")
    uri: str = _key("", "The connection; better in a file.", secret=True)


@dataclass(frozen=True, slots=True)
class LndSection:
    """LND over REST."""

    url: str = _key("", "Its restlisten address, such as https://127.0.0.1:8080.", wallet_url)
    macaroon_file: str = _key("", _FILE + "the macaroon, as LND writes it or in hex.")
    macaroon: str = _key("", "The macaroon in hex; better in a file.", secret=True)
    tls_cert: str = _key("", _TLS)


@dataclass(frozen=True, slots=True)
class ClnSection:
    """Core Lightning (24.11 or later) over clnrest."""

    url: str = _key("", "Its clnrest address, such as https://127.0.0.1:3010.", wallet_url)
    rune_file: str = _key("", _FILE + "the rune.")
    rune: str = _key("", "The rune; better in a file.", secret=True)
    tls_cert: str = _key("", _TLS)


@dataclass(frozen=True, slots=True)
class LnbitsSection:
    """A wallet of an LNbits server."""

    url: str = _key("", "The server's address, such as https://lnbits.example.", wallet_url)
    key_file: str = _key("", _FILE + "the wallet's admin key.")
    key: str = _key("", "The wallet's admin key; better in a file.", secret=True)
    tls_cert: str = _key("", _TLS)


@dataclass(frozen=True, slots=True)
class PhoenixdSection:
    """phoenixd (0.5 or later)."""

    url: str = _key("", "Its address, such as http://127.0.0.1:9740.", wallet_url)
    password_file: str = _key("", _FILE + "its http-password.")
    password: str = _key("", "Its http-password; better in a file.", secret=True)
    tls_cert: str = _key("", _TLS)


# The ways the pool itself can choose; an invoice only a miner can bring, a coinbase pays no balance.
CHOSEN = tuple(method for method in METHODS if method not in ("bolt11", "coinbase"))


def host_port(value: str) -> str | None:
    """Nothing, or a server as HOST:PORT."""
    return host_ports((value,)) if value else None


def host_ports(values: tuple[str, ...]) -> str | None:
    """Servers as HOST:PORT."""
    for value in values:
        host, colon, port = value.rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
            return f"must hold HOST:PORT, {value!r} is none"
    return None


def schedule(value: str) -> str | None:
    """Nothing, or a cron expression."""
    return check_schedule(value) if value else None


def methods(values: tuple[str, ...]) -> str | None:
    """Some of CHOSEN, none twice."""
    if not values or len(set(values)) != len(values) or not set(values) <= set(CHOSEN):
        return f"must hold some of {', '.join(CHOSEN)}, each once"
    return None


WalletSection = NwcSection | LndSection | ClnSection | LnbitsSection | PhoenixdSection
WALLETS = ("nwc", "lnd", "cln", "lnbits", "phoenixd")


def secret_key(section: WalletSection) -> str:
    """The name of the section's secret; its file's is NAME_file."""
    return next(key.name for key in dataclasses.fields(section) if key.metadata["secret"])


def wallet_problems(backend: str, section: WalletSection) -> list[str]:
    """A sentence for each thing that is missing in the section of the backend that is used."""
    problems = []
    if not isinstance(section, NwcSection) and not section.url:
        problems.append(f'[payouts.{backend}] url: backend = "{backend}" needs one')
    name = secret_key(section)
    if bool(getattr(section, name)) == bool(getattr(section, f"{name}_file")):
        problems.append(f"[payouts.{backend}] needs one of {name}_file and {name}")
    return problems
