"""What the start says: where everything is, one a line, and how to connect and to check."""

from collections.abc import Iterator

from client_web.site import RELAY_PATH
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from noncestr.config.sections import Config
from noncestr.places import ANYWHERE, Places, reachable


def stratum_url(places: Places) -> str:
    """What a miner enters."""
    return f"stratum+tcp://{reachable(places.stratum.host)}:{places.stratum.port}"


def web_url(places: Places) -> str:
    """What a browser enters."""
    return f"http://{reachable(places.web.host)}:{places.web.port}"


def banner(
    config: Config, address: PoolAddress, places: Places, relays: tuple[str, ...], *, pays: bool, mint: str = ""
) -> list[str]:
    """The lines of the start; `pays`: whether a wallet pays out; `mint`: URL of the demo's mint, "" without one."""
    return list(_lines(config, address, places, relays, pays, mint))


def _lines(
    config: Config, address: PoolAddress, places: Places, relays: tuple[str, ...], pays: bool, mint: str
) -> Iterator[str]:
    npub, stratum, web = encode_npub(address.pubkey), stratum_url(places), web_url(places)
    is_demo = address.network == "regtest"
    yield from places.moved()
    yield ""
    yield f"{config.pool.name} is up ({address.network}{': play money, real proofs' if is_demo else ''})"
    for name, value in (("pool npub", npub), ("Stratum", stratum), ("relay", relays[0]), ("web", web)):
        yield f"  {name + ':':<11}{value}"
    if mint:
        yield f"  {'mint:':<11}{mint} (Nutshell with play money; it starts now, and is up in some seconds)"
    if config.edge.workers > 1:
        yield f"  {'workers:':<11}{config.edge.workers} processes on the Stratum ports"
    if not pays:
        yield "  Nobody is paid: [payouts] names no wallet for it. What miners earn accumulates, signed."
    yield ""
    yield "Point a miner at it: the user name is your npub and a name for the device, the password is x."
    yield f"  Bitaxe:    host {reachable(places.stratum.host)}, port {places.stratum.port},"
    yield "             user <your npub>.bitaxe, password x"
    yield f"  CPU:       .venv/bin/noncestr miner --url {stratum} --user <your npub>.cpu"
    if places.web.host in (ANYWHERE, "::"):
        yield f"From your network the relay is {web.replace('http', 'ws', 1)}{RELAY_PATH}"
    if places.stratum.host not in (ANYWHERE, "::"):
        yield "  Only this machine can connect; `make up LAN=1` lets your network in."
    yield "Check what it says, trusting nobody:"
    network = "" if is_demo else f" --network {address.network}"
    yield f"  .venv/bin/noncestr verify --relay {relays[0]} --pool {npub}{network}"
    yield "Ctrl-C stops it; starting again goes on where it was."
    yield ""
