"""Whose an address is: what connections and bans are counted by.

IPv4 goes by address. An IPv6 customer has a /64 at least (RFC 6177), so an address there says nothing: it goes by its
/64. An IPv4 address in IPv6 clothes (RFC 4291, 2.5.5.2, and RFC 6052's well-known prefix) is the IPv4 address.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

_NAT64: Final = IPv6Network("64:ff9b::/96")


def _plain(address: str) -> IPv4Address | IPv6Address:
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def household(address: str) -> str:
    """What a peer's address counts as: "203.0.113.7" or "2001:db8:1:2::/64"; text that is no address stays itself.

    Link-local addresses (fe80::/10) all lie in one /64 and are one machine each: they go by address.
    """
    if ":" not in address:
        return address  # as the kernel writes it, or a socket without addresses
    try:
        ip = _plain(address)
    except ValueError:
        return address
    if isinstance(ip, IPv4Address) or ip.is_link_local or ip.is_loopback:
        return str(ip)
    return str(IPv6Network((int(ip) & ~0xFFFF_FFFF_FFFF_FFFF, 64)))


def parse_household(text: str) -> str:
    """What an operator means by an address, or by the /64 a list showed. Raises ValueError with what would be right."""
    address = text.strip()
    if address.endswith("/64"):
        address = address[: -len("/64")]
    try:
        return household(str(_plain(address)))
    except ValueError:
        raise ValueError(f"{text!r} is no IPv4 or IPv6 address, nor a /64 network") from None


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks as an operator writes them, "10.0.0.0/8" or a single address. Raises ValueError naming the bad one."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text.strip()))
        except ValueError:
            raise ValueError(f"{text!r} is no network such as 10.0.0.0/8 or 2001:db8::/32") from None
    return tuple(found)


def is_trusted(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address is never banned: this machine's own, one of `networks`, or none at all (a Unix socket)."""
    try:
        ip = _plain(address)
    except ValueError:
        return True
    return ip.is_loopback or any(ip in network for network in networks)
