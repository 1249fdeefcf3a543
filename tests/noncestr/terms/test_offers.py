"""Offers in words, and the fees that nobody takes by mistake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool.terms import Loyalty, Model, Offer, PayoutTerms
from noncestr.terms.offers import MAX_FEE_PPM, FeeTooHigh, check_fees, describe, describe_payouts, percent, span


@pytest.mark.parametrize(
    ("ppm", "text"), [(0, "0 %"), (1, "0.0001 %"), (10_000, "1 %"), (12_500, "1.25 %"), (1_000_000, "100 %")]
)
def test_percent(ppm: int, text: str) -> None:
    assert percent(ppm) == text


@given(st.integers(0, 1_000_000))
def test_percent_loses_nothing(ppm: int) -> None:
    whole, _, rest = percent(ppm).removesuffix(" %").partition(".")
    assert int(whole) * 10_000 + int(rest.ljust(4, "0")) == ppm


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(60, "1 minute"), (3600, "1 hour"), (5400, "90 minutes"), (86_400, "1 day"), (61, "61 seconds")],
)
def test_span(seconds: int, text: str) -> None:
    assert span(seconds) == text


def test_a_fee_above_five_percent_is_forced_or_refused() -> None:
    fair, high = Offer(fee_ppm=MAX_FEE_PPM), Offer(fee_ppm=MAX_FEE_PPM + 1)
    check_fees({"main": fair}, forced=False)
    check_fees({"main": fair, "greedy": high}, forced=True)
    with pytest.raises(FeeTooHigh, match=r"offer greedy takes a fee of 5.0001 %, above 5 %"):
        check_fees({"main": fair, "greedy": high}, forced=False)


@pytest.mark.parametrize(
    ("offer", "lines"),
    [
        (Offer(fee_ppm=10_000), ["x: pplns, fee 1 %", "  A block pays the newest work, 8 blocks' worth."]),
        (
            Offer(window_milli=1500, window_min_work=7, window_max_ms=86_400_000),
            [
                "x: pplns, fee 1 %",
                "  A block pays the newest work, 1.5 blocks' worth.",
                "  The window holds 7 hashes of work at least.",
                "  No share in it is older than 1 day.",
            ],
        ),
        (Offer("solo", 5000), ["x: solo, fee 0.5 %", "  A block pays its finder alone."]),
        (
            Offer("pps", 40_000, period_s=3600),
            [
                "x: pps, fee 4 %",
                "  Each share is paid its part of the block subsidy, block or no block, every 1 hour.",
                "  The pool carries the luck: see `noncestr terms risk`.",
            ],
        ),
        (
            Offer("prop", 0, loyalty=Loyalty(100_000, 100, 10, {"axe": Model(1_000, 1250)})),
            [
                "x: prop, fee 0 %",
                "  A block pays all work since the one before. Hoppers gain here, at the cost of who stays.",
                "  Of the fee up to 10 % is a bonus for loyalty, in full for 100 hours",
                "  with a share and 10 days with an attestation in 30 days.",
                "    axe at 1000 hashes a second counts 1.25 times.",
            ],
        ),
    ],
    ids=lambda value: value.scheme if isinstance(value, Offer) else "",
)
def test_describe(offer: Offer, lines: list[str]) -> None:
    assert list(describe("x", offer)) == lines


def test_an_age_in_milliseconds_is_told_as_it_is() -> None:
    assert "  No share in it is older than 1500 ms." in list(describe("x", Offer(window_max_ms=1500)))
    assert any("its block's whole reward" in line for line in describe("x", Offer("fpps", period_s=60)))


def test_what_is_promised_of_paying_is_told_and_nothing_that_is_not() -> None:
    assert list(describe_payouts(100, PayoutTerms())) == [
        "paid every hour, from 1 sat on",
        "  A block's reward is owed after 100 confirmations.",
        "  The pool bears what a payment costs.",
    ]
    whole = PayoutTerms(
        minimum_msat=1_500_500,
        network_fee="miner",
        schedule="0 12 * * *",
        methods=("zap", "onchain"),
        max_fee=(12_500, 5_000),
        per_day_msat=10**9,
        onchain_msat=100_000_000,
        idle_days=90,
        give_up_days=30,
    )
    assert list(describe_payouts(120, whole)) == [
        'paid at "0 12 * * *" (cron, UTC), from 1,500.5 sat on',
        "  A block's reward is owed after 120 confirmations.",
        "  Less is paid after 90 days without earnings.",
        "  Ways, best first, where a miner's settings say nothing: zap, onchain.",
        "  On chain goes 100,000 sat at least.",
        "  The miner bears what a payment costs, 1.25 % or 5 sat at most, whichever is more.",
        "  1,000,000 sat leave in 24 hours at most.",
        "  Who can't be paid for 30 days is tried again on news alone, and still owed.",
    ]
