"""PROXY headers: the specification's examples, every prefix, every bit, and another implementation's headers."""

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxyprotocol.result import ProxyResultIPv4, ProxyResultIPv6, ProxyResultLocal
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2

from stratum_edge.errors import MalformedProxyHeader
from stratum_edge.proxy_header import MAX_V1, MAX_V2, ProxyHeader, crc32c, parse_proxy_header

FULL = b":".join([b"ffff"] * 8)
SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
STRATUM = b'{"id":1,"method":"mining.subscribe","params":[]}\n'


def v2(command: int, transport: int, block: bytes = b"") -> bytes:
    return SIGNATURE + bytes([command, transport]) + len(block).to_bytes(2) + block


ADDRESSES4 = IPv4Address("203.0.113.7").packed + IPv4Address("192.0.2.1").packed + b"\xdc\x04\x0d\x05"
ADDRESSES6 = IPv6Address("2001:db8::7").packed + IPv6Address("2001:db8::1").packed + b"\xdc\x04\x0d\x05"

GOOD = [
    # Section 2.1 of the specification
    (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1"),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    (b"PROXY TCP6 " + b" ".join([FULL, FULL]) + b" 65535 65535\r\n", FULL.decode()),
    (b"PROXY UNKNOWN\r\n", ""),
    (b"PROXY UNKNOWN " + b" ".join([FULL, FULL]) + b" 65535 65535\r\n", ""),
    (b"PROXY TCP6 2001:DB8::7 ::1 0 0\r\n", "2001:db8::7"),
    # Section 2.2
    (v2(0x21, 0x11, ADDRESSES4), "203.0.113.7"),
    (v2(0x21, 0x21, ADDRESSES6), "2001:db8::7"),
    (v2(0x20, 0x00), ""),
    (v2(0x20, 0x11, ADDRESSES4), ""),
    (v2(0x20, 0xFF, b"skipped"), ""),
    (v2(0x21, 0x00), ""),
    (v2(0x21, 0x00, b"skipped"), ""),
    (v2(0x21, 0x12, ADDRESSES4), ""),
    (v2(0x21, 0x22, ADDRESSES6), ""),
    (v2(0x21, 0x31, b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")), ""),
    (v2(0x21, 0x11, ADDRESSES4 + b"\x04\x00\x03abc" + b"\x02\x00\x04pool"), "203.0.113.7"),
]


def test_there_are_as_many_examples_as_kinds() -> None:
    assert len(GOOD) == 17


@pytest.mark.parametrize(("header", "address"), GOOD)
def test_a_header_is_read_whole_and_with_what_follows(header: bytes, address: str) -> None:
    assert parse_proxy_header(header) == ProxyHeader(len(header), address)
    assert parse_proxy_header(header + STRATUM) == ProxyHeader(len(header), address)
    assert parse_proxy_header(header + header) == ProxyHeader(len(header), address)


@pytest.mark.parametrize(("header", "_"), GOOD)
def test_every_part_of_a_header_is_waited_for(header: bytes, _: str) -> None:
    for end in range(len(header)):
        assert parse_proxy_header(header[:end]) is None


@pytest.mark.parametrize(
    "data",
    [
        STRATUM,
        b"G",
        b"PROXX",
        b"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        b"\r\n\r\n\x01",
        b"\x16\x03\x01",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
        b"PROXY TCP4 1.2.3.4  1.2.3.4 1 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1_0\r\n",
        b"PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n",
        b"PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY TCP4 ::1 ::1 1 1\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY TCP6 ::1%eth0 ::1 1 1\r\n",
        b"PROXY TCP6 ::1 ::g 1 1\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNKNOWN \xff\r\n",
        b"PROXY \r\n",
        b"PROXY UNKNOWN " + b"x" * (MAX_V1 - 14),
        b"PROXY UNKNOWN " + b"x" * (MAX_V1 - 15) + b"\r\n",
        v2(0x22, 0x11, ADDRESSES4),
        v2(0x11, 0x11, ADDRESSES4),
        v2(0x21, 0x41, ADDRESSES4),
        v2(0x21, 0x13, ADDRESSES4),
        v2(0x21, 0x11, ADDRESSES4[:-1]),
        v2(0x21, 0x21, ADDRESSES6[:-1]),
        v2(0x21, 0x31, bytes(215)),
        v2(0x21, 0x11, ADDRESSES4 + b"\x04\x00"),
        v2(0x21, 0x11, ADDRESSES4 + b"\x04\x00\x04abc"),
        v2(0x20, 0x00, bytes(MAX_V2)),
        v2(0x20, 0x00, bytes(MAX_V2))[:16],
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedProxyHeader):
        parse_proxy_header(data)


def test_a_checksum_is_held_to() -> None:
    """The checksum's own vectors are RFC 3720's (B.4); a flipped bit anywhere in a summed header is noticed."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    blank = v2(0x21, 0x11, ADDRESSES4 + b"\x03\x00\x04" + bytes(4) + b"\x04\x00\x01x")
    at = blank.index(b"\x03\x00\x04") + 3
    header = blank[:at] + crc32c(blank).to_bytes(4) + blank[at + 4 :]
    assert parse_proxy_header(header) == ProxyHeader(len(header), "203.0.113.7")
    caught = 0
    for bit in range(16 * 8, len(header) * 8):
        if bit // 8 in range(at - 3, at):
            continue  # the extension's own type and length
        flipped = bytearray(header)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedProxyHeader):
            parse_proxy_header(bytes(flipped))
        caught += 1
    assert caught == (len(header) - 16 - 3) * 8


@given(st.ip_addresses(), st.integers(0, 0xFFFF), st.booleans())
def test_another_implementation_s_headers_are_read(address, port: int, is_text: bool) -> None:
    other = (type(address)(1), 3333)
    result = (
        ProxyResultIPv4((address, port), other, protocol=socket.SOCK_STREAM)
        if address.version == 4
        else ProxyResultIPv6((address, port), other, protocol=socket.SOCK_STREAM)
    )
    header = (ProxyProtocolV1() if is_text else ProxyProtocolV2()).pack(result)
    assert parse_proxy_header(header + b"rest") == ProxyHeader(len(header), str(address))
    local = ProxyProtocolV2().pack(ProxyResultLocal())
    assert parse_proxy_header(local) == ProxyHeader(len(local), "")


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_any_bytes_are_read_waited_for_or_refused(data: bytes, start: bytes) -> None:
    try:
        header = parse_proxy_header(start + data)
    except MalformedProxyHeader:
        return
    if header is None:
        assert len(start + data) < MAX_V2
    else:
        assert header.size <= min(MAX_V2, len(start + data))
