"""The configured chain: its source, its nodes, where its blocks pay, and what can be wrong with them."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from noncestr.config.checks import SECONDS, between, one_of
from noncestr.config.key import config_key as _key
from noncestr.config.payout_script import PayoutRefused, payout_script

# The embedded chain, and the demo around it, are of this network.
REGTEST: Final = "regtest"
# Bitcoin Core's own form of a ZMQ address.
_ZMQ: Final = re.compile(r"tcp://\S+:\d{1,5}|ipc://\S+")


def rpc_urls(values: tuple[str, ...]) -> str | None:
    """The RPC addresses of nodes, without user and password."""
    for value in values:
        try:
            url = urlsplit(value)
            fits = url.scheme in ("http", "https") and url.hostname and url.port and url.path in ("", "/")
        except ValueError:
            return f"must hold http://HOST:PORT addresses, {value!r} is none"
        if "@" in url.netloc:
            return "must not hold user and password: these have keys of their own, and addresses are logged"
        if not fits:
            return f"must hold http://HOST:PORT addresses, {value!r} is none"
    return "names a node twice" if len(set(values)) != len(values) else None


def zmq_addresses(values: tuple[str, ...]) -> str | None:
    """The addresses at which nodes publish, "" for one that does not."""
    for value in values:
        if value and _ZMQ.fullmatch(value) is None:
            return f'must hold tcp://HOST:PORT addresses, or "", {value!r} is none'
    return None


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """The chain that is mined on. All but source and payout is of the embedded regtest chain."""

    source: str = _key(
        "embedded",
        "embedded: a regtest chain inside the pool. bitcoind: the nodes of [node].",
        one_of("embedded", "bitcoind"),
    )
    payout: str = _key(
        "", "What blocks pay: an address or an output descriptor. Only regtest has a default, which nobody can spend."
    )
    reward_sat: int = _key(100_000, "What each block pays (demo money), in sat.", between(1000, 100_000_000))
    network_block_seconds: int = _key(
        15,
        "A block by the rest of the (pretended) network about this often, in seconds; 0: never.",
        between(0, 86_400),
    )
    block_seconds: int = _key(
        60, "The demo target follows the pool's hashrate to a block about this often, in seconds.", SECONDS
    )


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """The Bitcoin nodes of [chain] source = "bitcoind"; docs/nodes.md says how to set them up."""

    urls: tuple[str, ...] = _key(
        (), "Their RPC addresses, the first choice first, such as http://127.0.0.1:8332.", rpc_urls
    )
    zmq: tuple[str, ...] = _key(
        (), 'Their zmqpubhashblock addresses in the same order, "" for a node without; [] for none.', zmq_addresses
    )
    cookie_files: tuple[str, ...] = _key(
        (), "Their cookie files in the same order, or one for all; [] with user and password."
    )
    user: str = _key("", "The RPC user, without a cookie file.")
    password: str = _key("", "Its password; better in a file.", secret=True)
    password_file: str = _key("", "A file that holds the password alone.")
    poll_seconds: int = _key(1, "Ask each node for a new block this often, whatever else tells of one.", between(1, 60))
    grace_seconds: int = _key(
        120, "How long miners keep the last job when no node answers; then they are let go.", between(10, 3600)
    )


def chain_problems(network: str, chain: ChainConfig, node: NodeConfig) -> list[str]:
    """A sentence for each thing that is wrong with the chain of a pool on `network`."""
    problems = []
    if chain.source == "embedded" and network != REGTEST:
        problems.append(f'[chain] source: the embedded chain is regtest; {network} needs source = "bitcoind"')
    if not chain.payout and network != REGTEST:
        problems.append(f"[chain] payout: {network} needs an address or an output descriptor: blocks pay it")
    if chain.payout:
        try:
            payout_script(chain.payout, network)
        except PayoutRefused as error:
            problems.append(f"[chain] payout: {error}")
    if chain.source == "bitcoind":
        problems += _node_problems(node)
    return problems


def _node_problems(node: NodeConfig) -> list[str]:
    problems = []
    if not node.urls:
        problems.append('[node] urls: source = "bitcoind" needs at least one node')
    if node.zmq and len(node.zmq) != len(node.urls):
        problems.append("[node] zmq: must have an address for each of urls, or be empty")
    if len(node.cookie_files) not in (0, 1, len(node.urls)):
        problems.append("[node] cookie_files: must be one for all, or one for each of urls")
    passwords = bool(node.password) + bool(node.password_file)
    if node.cookie_files:
        if node.user or passwords:
            problems.append("[node] cookie_files: either these, or user and password")
    elif node.urls and (not node.user or passwords != 1):
        problems.append("[node] needs cookie_files, or user and one of password and password_file")
    return problems
