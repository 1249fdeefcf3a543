"""Households: what addresses are counted by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_edge.households import household, is_trusted, parse_household, parse_networks


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:0DB8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::ffff:cb00:7107", "203.0.113.7"),
        ("64:ff9b::203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::2", "fe80::2"),
        ("::1", "::1"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_what_an_address_counts_as(address: str, counts_as: str) -> None:
    assert household(address) == counts_as


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_a_household_is_one_whatever_the_lower_half(ip, lower) -> None:
    other = type(ip)(int(ip) >> 64 << 64 | lower)
    if not (ip.is_link_local or ip.ipv4_mapped or ip.is_loopback or int(ip) >> 64 in (0, 0x64FF9B << 32)):
        assert household(str(ip)) == household(str(other))
    assert parse_household(str(ip)) == household(str(ip))


def test_an_operator_may_name_the_address_or_the_household() -> None:
    assert parse_household("2001:db8:1:2::/64") == parse_household(" 2001:db8:1:2::77 ") == "2001:db8:1:2::/64"
    assert parse_household("::ffff:192.0.2.1") == "192.0.2.1"
    for text in ("", "everything", "192.0.2.0/24", "2001:db8::/32", "1.2.3"):
        with pytest.raises(ValueError, match="is no IPv4 or IPv6 address"):
            parse_household(text)


def test_loopback_and_named_networks_are_trusted_and_others_are_not() -> None:
    networks = parse_networks(["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"])
    for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3", "2001:db8:5::1", "192.0.2.1", ""):
        assert is_trusted(address, networks), address
    for address in ("192.0.2.2", "11.0.0.1", "2001:db9::1", "::ffff:192.0.2.2"):
        assert not is_trusted(address, networks), address
    with pytest.raises(ValueError, match=r"'10\.0\.0\.1/8' is no network"):
        parse_networks(["10.0.0.1/8"])
