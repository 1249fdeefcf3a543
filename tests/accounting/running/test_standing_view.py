"""What the read API tells a miner of its bonus, out of a running accounting; held against the statements' own."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from accounting.adapters.reads import open_reads
from accounting.reads import Reads
from accounting.schemes.loyalty import DAY_S
from accounting.service import Accounting, AccountingConfig
from accounting.standing_view import SHORTEST_MS
from client_web.api.book_models import MinerReward, StatementDetail
from client_web.api.loyalty_models import LoyaltyStanding
from client_web.api.miner_models import MinerDetail
from nips.keys import AtHand
from nips.pool.terms import Offer
from tests.accounting.conftest import GROSS_SAT, KEYS, POOL, T0
from tests.accounting.loyalty_story import LOYAL_TERMS, MIDNIGHT, OFFERS, attest, tell_loyal
from tests.accounting.running.conftest import FakeChain, FakeClock, FakeRelay

NOW = T0 + MIDNIGHT + 40_000
ALICE, BOB = KEYS.alice.pubkey, KEYS.bob.pubkey
TODAY = NOW // 1000
pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(path, eventually, *attested, story=None):
    """The accounting of the story, all its blocks stated; its clock; what is read of it."""
    story, relay, clock = story or tell_loyal(), FakeRelay(), FakeClock(NOW)
    relay.put(*(event for event in story.events.values() if event.pubkey != KEYS.accounting.pubkey), *attested)
    accounting = Accounting(
        pool=POOL,
        signer=AtHand(KEYS.accounting),
        feed=relay,
        chain=FakeChain(),
        store_path=path / "ledger.sqlite",
        clock=clock,
        config=AccountingConfig(tick_s=0.01),
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: len(accounting.fold.ledger.rewards) == 3 and not accounting._amid)
        async with open_reads(path / "ledger.sqlite") as history:
            yield accounting, clock, Reads(accounting, history)
        tasks.cancel_scope.cancel()


async def standing(reads, miner, offer="main"):
    found = {each["offer"]: each for each in (await reads.miner(miner))["loyalty"]}
    for each in found.values():
        LoyaltyStanding.model_validate(each)
    return found[offer]


async def test_what_counts_for_each_miner(tmp_path, eventually) -> None:
    async with running(tmp_path, eventually, attest()) as (_, _, reads):
        alice, bob = await standing(reads, ALICE), await standing(reads, BOB)
        assert {name: alice[name] for name in ("part_ppm", "fee_ppm", "hours", "full_hours", "days", "full_days")} == {
            "part_ppm": 250_000, "fee_ppm": 10_000, "hours": 2, "full_hours": 4, "days": 1, "full_days": 2,
        }  # fmt: skip
        assert (alice["factor_ppm"], bob["factor_ppm"]) == (1_500_000 * 5 // 4, 1_500_000)
        (axe,) = alice["workers"]
        assert (axe["name"], axe["model"], axe["hardware_milli"], axe["because"]) == ("axe", "axe", 1250, "")
        assert (axe["asked_hs"], axe["measured_hs"], axe["factor_ppm"]) == ("1", "1", 1_500_000 * 5 * 5 // 16)
        (rig,) = bob["workers"]
        assert rig["because"] == "no attestation (kind 4222) in the last 30 days"
        assert (rig["model"], rig["attested_ms"], rig["hardware_milli"]) == ("", 0, 1000)
        # A block now would give both together the fee's quarter, but for what rounding leaves.
        pot = sum(GROSS_SAT) * 1000 // 100 // 4
        assert pot - 2 < alice["bonus_msat"] + bob["bonus_msat"] <= pot
        assert (await standing(reads, ALICE, "lonely"))["bonus_msat"] is None
        assert [each["offer"] for each in (await reads.miner(BOB))["loyalty"]] == ["lonely", "main", "round"]


async def test_why_something_does_not_count(tmp_path, eventually) -> None:
    told = {
        "more than a quarter off": attest(hs=2, model="other"),
        "no such model": attest(model="other"),
        "when it is over": attest(second=TODAY),
    }
    for number, (because, event) in enumerate(told.items()):
        (path := tmp_path / str(number)).mkdir()
        async with running(path, eventually, event) as (_, _, reads):
            alice = await standing(reads, ALICE)
            (worker,) = alice["workers"]
            assert because in worker["because"]
            assert worker["hardware_milli"] == 1000
            assert alice["days"] == ("model" in because)
            assert (worker["measured_hs"] is None) == ("over" in because)


async def test_what_came_out_of_the_fee_is_told_by_reward(tmp_path, eventually) -> None:
    async with running(tmp_path, eventually, attest()) as (accounting, _, reads):
        story = tell_loyal()
        wanted = {
            body.reward.block: {row.miner: row.bonus_msat for row in body.rows}
            for label, body in story.bodies.items()
            if label.startswith("statement")
        }
        for miner in (ALICE, BOB):
            page = await reads.pages.rewards_of(miner, None, 10)
            for item in page.items:
                MinerReward.model_validate(item)
                assert item["miner_bonus_msat"] == wanted[item["block"]][miner]
            told = MinerDetail.model_validate({**await reads.miner(miner), "unpaid_because": "", "cannot_be_paid": ""})
            assert (told.bonus_pending_msat, told.bonus_earned_msat) == (
                sum(rows.get(miner, 0) for rows in wanted.values()),
                0,
            )
            listed = {each["block"]: each["miner_bonus_msat"] for each in (await reads.miner(miner))["rewards"]}
            assert listed == {block: rows[miner] for block, rows in wanted.items() if miner in rows}
        for name in accounting.fold.ledger.rewards:
            whole = reads.pages.statement(name)
            StatementDetail.model_validate_json(json.dumps(whole))
            assert {row["pubkey"]: row["bonus_msat"] for row in whole["split"]} == wanted[whole["block"]]


async def test_it_is_reckoned_once_a_minute_and_changes_nothing(tmp_path, eventually) -> None:
    async with running(tmp_path, eventually) as (accounting, clock, reads):
        before = accounting.fold.freeze()
        first = await standing(reads, ALICE)
        assert accounting.fold.freeze() == before
        assert first["days"] == 0
        accounting.attestations.take(attest(), NOW)
        assert await standing(reads, ALICE) == first
        clock.ms += SHORTEST_MS
        assert (await standing(reads, ALICE))["days"] == 1
        clock.ms += 31 * DAY_S * 1000
        late = await standing(reads, ALICE)
        assert (late["hours"], late["days"], late["factor_ppm"]) == (0, 0, 1_000_000)
        assert late["because"] == "no hour with a good share in the last 30 days"


async def test_where_nothing_is_set_aside(tmp_path, eventually) -> None:
    free = replace(LOYAL_TERMS, offers={**OFFERS, "main": replace(OFFERS["main"], fee_ppm=0), "plain": Offer()})
    story = tell_loyal(terms=free, factors={ALICE: 10**9 + 1, BOB: 10**9 + 1})
    async with running(tmp_path, eventually, story=story) as (_, _, reads):
        assert (await standing(reads, ALICE))["because"] == "the terms set nothing aside for it"
        assert "plain" not in [each["offer"] for each in (await reads.miner(ALICE))["loyalty"]]
