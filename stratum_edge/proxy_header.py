"""The PROXY protocol's header, versions 1 and 2: whom a proxy in front of a port speaks for.

Source: HAProxy's proxy-protocol.txt, sections 2.1 and 2.2. It comes before anything else, TLS included, on ports that
are told to expect it and on no others: whoever may send one can claim any address.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

from stratum_edge.errors import MalformedProxyHeader

# "PROXY TCP6" with two full addresses and ports, and the line's end: the specification's worst case.
MAX_V1: Final = 107
# 16 bytes, addresses (216 at most), and what proxies add on their side's TLS: a certificate's names, some 300 bytes.
MAX_V2: Final = 1024

_V1_START: Final = b"PROXY "
_V2_START: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_SIZE: Final = 16
# No sign, no leading zero, one space between: "with no leading zeroes", "exactly one space".
_V1: Final = re.compile(
    rb"PROXY TCP([46]) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\r\n")
_LOCAL, _PROXY = 0x20, 0x21
# Address family and transport together: what each one's addresses take, in bytes.
_ADDRESS_SIZE: Final = {0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_TCP4, _TCP6 = 0x11, 0x21
_TYPE_CRC32C: Final = 0x03


class ProxyHeader(NamedTuple):
    """A whole header: its size in bytes, and the address it names; "" when the connection's own is to be used.

    It names none when the proxy speaks for itself (LOCAL, a health check), or does not say (UNKNOWN, UNSPEC, UDP, a
    Unix socket).
    """

    size: int
    address: str


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header `data` begins with; None while it is incomplete. Raises MalformedProxyHeader as soon as it is none."""
    if data.startswith(_V2_START[: len(data)]):
        return _parse_v2(data)
    if data.startswith(_V1_START[: len(data)]):
        return _parse_v1(data)
    raise MalformedProxyHeader("no PROXY header came first")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\n", 0, MAX_V1)
    if end < 0:
        if len(data) >= MAX_V1:
            raise MalformedProxyHeader(f"a version 1 header has at most {MAX_V1} bytes")
        return None
    line = data[: end + 1]
    if _V1_UNKNOWN.fullmatch(line):
        return ProxyHeader(len(line), "")
    found = _V1.fullmatch(line)
    if found is None:
        raise MalformedProxyHeader(f"no version 1 header: {line!r}")
    family, source, destination, *ports = (group.decode("ascii") for group in found.groups())
    make = IPv4Address if family == "4" else IPv6Address
    try:
        address = make(source)
        make(destination)
    except AddressValueError as error:
        raise MalformedProxyHeader(f"no version 1 header: {error}") from None
    if any(int(port) > 0xFFFF for port in ports):
        raise MalformedProxyHeader(f"no version 1 header: {line!r}")
    return ProxyHeader(len(line), str(address))


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_SIZE:
        return None
    command, transport, length = data[12], data[13], int.from_bytes(data[14:16])
    if command not in (_LOCAL, _PROXY):
        raise MalformedProxyHeader(f"a version 2 header with version and command {command:#04x}")
    size = _V2_SIZE + length
    if size > MAX_V2:
        raise MalformedProxyHeader(f"a version 2 header of {size} bytes; here it has at most {MAX_V2}")
    if len(data) < size:
        return None
    if command == _LOCAL:
        return ProxyHeader(size, "")  # "discard the protocol block including the family which is ignored"
    if transport >> 4 > 3 or transport & 15 > 2:
        raise MalformedProxyHeader(f"a version 2 header with family and transport {transport:#04x}")
    taken = _ADDRESS_SIZE.get(transport)
    if taken is None:
        return ProxyHeader(size, "")
    if length < taken:
        raise MalformedProxyHeader(f"a version 2 header whose {length} bytes can't hold its addresses")
    _check_extensions(data[:size], _V2_SIZE + taken)
    if transport == _TCP4:
        return ProxyHeader(size, str(IPv4Address(data[16:20])))
    if transport == _TCP6:
        return ProxyHeader(size, str(IPv6Address(data[16:32])))
    return ProxyHeader(size, "")


def _check_extensions(header: bytes, at: int) -> None:
    """Walk the type-length-value vectors behind the addresses; a checksum among them must be right."""
    while at < len(header):
        value = at + 3
        after = value + int.from_bytes(header[at + 1 : value])
        if value > len(header) or after > len(header):
            raise MalformedProxyHeader("a version 2 header with an extension longer than itself")
        if header[at] == _TYPE_CRC32C:
            blank = header[:value] + bytes(after - value) + header[after:]
            if crc32c(blank).to_bytes(4) != header[value:after]:
                raise MalformedProxyHeader("a version 2 header with a wrong checksum")
        at = after


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of some bytes (RFC 4960, appendix B); bit by bit, for headers only."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return crc ^ 0xFFFF_FFFF
