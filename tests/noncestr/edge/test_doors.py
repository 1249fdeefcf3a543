"""Ports and limits of the configuration as the edge takes them."""

import dataclasses
from fractions import Fraction
from pathlib import Path

from noncestr.addresses import Bound
from noncestr.config.file import load_config
from noncestr.config.sections import Config, PortConfig, StratumConfig
from noncestr.edge.doors import stratum_limits, stratum_ports
from stratum_edge.config import EdgeConfig, Limits, TlsFiles

MAIN = Bound("127.0.0.1", 3334, 3333)


def test_the_defaults_are_one_port() -> None:
    (port,) = stratum_ports(Config(), MAIN)
    assert (port.name, port.host, port.port, port.offer) == ("main", "127.0.0.1", 3334, "main")
    assert (port.start_difficulty, port.tls, port.fixed, port.proxy_protocol) == (Fraction(1, 8192), None, False, False)
    assert dataclasses.asdict(stratum_limits(Config())) == dataclasses.asdict(Limits(max_per_address=256))


def test_every_key_arrives(tmp_path: Path) -> None:
    path = tmp_path / "noncestr.toml"
    path.write_text(
        """
        [stratum]
        connections = 5
        connections_per_address = 4
        login_seconds = 3
        idle_seconds = 61
        strikes = 7
        strike_seconds = 8
        ban_seconds = 9
        trusted_networks = ["10.0.0.0/8"]
        bare_password = true

        [[ports]]
        name = "big"
        host = "::1"
        port = 3335
        start_difficulty = "65536"
        fixed = true
        tls_certificate = "pool.crt"
        tls_key = "pool.key"

        [[ports]]
        name = "proxied"
        port = 3336
        min_difficulty = "1"
        start_difficulty = "512"
        max_difficulty = "1024"
        shares_per_minute = 6
        proxy_protocol = true
        """
    )
    config = load_config(path, {})
    main, big, proxied = stratum_ports(config, MAIN)
    assert main.bare_password
    assert (big.name, big.host, big.port, big.start_difficulty, big.fixed) == (
        "big",
        "::1",
        3335,
        Fraction(65536),
        True,
    )
    assert big.tls == TlsFiles(Path("pool.crt"), Path("pool.key"))
    assert (proxied.policy.lowest, proxied.policy.highest, proxied.shares_per_minute) == (1, 1024, 6)
    assert proxied.proxy_protocol
    assert not proxied.bare_password
    assert stratum_limits(config) == Limits(
        max_connections=5,
        max_per_address=4,
        login_deadline_s=3,
        idle_s=61,
        strikes=7,
        strike_window_s=8,
        ban_s=9,
        trusted=("10.0.0.0/8",),
    )
    EdgeConfig(payout_script=b"", ports=(main, big, proxied))


def test_the_network_is_let_in_but_not_where_a_proxy_should_be() -> None:
    config = Config(ports=(PortConfig(name="a", port=1), PortConfig(name="b", port=2, proxy_protocol=True)))
    hosts = [port.host for port in stratum_ports(config, Bound("0.0.0.0", 3333, 3333), lan=True)]
    assert hosts == ["0.0.0.0", "0.0.0.0", "127.0.0.1"]


def test_every_key_of_a_port_is_used() -> None:
    """A key added to the section must reach the edge: the names differ only where this says so."""
    renamed = {"tls_certificate": "tls", "tls_key": "tls"}
    keys = {renamed.get(key.name, key.name) for key in dataclasses.fields(PortConfig)}
    given = {key.name for key in dataclasses.fields(type(stratum_ports(Config(), MAIN)[0]))}
    assert given - keys == {"reuse_port"}
    assert keys <= given
    limits = {key.name for key in dataclasses.fields(StratumConfig)} - {
        key.name for key in dataclasses.fields(PortConfig)
    }
    assert limits == {
        "pool_tag", "connections", "connections_per_address", "login_seconds", "idle_seconds", "strikes",
        "strike_seconds", "ban_seconds", "trusted_networks",
    }  # fmt: skip
