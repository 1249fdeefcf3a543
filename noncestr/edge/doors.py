"""Where miners come in, and what they are held to: the configuration as the edge takes it."""

from fractions import Fraction
from pathlib import Path

from noncestr.addresses import Bound
from noncestr.config.sections import Config, PortKeys
from noncestr.places import ANYWHERE
from stratum_edge.config import Limits, PortConfig, TlsFiles

# The name of the port that [stratum] describes.
MAIN = "main"


def stratum_ports(config: Config, main: Bound, *, lan: bool = False) -> tuple[PortConfig, ...]:
    """All Stratum ports, that of [stratum] first and where `main` says. With `lan` the others are open to the network
    as well, but for those that only a proxy may reach.
    """
    others = (
        _port(
            port,
            name=port.name,
            offer=port.offer,
            host=ANYWHERE if lan and not port.proxy_protocol else port.host,
            number=port.port,
        )
        for port in config.ports
    )
    return (_port(config.stratum, name=MAIN, offer="main", host=main.host, number=main.port), *others)


def _port(port: PortKeys, *, name: str, offer: str, host: str, number: int) -> PortConfig:
    return PortConfig(
        name=name,
        host=host,
        port=number,
        offer=offer,
        start_difficulty=Fraction(port.start_difficulty),
        min_difficulty=Fraction(port.min_difficulty),
        max_difficulty=Fraction(port.max_difficulty),
        shares_per_minute=port.shares_per_minute,
        fixed=port.fixed,
        bare_password=port.bare_password,
        tls=TlsFiles(Path(port.tls_certificate), Path(port.tls_key)) if port.tls_certificate else None,
        proxy_protocol=port.proxy_protocol,
    )


def stratum_limits(config: Config) -> Limits:
    """What connections are held to, on all ports."""
    stratum = config.stratum
    return Limits(
        max_connections=stratum.connections,
        max_per_address=stratum.connections_per_address,
        login_deadline_s=stratum.login_seconds,
        idle_s=stratum.idle_seconds,
        strikes=stratum.strikes,
        strike_window_s=stratum.strike_seconds,
        ban_s=stratum.ban_seconds,
        trusted=stratum.trusted_networks,
    )
