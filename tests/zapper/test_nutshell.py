"""The pool's ecash at a real mint (Nutshell 0.20.2 as `noncestr up` runs it), redeemed by wallets of others."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from coincurve import PrivateKey

from nips.keys import ORDER, SecretKey
from nips.nip17 import parse_chat
from nips.nip44 import KeyCipher
from nips.nip59 import unwrap
from nips.nip61 import ListedMint
from noncestr.demo.mint_process import MintProcess
from tests.relay_bridge.conftest import installed_npm
from tests.zapper.conftest import Clock, Feed, make_bolt11
from tests.zapper.test_ecash_rails import LOCK, MINER, Courier, House, Poster, info_event, intent_of, order, settled
from tests.zapper.test_ecash_rails import ZAPPER as PAYER
from zapper.adapters.cashu_mint import CashuMint, open_mint
from zapper.adapters.proof_store import open_proof_store
from zapper.adapters.wrapper import KeyWrapper
from zapper.cashu_rail import CashuRail
from zapper.ecash import OpState
from zapper.errors import MintFailed, PaymentBlocked
from zapper.nutzap_rail import NutzapRail
from zapper.ports import Paid
from zapper.rails import Kept, Returned
from zapper.treasury import Treasury

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WAIT_S = 100


@asynccontextmanager
async def nutshell(folder: Path) -> AsyncIterator[str]:
    """The mint while the block runs; its URL."""
    process = MintProcess(folder / "mint")
    up = anyio.Event()

    async def told(_url: str) -> None:
        up.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        await tasks.start(process.run, told)
        with anyio.fail_after(WAIT_S):
            await up.wait()
        yield process.url
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def house_at(folder: Path, url: str, feed: Feed, clock: Clock, return_after_s: int) -> AsyncIterator[Any]:
    async with open_mint(url) as mint, open_proof_store(folder / "treasury.sqlite") as store:
        treasury = Treasury(mint, store, key=store.key, clock=clock, random=os.urandom, one_at_a_time=anyio.Lock())
        courier, poster = Courier(), Poster()
        parts: dict[str, Any] = {
            "signer": PAYER,
            "feed": feed,
            "courier": courier,
            "clock": clock,
            "random": os.urandom,
            "return_after_s": return_after_s,
        }
        nutzap = NutzapRail([treasury], **parts)
        cashu = CashuRail([treasury], wrapper=KeyWrapper(PAYER, clock), poster=poster, **parts)
        await treasury.fund(10_000)
        await treasury.recover()
        assert isinstance(mint, CashuMint)
        yield House(mint, treasury, feed, courier, poster, clock, nutzap, cashu)  # type: ignore[arg-type]


def even(key: SecretKey) -> str:
    """The secret key whose point has an even y, as wallets compare whole points: an npub is such a point."""
    number = int.from_bytes(key.secret_bytes(), "big")
    is_even = PrivateKey(key.secret_bytes()).public_key.format()[0] == 2
    return f"{number if is_even else ORDER - number:064x}"


async def ask(command: list[str], asked: dict[str, Any], **options: Any) -> dict[str, Any]:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, input=json.dumps(asked), capture_output=True, text=True, timeout=WAIT_S, **options
        )

    done = await anyio.to_thread.run_sync(run)
    assert done.stdout, done.stderr[-3000:]
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


async def node() -> str:
    """Node.js, with the wallet's library installed."""
    reason = await anyio.to_thread.run_sync(installed_npm, HERE / "npm")
    if reason:
        pytest.skip(reason)
    found = shutil.which("node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found is not None
    return found


async def cashu_ts(asked: dict[str, Any]) -> dict[str, Any]:
    return await ask([await node(), str(HERE / "npm" / "wallet.mjs")], asked)


async def stock_wallet(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "CASHU_DIR": str(folder), "TOR": "FALSE"}
    command = [sys.executable, str(HERE / "stock_wallet.py"), str(folder / "wallet")]
    return await ask(command, asked, env=env, cwd=folder)


async def token_of(house: House) -> tuple[Any, str]:
    asked = replace(order(info_event([ListedMint(house.mint.url)])), payout_id=os.urandom(8).hex())
    intent = intent_of(asked, await house.cashu.prepare(asked))
    paid = await house.cashu.send(intent)
    assert isinstance(paid, Paid)
    event = list(house.feed.events.values())[-1]
    text = parse_chat(unwrap(event, KeyCipher(MINER))).text
    return settled(intent, paid), next(line for line in text.splitlines() if line.startswith("cashuB"))


async def test_wallets_of_others_redeem_what_the_pool_pays(tmp_path: Path, feed: Feed, clock: Clock) -> None:
    await node()  # skips, which is said best before any task group is open
    async with nutshell(tmp_path) as url, house_at(tmp_path, url, feed, clock, 90 * 86_400) as house:
        # A nutzap, by the JavaScript library with the key of the 10019; not with another.
        asked = order(info_event([ListedMint(url)]))
        intent = intent_of(asked, await house.nutzap.prepare(asked))
        paid = await house.nutzap.send(intent)
        assert isinstance(paid, Paid)
        event, _ = house.courier.brought[0]
        proofs = [json.loads(text) for text in event.tag_values("proof")]
        shown = {"mint": url, "unit": "sat", "proofs": proofs}
        assert "error" in await cashu_ts({**shown, "privkey": even(MINER)})
        assert await cashu_ts({**shown, "privkey": even(LOCK)}) == {"amount": 777}
        assert await house.nutzap.outcome(settled(intent, paid)) == Kept()
        # Tokens locked to the npub, by both.
        done, token = await token_of(house)
        assert await cashu_ts({"token": token, "mint": url, "privkey": even(MINER)}) == {"amount": 777}
        assert await house.cashu.outcome(done) == Kept()
        done, token = await token_of(house)
        assert "error" in await stock_wallet(tmp_path, {"token": token, "mint": url, "privkey": even(LOCK)})
        found = await stock_wallet(tmp_path, {"token": token, "mint": url, "privkey": even(MINER)})
        assert found == {"amount": 777}
        assert await house.cashu.outcome(done) == Kept()
        assert (await house.treasury.totals()).free == 10_000 - 3 * 777
        # Lightning out of ecash. FakeWallet "pays" any invoice and shows a preimage of zeros, which proves nothing.
        free = (await house.treasury.totals()).free
        invoice = make_bolt11(
            preimage=b"\x01" * 32, amount_msat=500_000, description_hash="ab" * 32, created_at=int(time.time())
        )
        melted = await house.treasury.melt("ab" * 32, invoice, 500, max_fee=20)
        assert melted.state is OpState.DONE
        assert melted.preimage == "00" * 32
        assert (await house.treasury.totals()).free == free - 500 - melted.fee
        with pytest.raises(PaymentBlocked):
            await house.treasury.melt("cd" * 32, invoice, 501, max_fee=20)


async def test_a_mint_that_goes_and_comes_and_what_nobody_claimed(tmp_path: Path, feed: Feed, clock: Clock) -> None:
    clock.ms = 1_700_000_000_000
    async with nutshell(tmp_path) as url, house_at(tmp_path, url, feed, clock, 60) as house:
        asked = order(info_event([ListedMint(url)]))
        intent = intent_of(asked, await house.nutzap.prepare(asked))
    async with open_mint(url) as gone, open_proof_store(tmp_path / "treasury.sqlite") as store:
        treasury = Treasury(gone, store, key=store.key, clock=clock, random=os.urandom, one_at_a_time=anyio.Lock())
        with pytest.raises(MintFailed):
            await treasury.send("ab" * 32, (), max_fee=0)
    async with nutshell(tmp_path) as again, house_at(tmp_path, again, feed, clock, 60) as house:
        assert again == url
        paid = await house.nutzap.send(intent)
        assert isinstance(paid, Paid)
        free = (await house.treasury.totals()).free
        clock.pass_s(2 * 3600)
        assert await house.nutzap.outcome(settled(intent, paid)) == Returned("{}")
        assert (await house.treasury.totals()).free == free + 777
