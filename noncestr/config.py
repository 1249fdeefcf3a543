"""One TOML file, every key with its meaning; `NONCESTR_<SECTION>_<KEY>` in the environment overrides it.

The classes below are the only place a key is named: the loader, the checks and `noncestr.example.toml` are made from
them. A bad value is refused with a sentence that names the key, the value and what would be right; all at once.
"""

import dataclasses
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from nips.pool.kinds import NETWORKS
from noncestr.alert_config import AlertsSection
from noncestr.chain_config import ChainConfig, NodeConfig, chain_problems
from noncestr.checks import (
    PORT,
    SECONDS,
    between,
    difficulty,
    edge_keys,
    lane_names,
    networks,
    one_key,
    one_of,
    port_name,
    relay_urls,
    stratum_urls,
    web_url,
)
from noncestr.config_keys import config_key as _key
from noncestr.errors import ConfigError
from noncestr.ledger_config import AccountingSection
from noncestr.mint_config import MINT, MintConfig
from noncestr.notice_config import NoticesSection
from noncestr.offers_config import MAIN, OfferConfig, OfferKeys, offer_problems
from noncestr.passphrase import FILE_VARIABLE, VARIABLE
from noncestr.payout_config import (
    WALLETS,
    ClnSection,
    LnbitsSection,
    LndSection,
    NwcSection,
    PhoenixdSection,
    host_port,
    host_ports,
    methods,
    schedule,
    wallet_problems,
)
from noncestr.social_config import SocialConfig
from noncestr.treasury_config import TreasuryConfig, treasury_problems

