"""The window's size and age."""

from accounting.schemes import pplns
from nips.pool.targets import work_from_bits
from nips.pool.terms import Offer


def test_a_window_is_so_many_thousandths_of_a_blocks_work() -> None:
    assert pplns.window_work(Offer(window_milli=8000), 0x1D00FFFF) == 8 * work_from_bits(0x1D00FFFF)
    assert pplns.window_work(Offer(window_milli=1500), 0x207FFFFF) == 3


def test_a_small_network_has_a_floor() -> None:
    assert pplns.window_work(Offer(window_milli=8000, window_min_work=1 << 40), 0x207FFFFF) == 1 << 40


def test_age() -> None:
    assert pplns.oldest_ms(Offer(window_max_ms=0), 5000) == 0
    assert pplns.oldest_ms(Offer(window_max_ms=2000), 5000) == 3000
    assert pplns.oldest_ms(Offer(window_max_ms=6000), 5000) == 0
