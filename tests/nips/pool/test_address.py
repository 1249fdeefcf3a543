"""The a tag."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.address import PoolAddress, address_of, parse_address
from nips.pool.kinds import NETWORKS

KEY = SecretKey(b"\1" * 32)


@given(st.binary(min_size=32, max_size=32), st.sampled_from(NETWORKS))
def test_there_and_back(pubkey, network):
    pool = PoolAddress(pubkey.hex(), network)
    assert parse_address(str(pool)) == pool
    assert pool.tag() == ("a", f"34210:{pubkey.hex()}:{network}")
    assert address_of(KEY.sign(UnsignedEvent(1, 1, (("x", "y"), pool.tag()), ""))) == pool


@pytest.mark.parametrize(
    "text",
    [
        "",
        "34210:" + "00" * 32,
        "34211:" + "00" * 32 + ":main",
        "34210:" + "00" * 31 + ":main",
        "34210:" + "AB" * 32 + ":main",
        "34210:" + "00" * 32 + ":test",
        "34210:" + "00" * 32 + ":main\n",
        " 34210:" + "00" * 32 + ":main",
    ],
)
def test_refused(text):
    with pytest.raises(InvalidPoolEvent):
        parse_address(text)


@given(st.text())
def test_nothing_else_is_raised(text):
    with pytest.raises(InvalidPoolEvent):
        parse_address(text)