ENV_PREFIX = "NONCESTR_"
# Tables that there may be many of, each with a name; and what each must say.
ARRAYS = {"ports": ("name", "port"), "offers": ("name", "scheme")}


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Who the pool is."""

    name: str = _key("noncestr demo", "The pool's name in its profile, its announcement and on the page.")
    network: str = _key(
        "regtest",
        "The Bitcoin network: main, testnet4, signet or regtest. All but regtest need [chain] source and payout.",
        one_of(*NETWORKS),
    )
    accounting: str = _key(
        "", "The npub of the accounting, for `noncestr pool run`; it prints it at its first start.", one_key
    )
    zapper: str = _key("", "The npub of the zapper, for `noncestr pool run`.", one_key)
    stratum: tuple[str, ...] = _key(
        (), "Where miners connect, as `noncestr pool run` announces it: stratum+tcp://HOST:PORT, ...", stratum_urls
    )
    web: str = _key("", "The address of the page, as `noncestr pool run` announces it: https://HOST.", web_url)


@dataclass(frozen=True, slots=True)
class PortKeys:
    """What every Stratum port has."""

    host: str = _key("127.0.0.1", "Address to listen on; 0.0.0.0 lets miners of your network in (or use --lan).")
    port: int = _key(3333, "TCP port; when it is busy, [stratum] takes the next free one.", PORT)
    start_difficulty: str = _key("1/8192", "Difficulty of a miner that asks for none.", difficulty)
    min_difficulty: str = _key("1/65536", "The easiest difficulty vardiff goes down to.", difficulty)
    max_difficulty: str = _key("4294967296", "The hardest difficulty vardiff goes up to.", difficulty)
    shares_per_minute: int = _key(12, "How many shares a minute vardiff aims at for each miner.", between(1, 600))
    fixed: bool = _key(False, "All shares at start_difficulty, whatever a miner's password or suggestion asks for.")
    bare_password: bool = _key(False, "A password that is a number alone asks for that difficulty, as d=NUMBER does.")
    tls_certificate: str = _key("", "Certificate chain, a PEM file: miners speak TLS here. Read again on SIGHUP.")
    tls_key: str = _key("", "The certificate's private key, a PEM file without a passphrase.")
    proxy_protocol: bool = _key(
        False, "Behind a proxy: each connection begins with a PROXY header (v1 or v2); reachable by the proxy alone."
    )


@dataclass(frozen=True, slots=True)
class StratumConfig(PortKeys):
    """Where miners connect: the port called main, and what holds for all ports."""

    pool_tag: str = _key("/noncestr/", "Text in the coinbase of every block, at most 30 ASCII characters.")
    connections: int = _key(
        20_000, "Connections a process takes on all its ports; each is a file and some 20 KB.", between(1, 1_000_000)
    )
    connections_per_address: int = _key(
        256,
        "Connections one address (IPv6: one /64) may hold; a farm behind one router needs one each.",
        between(1, 100_000),
    )
    login_seconds: int = _key(60, "A connection that has not logged in by then is closed.", SECONDS)
    idle_seconds: int = _key(3600, "A miner that handed in nothing good for so long is let go.", between(60, 604_800))
    strikes: int = _key(3, "So many connections closed for errors ban an address.", between(1, 1000))
    strike_seconds: int = _key(600, "Within this time.", SECONDS)
    ban_seconds: int = _key(
        600, "How long the first ban lasts; the next ones twice as long each, up to a day.", SECONDS
    )
    trusted_networks: tuple[str, ...] = _key(
        (), 'Networks that are never banned, such as "10.0.0.0/8"; this machine never is.', networks
    )


@dataclass(frozen=True, slots=True)
class PortConfig(PortKeys):
    """Another Stratum port, besides [stratum]."""

    name: str = _key("", "What the port is called in logs and lists; each its own.", port_name)
    offer: str = _key(MAIN, "What the pool promises to those who mine here: main, or the name of an [[offers]].")


@dataclass(frozen=True, slots=True)
class EdgeSection:
    """The processes that serve miners, and the edges of other hosts."""

    workers: int = _key(
        1, "Processes that share the Stratum ports, each with a lane of its own; one a free core.", between(1, 64)
    )
    keys: tuple[str, ...] = _key(
        (), "Edges on other hosts (`noncestr edge run`) that may sign for this pool: their npubs.", edge_keys
    )
    closed: tuple[str, ...] = _key(
        (), "Lanes of such edges whose journal is lost, as npub/NUMBER: closed at their last batch.", lane_names
    )
    close_silent: bool = _key(
        False, "Close such an edge's lane by itself once it was silent for [terms] lane_grace_seconds."
    )
    control: bool = _key(True, "Answer `noncestr edge status` and its like on a socket in the data folder.")


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """The log's relays."""

    embedded: bool = _key(True, "Run the embedded relay.")
    host: str = _key("127.0.0.1", "Address the embedded relay listens on.")
    port: int = _key(7777, "TCP port of the embedded relay; the next free one is taken when it is busy.", PORT)
    relays: tuple[str, ...] = _key((), "More relays to publish to and read from, ws:// or wss://.", relay_urls)
    quorum: int = _key(1, "An event counts as published when this many relays have taken it.", between(1, 16))
    social: tuple[str, ...] = _key(
        (), "Relays that get what people follow: profiles, notes, zaps, statements, the announcement.", relay_urls
    )
    social_quorum: int = _key(
        1, "Such an event is kept for them until this many of these have taken it.", between(1, 16)
    )


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The page and the read API."""

    host: str = _key("127.0.0.1", "Address to listen on.")
    port: int = _key(8080, "TCP port; the next free one is taken when it is busy.", PORT)
    proxies: tuple[str, ...] = _key(
        (), "Networks of reverse proxies: only their X-Forwarded-For says who asks, for the API's limits.", networks
    )


@dataclass(frozen=True, slots=True)
class TermsConfig(OfferKeys):
    """What the pool promises; a change is published as new terms and never touches work already done."""

    force_fee: bool = _key(False, "Take a fee above 5 % all the same, in whichever offer.")
    donate_to: str = _key(
        "",
        "Whose rows get what miners give away by their settings, as npub or in hex; empty: nothing is given.",
        one_key,
    )
    batch_seconds: int = _key(10, "A share receipt is published about this often, in seconds.", between(1, 600))
    heartbeat_seconds: int = _key(30, "An empty receipt after this long without shares.", between(1, 3600))
    lane_grace_seconds: int = _key(
        600, "A lane silent for so long may be closed, so that statements go on without it.", between(1, 86_400)
    )
    maturity_blocks: int = _key(6, "Confirmations after which a reward is payable.", between(1, 1000))
    minimum_payout_sat: int = _key(1, "Balances under this many sat wait.", between(1, 100_000_000))


@dataclass(frozen=True, slots=True)
class PayoutsConfig:
    """When and how the zapper pays."""

    interval_seconds: int = _key(20, "Look for due balances this often, in seconds.", SECONDS)
    backend: str = _key(
        "demo",
        "demo: the fake Lightning of regtest; on any other network it is as none: balances accumulate. Else the wallet "
        "of a section below: nwc, lnd, cln, lnbits or phoenixd; or mint: the ecash at the first of [mint] urls.",
        one_of("demo", "none", MINT, *WALLETS),
    )
    concurrency: int = _key(8, "How many payees are paid at the same time.", between(1, 256))
    private_hosts: tuple[str, ...] = _key(
        (), "LNURL servers with private addresses that may be asked all the same, as HOST:PORT.", host_ports
    )
    tor_proxy: str = _key(
        "", 'A SOCKS5 proxy of Tor, such as 127.0.0.1:9050, for LNURL servers that are onions; "": none.', host_port
    )
    schedule: str = _key("", 'When to pay instead, as cron in UTC, such as "0 12 * * *"; "": the interval.', schedule)
    methods: tuple[str, ...] = _key(
        ("zap", "nutzap"),
        "How to pay whose settings don't say, best first: of zap, lnurl, nutzap, cashu, onchain.",
        methods,
    )
    per_day_sat: int = _key(0, "At most so much leaves in 24 hours, in sat; 0: no limit.", between(0, 10**12))
    network_fee: str = _key("pool", "Who bears what a payment costs: pool or miner.", one_of("pool", "miner"))
    max_fee_ppm: int = _key(10_000, "What a payment may cost, in millionths of its amount ...", between(0, 1_000_000))
    max_fee_sat: int = _key(5, "... or in sat, whichever is more.", between(0, 10_000_000))
    onchain_sat: int = _key(100_000, "The least that goes on chain, in sat.", between(1000, 10**12))
    onchain_wallet: str = _key("", 'The wallet of the first node of [node] that pays on chain; "": nobody is paid so.')
    idle_days: int = _key(
        90,
        "Balances under the minimum are paid all the same after so many days without earnings; 0: never.",
        between(0, 3650),
    )
    give_up_days: int = _key(
        30, "Who could not be paid for so long is tried again only when it publishes something new.", between(1, 3650)
    )
    nwc: NwcSection = field(default_factory=NwcSection)
    lnd: LndSection = field(default_factory=LndSection)
    cln: ClnSection = field(default_factory=ClnSection)
    lnbits: LnbitsSection = field(default_factory=LnbitsSection)
    phoenixd: PhoenixdSection = field(default_factory=PhoenixdSection)


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """What makes the embedded mode come alive by itself; regtest only."""

    miners: int = _key(2, "How many demo CPU miners to start; 0: none (or use --no-demo).", between(0, 16))
    hashes_per_second: int = _key(75_000, "Each demo miner's speed limit.", between(1000, 100_000_000))
    lightning_port: int = _key(9911, "TCP port of the demo Lightning (LNURL) server; moves when busy.", PORT)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is said on the terminal."""

    level: str = _key("info", "debug, info, warning or error.", one_of("debug", "info", "warning", "error"))
    format: str = _key("text", "text, or json: one object a line.", one_of("text", "json"))
    to: str = _key("stderr", "stderr or stdout.", one_of("stderr", "stdout"))


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, read once at start."""

    pool: PoolConfig = field(default_factory=PoolConfig)
    stratum: StratumConfig = field(default_factory=StratumConfig)
    ports: tuple[PortConfig, ...] = ()
    offers: tuple[OfferConfig, ...] = ()
    edge: EdgeSection = field(default_factory=EdgeSection)
    chain: ChainConfig = field(default_factory=ChainConfig)
    node: NodeConfig = field(default_factory=NodeConfig)
    relay: RelayConfig = field(default_factory=RelayConfig)
    social: SocialConfig = field(default_factory=SocialConfig)
    web: WebConfig = field(default_factory=WebConfig)
    terms: TermsConfig = field(default_factory=TermsConfig)
    accounting: AccountingSection = field(default_factory=AccountingSection)
    payouts: PayoutsConfig = field(default_factory=PayoutsConfig)
    treasury: TreasuryConfig = field(default_factory=TreasuryConfig)
    alerts: AlertsSection = field(default_factory=AlertsSection)
    mint: MintConfig = field(default_factory=MintConfig)
    notices: NoticesSection = field(default_factory=NoticesSection)
    demo: DemoConfig = field(default_factory=DemoConfig)
    log: LogConfig = field(default_factory=LogConfig)


def sections() -> dict[str, type]:
    """The class of each section; [[ports]] and [[offers]] are tables of an array and not among them."""
    hints = typing.get_type_hints(Config)
    return {key.name: hints[key.name] for key in dataclasses.fields(Config) if key.name not in ARRAYS}


def _typed(expected: Any, value: object) -> Any:
    """The value as the key's type, from TOML or from text of the environment. Raises ValueError with what is right."""
    if expected is bool:
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise ValueError("must be true or false")
    if expected is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lstrip("-").isdecimal():
            return int(value)
        raise ValueError("must be a whole number")
    if expected is str:
        if isinstance(value, str):
            return value
        raise ValueError("must be text in quotes")
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError("must be an array of texts")


