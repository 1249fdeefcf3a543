"""The closing push of a coinbase."""

from nips.pool import sizes


def test_the_push_holds_binding_and_extranonces():
    assert (sizes.BINDING_SIZE, sizes.EXTRANONCE1_SIZE, sizes.EXTRANONCE2_SIZE) == (32, 4, 8)
    assert sizes.PUSH_SIZE == 0x2C
