"""What single keys of the configuration cannot show to be wrong: keys that contradict each other."""

from fractions import Fraction

from noncestr.config.chain import chain_problems
from noncestr.config.offers import offer_problems
from noncestr.config.payouts import WALLETS, wallet_problems
from noncestr.config.sections import Config, PortKeys
from noncestr.config.treasury import treasury_problems


def contradictions(config: Config) -> list[str]:
    """A sentence for each contradiction, with the names of its keys."""
    problems = []
    stratum = config.stratum
    problems += _between_ports(config)
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


def _between_ports(config: Config) -> list[str]:
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