def _section(cls: type, name: str, found: Mapping[str, Any], env: Mapping[str, str], problems: list[str]) -> Any:
    """One table as its class; `name` as in messages and, for what is not in brackets already, in the environment."""
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    keys = {key.name: key for key in dataclasses.fields(cls)}
    table = name if name.startswith("[") else f"[{name}]"
    problems.extend(
        f"{table} {unknown}: there is no such key; known here: {', '.join(keys)}"
        for unknown in found
        if unknown not in keys
    )
    for key in keys.values():
        if dataclasses.is_dataclass(hints[key.name]):
            inner, within = f"{name}.{key.name}", found.get(key.name, {})
            values[key.name] = _section(hints[key.name], inner, _table(inner, within, problems), env, problems)
            continue
        variable = _variable(name, key.name)
        where = f"{table} {key.name}"
        if variable in env:
            raw: object = env[variable]
            where = variable
        elif key.name in found:
            raw = found[key.name]
        else:
            continue
        shown = "..." if key.metadata["secret"] else repr(raw)
        try:
            value = _typed(hints[key.name], raw)
        except ValueError as error:
            problems.append(f"{where} = {shown}: {error}")
            continue
        check = key.metadata["check"]
        complaint = check(value) if check is not None else None
        if complaint is not None:
            problems.append(f"{where} = {shown}: {complaint}")
            continue
        values[key.name] = value
    return cls(**values)


