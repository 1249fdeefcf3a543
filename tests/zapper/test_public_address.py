"""Addresses that lead back into the house are told from public ones, whatever clothes they wear."""

import ipaddress

import pytest

from zapper.public_address import is_public

INSIDE = (
    "0.0.0.0 10.0.0.1 100.64.0.1 127.0.0.1 169.254.169.254 172.16.0.1 192.0.0.8 192.0.2.1 "
    "192.88.99.1 192.168.1.1 198.18.0.1 203.0.113.9 224.0.0.1 240.0.0.1 255.255.255.255 :: "
    "::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b:1::1 "
    "100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:c0a8:101::1 3fff::1 4000::1 5f00::1 "
    "fc00::1 fd12::1 fe80::1 fec0::1 ff02::1"
)
OUTSIDE = ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("text", INSIDE.split(" "))
def test_inside(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", OUTSIDE)
def test_outside(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))
