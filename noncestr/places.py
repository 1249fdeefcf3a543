"""Where the parts of one pool listen, and what people are told of it."""

from dataclasses import dataclass

from noncestr.addresses import Bound, free_port, lan_address
from noncestr.config.sections import Config

ANYWHERE = "0.0.0.0"  # noqa: S104 - only with --lan, or on the operator's word


# Where what is for this machine alone listens.
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts listen."""

    relay: Bound | None
    stratum: Bound
    web: Bound
    lightning: Bound

    def moved(self) -> list[str]:
        """A sentence for each port that was busy."""
        named = (
            ("relay", self.relay),
            ("Stratum", self.stratum),
            ("web", self.web),
            ("demo Lightning", self.lightning),
        )
        return [
            f"port {bound.asked} is busy: the {name} port is {bound.port}"
            for name, bound in named
            if bound is not None and bound.moved
        ]

    def let_go(self) -> None:
        """Stop holding what no part listens on."""
        for bound in (self.relay, self.stratum, self.web, self.lightning):
            if bound is not None:
                bound.let_go()


def find_places(config: Config, *, lan: bool) -> Places:
    """Free ports for all parts, near those asked for, held until the parts listen. Raises NoFreePort."""
    return Places(
        relay=free_port(config.relay.host, config.relay.port) if config.relay.embedded else None,
        stratum=place_stratum(config, lan=lan),
        web=free_port(ANYWHERE if lan else config.web.host, config.web.port),
        lightning=free_port(LOOPBACK, config.demo.lightning_port),
    )


def place_stratum(config: Config, *, lan: bool) -> Bound:
    """A free port for [stratum] alone, near the one asked for. Raises NoFreePort."""
    return free_port(ANYWHERE if lan else config.stratum.host, config.stratum.port)


def move_stratum(bound: Bound, before: Config, after: Config, *, lan: bool) -> Bound:
    """Where [stratum] is when it is configured anew while it runs. Raises NoFreePort."""
    if (before.stratum.host, before.stratum.port) == (after.stratum.host, after.stratum.port):
        return bound
    return place_stratum(after, lan=lan)


def reachable(host: str) -> str:
    """The host to tell people: the wildcard is no address to connect to."""
    if host in (ANYWHERE, "::"):
        return lan_address() or "127.0.0.1"
    return host
