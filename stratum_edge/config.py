"""What an edge is told: its ports, its limits, whom its coinbases pay. Read from the operator's file by the root."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

from nips.pool.targets import check_difficulty
from stratum_edge.framing import MAX_LINE
from stratum_edge.households import parse_networks
from stratum_edge.vardiff import EASIEST, Policy

# New transactions and a fresh time for miners, without a new block.
REFRESH_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A port's certificate chain and private key, PEM files; read at the start and again on SIGHUP."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class PortConfig:
    """One Stratum port. Difficulties are whole or 1/2^k; port 0 picks a free one.

    `offer`: what of the terms it promises. `fixed`: all shares at start_difficulty, whatever miners wish.
    `bare_password`: a password that is a number alone asks for that difficulty. `proxy_protocol`: every connection
    begins with a PROXY header (v1 or v2), whose address counts.
    `reuse_port`: share the port with other lanes of this machine (SO_REUSEPORT).
    """

    name: str = "main"
    host: str = "127.0.0.1"
    port: int = 3333
    offer: str = "main"
    start_difficulty: Fraction = Fraction(1024)
    min_difficulty: Fraction = EASIEST
    max_difficulty: Fraction = Fraction(1 << 60)
    shares_per_minute: int = 12
    fixed: bool = False
    bare_password: bool = False
    tls: TlsFiles | None = None
    proxy_protocol: bool = False
    reuse_port: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for difficulties the protocol does not have, or bounds that cross."""
        for difficulty in (self.start_difficulty, self.min_difficulty, self.max_difficulty):
            check_difficulty(difficulty)
        if not self.fixed and not self.min_difficulty <= self.start_difficulty <= self.max_difficulty:
            raise ValueError(f"port {self.name}: the start difficulty must lie between the least and the greatest")

    @property
    def policy(self) -> Policy:
        """What vardiff aims at here; a fixed port has one difficulty."""
        if self.fixed:
            return Policy(self.shares_per_minute, self.start_difficulty, self.start_difficulty)
        return Policy(self.shares_per_minute, self.min_difficulty, self.max_difficulty)


@dataclass(frozen=True, slots=True)
class Limits:
    """What connections are held to.

    `max_line`: bytes of a line. `max_connections`: of all ports of this process: a connection costs some 20 KB and a
    file. `max_per_address`: a farm behind one router needs one each. `login_deadline_s`: from connecting to being
    authorized. `idle_s`: a connection that has handed in nothing good for so long is let go (dead peers hold a file and
    an extranonce); a miner at its proper difficulty is never silent for an hour. `strikes`: so many connections ended
    for errors within `strike_window_s` ban the address for `ban_s`. `trusted`: networks that are never banned, such as
    "10.0.0.0/8".
    """

    max_line: int = MAX_LINE
    max_connections: int = 20_000
    max_per_address: int = 1024
    login_deadline_s: float = 60.0
    idle_s: float = 3600.0
    strikes: int = 3
    strike_window_s: float = 600.0
    ban_s: float = 600.0
    trusted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for what is no network."""
        parse_networks(self.trusted)


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """An edge's lane with its ports. `lane`: its number if the journal is new.

    `process`: which of the processes that share the edge's key this is, so that no two hand out one extranonce1.
    `node_grace_s`: with no node answering, miners go on with the last job for so long and are then let go, so that
    they fail over to another pool.
    """

    payout_script: bytes
    ports: tuple[PortConfig, ...] = (PortConfig(),)
    limits: Limits = field(default_factory=Limits)
    lane: int = 0
    process: int = 0
    pool_tag: bytes = b"/noncestr/"
    refresh_s: float = REFRESH_S
    node_grace_s: float = 120.0

    def __post_init__(self) -> None:
        """Raises ValueError without a port, or for two of one name."""
        names = [port.name for port in self.ports]
        if not names or len(set(names)) != len(names):
            raise ValueError("an edge has at least one port, and no two of one name")
