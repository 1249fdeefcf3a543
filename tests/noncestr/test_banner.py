"""What the start says on networks where nobody is paid yet, and with several workers."""

from dataclasses import replace

from nips.pool.address import PoolAddress
from noncestr.banner import banner
from noncestr.config.sections import Config, EdgeSection
from noncestr.places import find_places

PUBKEY = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


def test_the_demo_says_that_it_is_one() -> None:
    places = find_places(Config(), lan=False)
    text = "\n".join(banner(Config(), PoolAddress(PUBKEY, "regtest"), places, ("ws://r",), pays=True))
    assert "regtest: play money, real proofs" in text
    assert "Nobody is paid" not in text
    assert "--network" not in text
    assert "workers" not in text


def test_elsewhere_it_says_that_nobody_is_paid_yet_and_how_to_verify() -> None:
    config = replace(Config(), edge=EdgeSection(workers=3))
    places = find_places(config, lan=False)
    text = "\n".join(banner(config, PoolAddress(PUBKEY, "signet"), places, ("ws://r",), pays=False))
    assert "is up (signet)" in text
    assert "Nobody is paid: [payouts] names no wallet" in text
    assert "--network signet" in text
    assert "3 processes" in text
