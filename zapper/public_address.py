"""Which addresses of the internet the pool asks on the word of a stranger: those that lead out of this house.

Python's `is_global` says of several kinds of IPv6 address that they are public although a gateway or an operating
system may take them for the IPv4 address inside, which can be this machine's or its network's.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA gives out public IPv6 addresses from 2000::/3 only.
_GIVEN_OUT = ipaddress.IPv6Network("2000::/3")
# RFC 6052: what a NAT64 gateway turns into the IPv4 address in the last 32 bits. On networks with IPv6 alone all of the
# IPv4 internet looks like this.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Of 2000::/3: IETF's own with Teredo and ORCHID (2001::/23), documentation (RFC 3849, RFC 9637), 6to4 (RFC 3056: the
# IPv4 address of a relay stands inside; retired by RFC 7526).
_NOT_PUBLIC = tuple(ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
# The relays of 6to4 (RFC 7526): whoever answers there is near.
_6TO4_RELAYS = ipaddress.IPv4Network("192.88.99.0/24")
# IETF protocol assignments (RFC 6890): DS-Lite and NAT64 discovery live there, on the near side.
_IETF = ipaddress.IPv4Network("192.0.0.0/24")


def is_public(address: Address) -> bool:
    """Whether this address is somebody's out on the internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and address not in _6TO4_RELAYS and address not in _IETF
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GIVEN_OUT and address.is_global and not any(address in network for network in _NOT_PUBLIC)