def _table(name: str, found: object, problems: list[str]) -> Mapping[str, Any]:
    if isinstance(found, dict):
        return found
    problems.append(f"{name}: must be a section, written [{name}]")
    return {}


def _variable(section: str, key: str) -> str:
    return f"{ENV_PREFIX}{section.replace('.', '_')}_{key}".upper()


def _variables(name: str, cls: type) -> Iterator[str]:
    """The environment's names of a section's keys and of those of the sections in it."""
    hints = typing.get_type_hints(cls)
    for key in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[key.name]):
            yield from _variables(f"{name}.{key.name}", hints[key.name])
        else:
            yield _variable(name, key.name)


def _tables(array: str, cls: type, found: object, problems: list[str]) -> tuple[Any, ...]:
    """An array of tables, as [[ports]]."""
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        problems.append(f"{array}: must be tables, each written [[{array}]]")
        return ()
    tables = []
    for number, table in enumerate(found, 1):
        name = table.get("name")
        where = f"[[{array}]] {name}" if isinstance(name, str) and name else f"[[{array}]] number {number}"
        problems.extend(f"{where}: {needed} is missing" for needed in ARRAYS[array] if needed not in table)
        tables.append(_section(cls, where, table, {}, problems))
    return tuple(tables)


def load_config(path: Path | None, env: Mapping[str, str]) -> Config:
    """The configuration of a TOML file (None: defaults) with the environment's overrides. Raises ConfigError."""
    found: dict[str, Any] = {}
    if path is not None:
        try:
            found = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError((f"cannot read {path}: {error.strerror}",)) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError((f"{path} is not TOML: {error}",)) from None
    problems: list[str] = []
    known_sections = sections()
    problems.extend(
        f"[{unknown}]: there is no such section; known: {', '.join(known_sections)}"
        for unknown in found
        if unknown not in (*known_sections, *ARRAYS)
    )
    values: dict[str, Any] = {
        "ports": _tables("ports", PortConfig, found.get("ports", []), problems),
        "offers": _tables("offers", OfferConfig, found.get("offers", []), problems),
    }
    for name, cls in known_sections.items():
        values[name] = _section(cls, name, _table(name, found.get(name, {}), problems), env, problems)
    known = {variable for name, cls in known_sections.items() for variable in _variables(name, cls)}
    # No keys of the file: they are read where the key files are.
    known |= {VARIABLE, FILE_VARIABLE}
    problems.extend(
        f"{variable}: there is no such key (environment)"
        for variable in sorted(env)
        if variable.startswith(ENV_PREFIX) and variable not in known
    )
    config = Config(**values)
    problems.extend(_across(config))
    if problems:
        raise ConfigError(tuple(problems))
    return config


