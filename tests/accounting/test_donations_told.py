"""Donations in statements: what settings in the log give away moves, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from accounting.findings import Code
from accounting.verifier import audit
from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.pool.chain import next_link
from nips.pool.settings import SettingsBody, build_settings
from nips.pool.settings_part import build_settings_part
from nips.pool.statement import Donation, Row, StatementBody
from tests.accounting.conftest import KEYS, POOL, T0, TERMS
from tests.accounting.offers_story import OFFERS, OffersLog, tell_offers

CHEST = KEYS.stranger.pubkey
WITH_CHEST = replace(TERMS, offers=OFFERS, donate_to=CHEST)
PPM = 15_000
# The first block is found at 25 s.
IN_TIME = T0 // 1000 + 25


def settings(signer: SecretKey = KEYS.alice, second: int = IN_TIME, pool: str = POOL.pubkey) -> VerifiedEvent:
    return signer.sign(build_settings(pool, SettingsBody(donation_ppm=PPM), second))


def put(held: VerifiedEvent) -> Callable[[OffersLog], object]:
    def before(log: OffersLog) -> None:
        link = next_link(log.heads.get("accounting"))
        log.sign("settings", KEYS.accounting, build_settings_part(POOL, link, held, T0 // 1000 + 34), "accounting")

    return before


def give(held: VerifiedEvent, ppm: int = PPM, off: int = 0) -> Callable[[StatementBody], StatementBody]:
    """Alice's donation, by hand."""

    def change(body: StatementBody) -> StatementBody:
        msat = {row.miner: row.msat for row in body.rows}
        part = msat[KEYS.alice.pubkey] * ppm // 1_000_000 + off
        work = {row.miner: row.work for row in body.rows}
        msat[KEYS.alice.pubkey] -= part
        msat[CHEST] = part
        rows = tuple(Row(miner, work.get(miner, 0), msat[miner]) for miner in sorted(msat))
        index = sorted(msat).index(KEYS.alice.pubkey)
        return replace(body, rows=rows, donations=(Donation(index, held.id, part),))

    return change


def codes(log: OffersLog) -> set[Code]:
    report = audit(log.all(), [], log.pool, now_ms=log.t0 + 10**9)
    return {found.code for found in report.findings} - {Code.CHAIN_FACTS}


def told(held: VerifiedEvent, change: Any = None, terms: Any = WITH_CHEST) -> OffersLog:
    return tell_offers(change={"statement 0": change or give(held)}, terms=terms, before=put(held))


def test_what_a_miner_gives_is_moved() -> None:
    log = told(settings())
    assert codes(log) == set()
    rows = {row.miner: row for row in log.bodies["statement 0"].rows}
    assert (rows[CHEST].work, rows[CHEST].msat > 0) == (0, True)


def test_settings_that_relays_keep_back_are_missing_and_no_fault() -> None:
    log = told(settings())
    report = audit(log.all("settings"), [], log.pool, now_ms=log.t0 + 10**9)
    assert {found.code for found in report.findings} >= {Code.GAP, Code.STATEMENT_NOT_RECOMPUTED}
    assert [found for found in report.findings if found.grade == "contradicted"] == []


@pytest.mark.parametrize(
    ("held", "change"),
    [
        pytest.param(settings(KEYS.bob), None, id="another miner's settings"),
        pytest.param(settings(second=IN_TIME + 1), None, id="settings of later"),
        pytest.param(settings(), give(settings(), ppm=PPM + 1), id="more than was said"),
        pytest.param(settings(), give(settings(), off=1), id="a msat more"),
        pytest.param(settings(), give(settings(KEYS.bob)), id="settings that are not in the log"),
    ],
)
def test_what_was_not_given_is_not_moved(held: VerifiedEvent, change: Any) -> None:
    assert codes(told(held, change)) == {Code.STATEMENT_SPLIT}


def test_nothing_moves_where_the_terms_name_nobody() -> None:
    assert codes(told(settings(), terms=replace(TERMS, offers=OFFERS))) == {Code.STATEMENT_SPLIT}


def test_settings_for_another_pool_have_no_place_in_the_log() -> None:
    assert Code.MALFORMED in codes(told(settings(pool=KEYS.bob.pubkey)))


def test_a_donation_to_nobody_and_settings_without_a_donation_change_nothing() -> None:
    log = tell_offers(terms=WITH_CHEST, before=put(settings()))
    # Who leaves a donation out keeps nobody's money: what the pool had seen in time cannot be proven.
    assert codes(log) == set()
