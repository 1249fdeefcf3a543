"""The chain of payout records, when the zapper's key is another than before."""

import shutil
from typing import Any

import pytest

from tests.zapper.conftest import secret
from zapper.payout import State

pytestmark = pytest.mark.anyio


async def test_a_new_key_pays_nothing_again_and_begins_a_chain_of_its_own(around: Any) -> None:
    old, new = around.signer, secret(1234)
    around.miner("alice", 5_000_000)
    around.miner("bob", 3_000_000)
    async with around.open() as (zapper, _):
        await zapper.pay_round()
        assert zapper.status.former_keys == ()
    around.signer = new
    around.clock.pass_s(3600)
    # The ledger has read none of it: terms may have made the old key's records void.
    async with around.open() as (zapper, store):
        assert (await zapper.pay_round()).payouts == ()
        assert zapper.status.former_keys == (old.pubkey,)
        around.ledger.earned[around.miners["alice"].pubkey] += 2_000_000
        await zapper.pay_round()
        assert around.paid_msat() == 10_000_000
        assert await store.signers() == [old.pubkey, new.pubkey]
    mine = [payout for payout in around.records() if payout.signer == new.pubkey]
    assert [(payout.link, payout.amount_msat) for payout in mine] == [((0, None), 2_000_000)]
    assert [payout.link.seq for payout in around.records() if payout.signer == old.pubkey] == [0, 1]


async def test_an_old_store_does_not_pay_under_a_new_key_either(around: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    shutil.copy(around.path, around.path.with_suffix(".old"))
    around.ledger.earned[miner] += 2_000_000
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    around.path = around.path.with_suffix(".old")
    around.signer = secret(1234)
    async with around.open() as (zapper, _):
        assert "restore the newest intent store" in (await zapper.pay_round()).held
    assert around.paid_msat() == 7_000_000


async def test_what_was_under_way_under_the_old_key_is_recorded_by_the_new_one(around: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    around.wallet.script.append("late")
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        assert [intent.state for intent in await store.open_intents()] == [State.UNKNOWN]
    old, around.signer = around.signer, secret(1234)
    async with around.open() as (zapper, store):
        await zapper.reconcile()
        await zapper.pay_round()
        assert await store.open_intents() == []
    [payout] = around.records()
    assert (payout.signer, payout.miner, payout.amount_msat) == (around.signer.pubkey, miner, 5_000_000)
    # Its zap request is of the key before, which the terms named then.
    assert payout.proof["zap_request"]["pubkey"] == old.pubkey
    assert around.paid_msat() == 5_000_000