def _across(config: Config) -> list[str]:
    """What single keys cannot show to be wrong."""
    problems = []
    stratum = config.stratum
    problems += _across_ports(config)
    promised = {port.name: port.offer for port in config.ports}
    problems += offer_problems(config.terms, config.offers, promised, force_fee=config.terms.force_fee)
    problems += chain_problems(config.pool.network, config.chain, config.node)
    problems += treasury_problems(config.treasury, config.chain.source)
    if config.payouts.backend in WALLETS:
        problems += wallet_problems(config.payouts.backend, getattr(config.payouts, config.payouts.backend))
    tag = stratum.pool_tag
    if not tag.isascii() or not tag.isprintable() or not 1 <= len(tag) <= 30:
        problems.append(f"[stratum] pool_tag = {tag!r}: must be 1 to 30 printable ASCII characters")
    relays = config.relay.relays
    if not config.relay.embedded and not relays:
        problems.append("[relay] without the embedded relay, relays must name at least one")
    if config.relay.quorum > len(relays) + config.relay.embedded:
        problems.append("[relay] quorum is larger than the number of relays")
    if config.payouts.onchain_wallet and not config.node.urls:
        problems.append("[payouts] onchain_wallet: needs [node] urls, whose first node has this wallet")
    if config.relay.social and config.relay.social_quorum > len(set(config.relay.social)):
        problems.append("[relay] social_quorum is larger than the number of social relays")
    return problems


def _across_ports(config: Config) -> list[str]:
    problems = []
    named: dict[str, PortKeys] = {"[stratum]": config.stratum}
    for port in config.ports:
        where = f"[[ports]] {port.name}"
        if where in named:
            problems.append(f"{where}: there are two ports of this name")
        named[where] = port
    places: dict[tuple[str, int], str] = {}
    for where, keys in named.items():
        low, start, high = (
            Fraction(text) for text in (keys.min_difficulty, keys.start_difficulty, keys.max_difficulty)
        )
        if not keys.fixed and not low <= start <= high:
            problems.append(f"{where} start_difficulty must lie between min_difficulty and max_difficulty")
        if bool(keys.tls_certificate) != bool(keys.tls_key):
            missing = "tls_key" if keys.tls_certificate else "tls_certificate"
            problems.append(f"{where} {missing}: TLS needs both a certificate and its key")
        other = places.setdefault((keys.host, keys.port), where)
        if other != where and keys.port:
            problems.append(f"{where} port = {keys.port}: {other} listens there already")
    return problems
