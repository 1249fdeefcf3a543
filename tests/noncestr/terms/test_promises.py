"""The configuration as terms."""

from dataclasses import replace
from pathlib import Path

import pytest

from nips.keys import SecretKey
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST
from nips.pool.targets import work_from_bits
from nips.pool.terms import NEVER, Loyalty, Model, Offer, Terms, TermsBody, build_terms, parse_terms
from noncestr.config.chain import ChainConfig
from noncestr.config.offers import OfferConfig, hardware, offer_of, offer_problems
from noncestr.config.sections import Config, EdgeSection, PoolConfig, TermsConfig
from noncestr.errors import NoncestrError
from noncestr.terms.promises import (
    Keys,
    first_block_bits,
    named_keys,
    refuse_changed_schemes,
    refuse_others,
    refuse_revoked,
    terms_body,
)

KEY = SecretKey(b"\x21" * 32)


def test_terms_say_what_the_configuration_promises(tmp_path: Path) -> None:
    keys = Keys.load(tmp_path)
    body = terms_body(Config(), keys.pool.pubkey, named_keys(Config(), keys.roles()), ("ws://a",), 0x1E1FFFE0)
    assert dict(body.keys) == {
        keys.edge.pubkey: "edge", keys.accounting.pubkey: "accounting", keys.zapper.pubkey: "zapper",
    }  # fmt: skip
    assert body.offers["main"].window_min_work == 8 * work_from_bits(0x1E1FFFE0)
    assert (body.limits.block_bits, body.limits.maturity_blocks) == (0x1E1FFFE0, 6)
    assert body.log.relays == ("ws://a",)


def test_further_edges_are_named_once(tmp_path: Path) -> None:
    keys, other = Keys.load(tmp_path / "pool"), Keys.load(tmp_path / "other").edge.pubkey
    config = replace(Config(), edge=EdgeSection(keys=(encode_npub(other), other, keys.edge.pubkey)))
    body = terms_body(config, keys.pool.pubkey, named_keys(config, keys.roles()), ("ws://a",), 0x1E1FFFE0)
    assert body.keys_of("edge") == {keys.edge.pubkey, other}
    assert len(body.keys) == 4


def test_all_in_one_process_refuses_parts_elsewhere(tmp_path: Path) -> None:
    keys, other = Keys.load(tmp_path / "pool"), Keys.load(tmp_path / "other")
    own = PoolConfig(accounting=encode_npub(keys.accounting.pubkey), zapper=keys.zapper.pubkey)
    refuse_others(replace(Config(), pool=own), keys)
    refuse_others(Config(), keys)
    for elsewhere in (PoolConfig(accounting=other.accounting.pubkey), PoolConfig(zapper=other.zapper.pubkey)):
        with pytest.raises(NoncestrError, match="a process of its own"):
            refuse_others(replace(Config(), pool=elsewhere), keys)


def test_a_key_that_was_left_out_can_not_come_back(tmp_path: Path) -> None:
    other = Keys.load(tmp_path).edge.pubkey
    config = replace(Config(), edge=EdgeSection(keys=(other,)))
    refuse_revoked(config, {f"{other}/0": NEVER, "ab/*": NEVER})
    with pytest.raises(NoncestrError, match="needs a new key"):
        refuse_revoked(config, {f"{other}/*": NEVER})


def test_outside_regtest_the_chain_says_what_a_block_is_and_when_it_matures(tmp_path: Path) -> None:
    address = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
    config = replace(Config(), pool=PoolConfig(network="signet"), chain=ChainConfig(payout=f"addr({address})"))
    assert first_block_bits(Config()) is not None
    assert first_block_bits(config) is None
    body = terms_body(config, Keys.load(tmp_path).pool.pubkey, (), ("ws://a",), None)
    assert (body.limits.block_bits, body.limits.maturity_blocks) == (None, 100)
    assert body.offers["main"].window_min_work == 0
    assert body.payouts.coinbase == address


def test_every_offer_stands_in_the_terms(tmp_path: Path) -> None:
    donate_to = KEY.pubkey
    terms = TermsConfig(donate_to=encode_npub(donate_to))
    others = (OfferConfig("solo", 5000, name="lottery"), OfferConfig("fpps", period_seconds=600, name="steady"))
    config = replace(Config(), terms=terms, offers=others)
    body = terms_body(config, KEY.pubkey, (), (), 0x1E1FFFE0)
    assert set(body.offers) == {"main", "lottery", "steady"}
    assert body.offers["lottery"] == Offer("solo", 5000)
    assert body.offers["steady"] == Offer("fpps", 10_000, period_s=600)
    assert body.donate_to == donate_to
    event = KEY.sign(build_terms(PoolAddress(KEY.pubkey, "regtest"), FIRST, 1, body))
    assert parse_terms(event).body == body


def test_a_bonus_stands_in_the_terms() -> None:
    keys = OfferConfig(
        "prop", 5000, loyalty_ppm=200_000, loyalty_hours=360, loyalty_hardware=("Axe One: 1200000, 1250",), name="loyal"
    )
    bonus = Loyalty(200_000, 360, 30, {"Axe One": Model(1_200_000, 1250)})
    assert offer_of(keys, None) == Offer("prop", 5000, loyalty=bonus)
    assert offer_of(replace(keys, loyalty_ppm=0), None) == Offer("prop", 5000)
    assert offer_problems(keys, (), {}, force_fee=False) == []
    (problem,) = offer_problems(replace(keys, scheme="pps"), (), {}, force_fee=False)
    assert "takes no fee" in problem


@pytest.mark.parametrize("text", ["Axe", "Axe: 0, 1250", "Axe: 1, 999", "Axe: 1, 1501", "Axe: -1, 1250", ": 1, 1250"])
def test_what_is_no_model_is_refused(text: str) -> None:
    assert hardware((text,)) is not None
    assert hardware(("Axe: 1, 1250", "Axe: 2, 1250")) == "must name each model once"


def test_an_offer_keeps_its_scheme_for_good() -> None:
    def issued(number: int, **offers: Offer) -> Terms:
        body = TermsBody(offers, ())
        event = KEY.sign(build_terms(PoolAddress(KEY.pubkey, "regtest"), FIRST, number, body))
        return parse_terms(event)

    before = [issued(1, main=Offer(), other=Offer("solo")), issued(2, main=Offer())]
    refuse_changed_schemes({"main": Offer(fee_ppm=1), "other": Offer("solo"), "new": Offer("prop")}, before)
    with pytest.raises(NoncestrError, match="offer other was solo"):
        refuse_changed_schemes({"other": Offer("pps", period_s=60)}, before)
