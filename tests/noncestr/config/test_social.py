"""The keys of [social]: what is right, and a sentence for what is not."""

import pytest

from noncestr.config.social import SocialConfig, block_template, day_template, domain_name


@pytest.mark.parametrize("value", ["", "pool.example.com", "xn--bcher-kva.example"])
def test_a_domain(value: str) -> None:
    assert domain_name(value) is None


@pytest.mark.parametrize(
    "value", ["https://pool.example.com", "pool", "Pool.example.com", "a@b.com", "10.0.0.1", "a.b/c"]
)
def test_what_is_no_domain(value: str) -> None:
    assert "must be a domain" in (domain_name(value) or "")


def test_templates_have_their_own_places() -> None:
    assert block_template("{height}") is None
    assert day_template("{date}") is None
    assert "no place {date}" in (block_template("{date}") or "")
    assert "no place {height}" in (day_template("{height}") or "")


def test_all_is_on_by_default() -> None:
    config = SocialConfig()
    assert (config.profiles, config.notes, config.daily, config.replies) == (True, True, True, True)
