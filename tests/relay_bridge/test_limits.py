"""What a relay's document (NIP-11) means for us."""

import pytest

from nips.nip11 import Limitation, RelayInformation, Retention
from nips.pool import kinds
from relay_bridge.limits import FOREVER_S, LEAST_PAGE, PAGE_LIMIT, PeerLimits, complaints, peer_limits
from relay_bridge.roles import Role

DAY = 86_400


def said(*, roles=(Role.LOG,), retention_s=30 * DAY, can_authenticate=False, retention=(), **limits) -> str:
    told = RelayInformation(limitation=Limitation(**limits), retention=retention)
    return " / ".join(complaints(told, roles, retention_s=retention_s, can_authenticate=can_authenticate))


def test_silence_means_the_usual() -> None:
    assert peer_limits(None) == peer_limits(RelayInformation()) == PeerLimits()
    assert complaints(RelayInformation(), (Role.LOG,), retention_s=DAY, can_authenticate=False) == ()


def test_limits_are_taken_over() -> None:
    told = RelayInformation(
        supported_nips=(1, 45, 77),
        limitation=Limitation(max_message_length=131_072, max_limit=200, max_subscriptions=20, max_filters=10),
    )
    assert peer_limits(told) == PeerLimits(130_972, 200, 20, 10, reconciles=True, counts=True)


@pytest.mark.parametrize(("max_limit", "page"), [(0, PAGE_LIMIT), (1, LEAST_PAGE), (5_000, PAGE_LIMIT), (499, 499)])
def test_pages(max_limit: int, page: int) -> None:
    assert peer_limits(RelayInformation(limitation=Limitation(max_limit=max_limit))).page == page


def test_what_is_unfit_for_the_log() -> None:
    assert "unfit as a log relay: it takes messages of 16384 bytes" in said(max_message_length=16_384)
    assert "contents of 8196 characters" in said(max_content_length=8_196)
    assert "takes 100 tags" in said(max_event_tags=100)
    assert said(max_message_length=16_384, max_content_length=1, max_event_tags=100, roles=(Role.SOCIAL,)) == ""
    assert said(max_message_length=65_536, max_content_length=65_536, max_event_tags=2_000) == ""


def test_who_may_write() -> None:
    assert "payment_required" in said(payment_required=True)
    assert "auth_required" in said(auth_required=True)
    assert said(auth_required=True, can_authenticate=True) == ""
    assert "proof of work" in said(min_pow_difficulty=20)


def test_dates_and_retention() -> None:
    assert "can't be filled" in said(created_at_lower_limit=DAY)
    assert said(created_at_lower_limit=365 * DAY) == ""
    short = said(retention=(Retention(kinds=(kinds.RECEIPT, (kinds.PAYOUT, kinds.STATUS)), time=DAY),))
    assert short == "kinds 4212, 4215, 4216: the relay keeps them 86400 seconds, the pool promises 2592000"
    assert "keeps 1000 of them" in said(retention=(Retention(count=1_000),))
    assert "for good" in said(retention=(Retention(time=DAY),), retention_s=FOREVER_S)
    assert said(retention=(Retention(time=None), Retention(kinds=(1,), time=0))) == ""
    assert "keeps them 0 seconds" in said(retention=(Retention(time=0),), retention_s=0)
