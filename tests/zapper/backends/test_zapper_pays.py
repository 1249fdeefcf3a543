"""The zapper with each backend: a payment that is made, one that fails, one in whose middle the pool dies."""

import anyio
import pytest

pytestmark = pytest.mark.anyio
OWED_MSAT = 100_000


@pytest.mark.parametrize("kind", ["lnd", "cln", "lnbits", "phoenixd", "nwc", "nwc-sdk", "mint"])
async def test_everybody_is_paid_once(rig_of, rig_ledger, around, kind: str) -> None:
    # The wallet pays what the payees' provider issues.
    rig_ledger.preimages = around.provider.preimages
    rig_ledger.script.extend(["hang", "no route"])
    around.settings = {"pay_timeout_s": 60, "fetch_timeout_s": 60}
    miners = {around.miner(name, OWED_MSAT) for name in ("alice", "bob", "carol")}
    with anyio.fail_after(100):
        async with rig_of(kind) as rig:
            async with rig.open() as around.backend, around.open() as (zapper, _), anyio.create_task_group() as tasks:
                tasks.start_soon(zapper.pay_round)
                states: list[str] = []
                while states != ["failed", "paid", "pending"]:
                    await anyio.sleep(0.005)
                    states = sorted(each.state for each in rig_ledger.payments.values())
                tasks.cancel_scope.cancel()
            # The payment arrives while nobody waits for it.
            rig_ledger.finish(next(key for key, each in rig_ledger.payments.items() if each.state == "pending"))
            async with rig.open() as around.backend, around.open() as (zapper, store):
                while {record.miner for record in around.records()} != miners:
                    await zapper.reconcile()
                    around.ledger.catch_up()
                    around.clock.pass_s(3600)
                    rig.clock.now_s += 3600
                    await zapper.pay_round()
                assert await store.open_intents() == []
    assert set(rig_ledger.times_paid.values()) == {1}
    assert len(rig_ledger.times_paid) == 3
    records = around.records()
    assert {record.miner: record.amount_msat for record in records} == dict.fromkeys(miners, OWED_MSAT)
    assert len(records) == 3
    assert {record.network_fee_msat for record in records} == {rig.fee_msat}
