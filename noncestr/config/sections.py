"""Every key of the configuration, with its meaning, its default and its check.

The classes below are the only place a key is named: the loader, the checks and `noncestr.example.toml` are made from
them.
"""

import dataclasses
import typing
from dataclasses import dataclass, field

from nips.pool.kinds import NETWORKS
from noncestr.config.alerts import AlertsSection
from noncestr.config.chain import ChainConfig, NodeConfig
from noncestr.config.checks import (
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
from noncestr.config.key import config_key as _key
from noncestr.config.ledger import AccountingSection
from noncestr.config.mint import MINT, MintConfig
from noncestr.config.notices import NoticesSection
from noncestr.config.offers import MAIN, OfferConfig, OfferKeys
from noncestr.config.payouts import (
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
)
from noncestr.config.social import SocialConfig
from noncestr.config.treasury import TreasuryConfig

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
        "demo: the fake Lightning of regtest; on any other network it is as none: nobody is paid over Lightning. Else "
        "the wallet of a section below: nwc, lnd, cln, lnbits or phoenixd; or mint: the ecash at the first of [mint] "
        "urls.",
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
    sign: str = _key(
        "wallet",
        "Who signs batches on chain: wallet, if it can; or operator: `noncestr payouts psbt`.",
        one_of("wallet", "operator"),
    )
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
