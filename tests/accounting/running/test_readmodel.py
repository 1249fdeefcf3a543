"""What the web server is given of the books."""

import json

import anyio
import pytest

from accounting.readmodel import AccountingReadModel
from nips.nip19 import encode_npub

pytestmark = pytest.mark.anyio


async def test_pool_miner_and_health_are_json_with_units(pool, eventually):
    log = pool.log
    log.terms()
    log.batch([log.alice, log.bob], rejects=3)
    block = log.batch([log.bob], block=True)
    log.batch([])
    pool.chain.seen[log.block_hash(block)] = 6
    pool.chain.tip = 106
    pool.tell()
    accounting = pool.accounting()
    model = AccountingReadModel(accounting)
    assert (await model.health())["ok"] is False
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: accounting.balance(log.bob).owed_msat)
        log.payout("one", log.bob, 1_000_000)
        pool.tell()
        await eventually(lambda: accounting.balance(log.bob).paid_msat)
        shown = json.loads(json.dumps(await model.pool()))
        miner = json.loads(json.dumps(await model.miner(log.bob)))
        health = json.loads(json.dumps(await model.health()))
        assert await model.miner("ab" * 32) is None
        tasks.cancel_scope.cancel()
    assert shown["npub"] == encode_npub(log.pool.pubkey)
    assert shown["height"] == 106
    assert shown["shares"] == 3
    assert shown["rejects"] == 3
    assert shown["work"] == "6"
    assert shown["miners"] == 2
    assert [(b["height"], b["status"], b["gross_msat"]) for b in shown["blocks"]] == [(100, "matured", 100_000_000)]
    assert shown["statements"][0]["fee_msat"] == 1_000_000
    totals = shown["totals"]
    assert totals["matured_msat"] == 100_000_000 == totals["owed_msat"] + totals["paid_msat"] + totals["fee_msat"]
    assert shown["payouts"][0]["amount_msat"] == 1_000_000
    assert miner["earned_msat"] == 66_000_000
    assert miner["owed_msat"] == 65_000_000
    assert miner["rewards"][0]["miner_msat"] == 66_000_000
    assert [worker["name"] for worker in miner["workers"]] == ["rig"]
    assert health["parts"]["signing"] == "yes"
    assert health["parts"]["books"] == "balanced"
