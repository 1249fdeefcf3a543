"""A whole pool that pays from a wallet without keys on a real Bitcoin Core (regtest): its operator signs, it is killed.

`make real-wallet BITCOIND=...`, skipped without.
"""

import os
import subprocess
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from nips.keys import SecretKey
from nips.pool.settings import SettingsBody
from noncestr.payouts.chain import RpcWallet
from tests.noncestr import test_payout_chain_pool
from tests.noncestr.payouts.test_chain import BITCOIND, Core
from tests.noncestr.test_payout_chain_pool import (
    ONCHAIN_MSAT,
    PATIENCE,
    SAT,
    Pool,
    Wire,
    finish,
    mining,
    say,
    wait_until,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not BITCOIND, reason="NONCESTR_BITCOIND names no bitcoind: no operator of a pool signed"),
]
core = test_payout_chain_pool.core
rich = test_payout_chain_pool.rich
UNSIGNED = "signed by nobody"


class Operator:
    """Runs `noncestr payouts ...`, and has the keys in another wallet."""

    def __init__(self, pool: Pool, wire: Wire, keys: RpcWallet, miners: list[SecretKey]) -> None:
        self.pool, self.wire, self.keys, self.miners = pool, wire, keys, miners
        self.file = pool.folder / "batch.psbt"
        self.signed = pool.folder / "signed.psbt"

    def due(self) -> int:
        found = self.pool.ask("payouts", "plan", "--data", "data")["payouts"]
        return len([msat for _, msat in found if msat >= ONCHAIN_MSAT])

    def earn(self) -> None:
        with mining(self.pool, self.miners):
            wait_until(lambda: self.due() == len(self.miners), "not enough is due")

    def round(self) -> subprocess.Popen[str]:
        return self.pool.spawn("payouts", "run", "--data", "data", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def proposed(self) -> dict[str, Any]:
        """The batch of a round."""

        def made() -> bool:
            # A pool that was killed amid one first has to tidy up.
            self.round().wait(PATIENCE)
            return self.listed() != []

        wait_until(made, "no batch was proposed")
        [batch] = self.listed()
        assert len(batch["payees"]) == len(self.miners)
        return dict(batch)

    def listed(self) -> list[dict[str, Any]]:
        return list(self.psbt("list")["batches"])

    def psbt(self, *words: str) -> Any:
        return self.pool.ask("payouts", "psbt", *words, "--data", "data")

    def show(self, batch: dict[str, Any]) -> str:
        return str(self.psbt("show", batch["txid"], "--out", str(self.file))["psbt"])

    def again(self) -> None:
        self.pool.kill()
        self.pool.start()

    async def sign(self, psbt: str) -> None:
        signed = await self.keys.call("walletprocesspsbt", psbt)
        assert signed["complete"] is True
        await anyio.to_thread.run_sync(self.signed.write_text, signed["psbt"])

    def submit_and_die(self) -> None:
        """The pool dies as it hands the batch over, with the signature stored."""
        self.wire.method = "sendrawtransaction"
        self.wire.moments.append("before")
        process = self.pool.spawn(
            "payouts", "psbt", "submit", str(self.signed), "--data", "data",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(lambda: bool(self.wire.died), "the batch was not sent")
        process.wait(PATIENCE)
        self.pool.start()

    def round_and_die(self) -> None:
        """The pool dies with its coins locked and no batch stored."""
        self.wire.method = "lockunspent"
        self.wire.moments.append("after")
        process = self.round()
        wait_until(lambda: len(self.wire.died) == 2, "no coins were locked")
        process.wait(PATIENCE)
        self.pool.start()


async def test_an_operator_signs_what_a_pool_proposes_through_kills(
    core: Core, rich: RpcWallet, tmp_path: Path
) -> None:
    await core.wallet().call("createwallet", "watch", True, True)
    watch = core.wallet("watch")
    told = (await rich.call("listdescriptors"))["descriptors"]
    answers = await watch.call("importdescriptors", [{**each, "timestamp": 0} for each in told])
    assert all(each["success"] for each in answers)
    wire = Wire(f"http://127.0.0.1:{core.port}")
    home = tmp_path / "pool"
    home.mkdir()
    settings = {
        "STRATUM_PORT": "0", "RELAY_PORT": "0", "WEB_PORT": "0", "DEMO_LIGHTNING_PORT": "0", "MINT_ENABLED": "false",
        "STRATUM_START_DIFFICULTY": "1/65536", "TERMS_BATCH_SECONDS": "1", "TERMS_HEARTBEAT_SECONDS": "2",
        "TERMS_MATURITY_BLOCKS": "2", "CHAIN_BLOCK_SECONDS": "2", "PAYOUTS_INTERVAL_SECONDS": "3600",
        "PAYOUTS_MAX_FEE_SAT": "10000", "CHAIN_SOURCE": "bitcoind", "CHAIN_PAYOUT": await rich.call("getnewaddress"),
        "NODE_URLS": wire.url, "NODE_COOKIE_FILES": str(tmp_path / "regtest" / ".cookie"),
        "PAYOUTS_ONCHAIN_WALLET": "watch",
    }  # fmt: skip
    pool = Pool(home, settings)
    wire.kill = pool.kill
    miners = [SecretKey(os.urandom(32)) for _ in range(2)]
    addresses = {key.pubkey: str(await core.wallet("miner").call("getnewaddress")) for key in miners}
    operator = Operator(pool, wire, rich, miners)
    run = anyio.to_thread.run_sync
    try:
        await run(pool.start)
        await say(
            pool, {k.pubkey: (k, SettingsBody(methods=("onchain",), onchain=addresses[k.pubkey])) for k in miners}
        )
        # Handed in, with the pool killed while it waits, after it was shown, and as it is sent.
        await run(operator.earn)
        first = await run(operator.proposed)
        assert first["shown_ms"] is None
        await run(operator.again)
        psbt = await run(operator.show, first)
        await run(pool.kill)
        [waiting] = await run(operator.listed)
        assert waiting["txid"] == first["txid"]
        assert waiting["shown_ms"] is not None
        await run(pool.start)
        assert await run(operator.due) == 0
        await operator.sign(psbt)
        await run(operator.submit_and_die)
        await finish(pool, rich)

        # Killed with the coins locked; then sent by the signer's own software.
        await run(operator.earn)
        await run(operator.round_and_die)
        second = await run(operator.proposed)
        assert {f"{each['txid']}:{each['vout']}" for each in await watch.call("listlockunspent")} <= {
            *first["inputs"], *second["inputs"],
        }  # fmt: skip
        await operator.sign(await run(operator.show, second))
        final = await rich.call("finalizepsbt", operator.signed.read_text())
        assert await rich.call("sendrawtransaction", final["hex"]) == second["txid"]
        await finish(pool, rich)

        # Cancelled: the next batch spends a coin of it, and nobody is paid twice.
        await run(operator.earn)
        third = await run(operator.proposed)
        await operator.sign(await run(operator.show, third))
        stale = await rich.call("finalizepsbt", operator.signed.read_text())
        await run(operator.psbt, "cancel", third["txid"], "--unsigned", UNSIGNED)
        await run(operator.again)
        fourth = await run(operator.proposed)
        assert set(third["inputs"]) & set(fourth["inputs"])
        await operator.sign(await run(operator.show, fourth))
        await run(operator.psbt, "submit", str(operator.signed))
        await finish(pool, rich)
        [verdict] = await rich.call("testmempoolaccept", [stale["hex"]])
        assert verdict["allowed"] is False

        paid = await run(pool.payouts)
        assert {each.proof["txid"] for each in paid} == {each["txid"] for each in (first, second, fourth)}
        total: Counter[str] = Counter()
        for payout in paid:
            total[payout.miner] += payout.amount_msat
        for key in miners:
            received = await core.wallet("miner").call("getreceivedbyaddress", addresses[key.pubkey], 3)
            assert total[key.pubkey] == int(Decimal(received) * SAT) * 1000 > 0
        report = await run(
            pool.ask, "verify", "--relay", pool.told["relay"], "--pool", pool.told["pool npub"],
            "--bitcoin-rpc", f"http://127.0.0.1:{core.port}", "--bitcoin-cookie", f"{core.folder}/regtest/.cookie",
        )  # fmt: skip
        assert [found for found in report["findings"] if found["grade"] != "not checked"] == []
        assert report["payout_methods"] == {"onchain": {"proven": len(paid)}}
    finally:
        wire.moments.clear()
        if pool.process is not None and pool.process.poll() is None:
            pool.kill()
        wire.close()
