"""Names into addresses, judged before anybody connects: the connection then goes to the address that was judged."""

import ipaddress
import socket

import anyio

from zapper.errors import AddressRefused, HttpFailed
from zapper.public_address import is_public


async def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses to connect to, best first. Raises HttpFailed; AddressRefused unless every one of them is public."""
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise HttpFailed(host, f"the name does not resolve ({error})") from None
    addresses = [ipaddress.ip_address(entry[4][0].partition("%")[0]) for entry in found]
    if not addresses:
        raise HttpFailed(host, "the name has no address")
    for address in addresses:
        if not allow_private and not is_public(address):
            raise AddressRefused(host, f"it resolves to {address}, which is not a public address")
    return [str(address) for address in addresses]
