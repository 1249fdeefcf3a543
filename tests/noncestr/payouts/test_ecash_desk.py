"""`noncestr payouts resolve` for ecash, beside a real mint (Nutshell) that is stopped, away, or has signed already."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from typer.testing import CliRunner

from nips.nip61 import ListedMint
from noncestr.cli import command_line
from noncestr.errors import NoncestrError
from noncestr.payouts.desk import PayoutDesk
from noncestr.payouts.ecash import FILE, Ecash
from noncestr.payouts.ecash_desk import EcashDesk
from noncestr.payouts.wiring import STORE
from tests.nips.requests import encode_request
from tests.zapper.conftest import Clock, Feed
from tests.zapper.mints import Killed, MemoryMint
from tests.zapper.test_ecash_rails import House, info_event, order
from tests.zapper.test_ecash_rails import house_at as house_in_memory
from tests.zapper.test_nutshell import house_at, nutshell
from zapper.adapters.cashu_mint import open_mint
from zapper.adapters.intent_store import SqliteIntentStore, open_intent_store
from zapper.adapters.proof_store import open_proof_store
from zapper.ecash_rail import EcashRail
from zapper.payout import Intent, State, Step
from zapper.ports import FailedPayment, Paid
from zapper.rails import Order
from zapper.treasury import Treasury

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
RETURN_S = 60
FUNDS = 10_000
NOW_MS = 1_700_000_000_000


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def clock() -> Clock:
    found = Clock()
    found.ms = NOW_MS
    return found


class Cut:
    """A mint whose next swap is cut off: before it is sent, or before its answer is read."""

    def __init__(self, mint: Any, when: str) -> None:
        self._mint, self._when = mint, when

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mint, name)

    async def swap(self, *parts: Any) -> Any:
        if self._when == "after":
            await self._mint.swap(*parts)
        raise Killed


async def sending(store: SqliteIntentStore, rail: EcashRail, asked: Order, number: int) -> Intent:
    """A payout as it stands on disk when the mint is asked."""
    asked = replace(asked, payout_id=f"p{number}", miner=f"{number:064x}")
    intent = Intent(
        asked.payout_id, asked.miner, asked.amount_msat, 5000, State.INTENT, NOW_MS, NOW_MS, asked.named_by.id, "", ""
    )
    prepared = await rail.prepare(asked)  # type: ignore[attr-defined]  # both rails have it
    await store.create(replace(intent, method=prepared.method))
    intent = await store.advance(
        replace(intent, method=prepared.method),
        Step.INVOICE,
        NOW_MS,
        reference=prepared.reference,
        payload=prepared.payload,
    )
    return await store.advance(intent, Step.SEND, NOW_MS)


async def cut_off(house: House, rail: EcashRail, intent: Intent, when: str) -> None:
    """The pool is killed while the mint swaps."""
    mint = house.treasury.mint
    house.treasury.mint = Cut(mint, when)  # type: ignore[assignment]  # stands in for it
    with pytest.raises(Killed):
        await rail.send(intent)
    house.treasury.mint = mint


@asynccontextmanager
async def pools_ecash(folder: Path, url: str, clock: Clock) -> AsyncIterator[Ecash]:
    async with open_mint(url) as mint, open_proof_store(folder / FILE) as store:
        treasury = Treasury(mint, store, key=store.key, clock=clock, random=os.urandom, one_at_a_time=anyio.Lock())
        yield Ecash({}, (treasury,), None, store)


async def resolve(folder: Path, *arguments: str) -> str:
    """What the command prints on the folder of a stopped pool."""
    command = ["payouts", "resolve", *arguments, "--data", str(folder)]
    result = await anyio.to_thread.run_sync(lambda: CliRunner().invoke(command_line(), command))
    return result.output + str(result.exception or "")


async def test_a_stopped_pools_ecash_is_resolved_by_what_the_mint_says(
    tmp_path: Path, feed: Feed, clock: Clock
) -> None:
    info = order(info_event())
    async with nutshell(tmp_path) as url:
        asked = replace(info, named_by=info_event([ListedMint(url)]))
        text = encode_request(a=777, u="sat", post="https://shop.example/pay")
        async with (
            open_intent_store(tmp_path / STORE) as store,
            house_at(tmp_path, url, feed, clock, RETURN_S) as house,
        ):
            for _ in range(3):
                # Each payout's change is not there until its swap ends.
                await house.treasury.fund(FUNDS)
                await house.treasury.recover()
            never, signed, away = [await sending(store, house.nutzap, asked, number) for number in (1, 2, 3)]
            lost = await sending(store, house.cashu, replace(asked, destination=text), 4)
            await cut_off(house, house.nutzap, never, "before")
            await cut_off(house, house.nutzap, signed, "after")
            await cut_off(house, house.nutzap, away, "before")
            house.poster.answers = ["lost"] * 9
            await house.cashu.send(lost)
        said = await resolve(tmp_path, "p1")
        assert "unspent" in said
        assert "0 of 4 signed (NUT-09), 0 taken (NUT-07)" in said
        assert said.endswith("payout p1 is sending\n")
        assert "ecash has no preimage" in await resolve(tmp_path, "p1", "--preimage", "ab" * 32)
        said = await resolve(tmp_path, "p1", "--never-paid", "killed before it was sent")
        assert said.endswith("payout p1 is failed: given up by the operator: killed before it was sent\n")
        assert "payout p1 is failed: there is nothing to resolve" in await resolve(tmp_path, "p1")
        assert "4 of 4 signed (NUT-09), 0 taken" in await resolve(tmp_path, "p2")
        assert "the mint has signed this ecash" in await resolve(tmp_path, "p2", "--never-paid", "I think so")
        said = await resolve(tmp_path, "p4", "--never-paid", "their server is gone")
        assert "the pool: ready, not delivered" in said
        assert said.endswith("payout p4 is failed: given up by the operator: their server is gone\n")
    said = await resolve(tmp_path, "p3", "--never-paid", "the mint is gone")
    assert "the mint says nothing" in said
    assert said.endswith("payout p3 is failed: given up by the operator: the mint is gone\n")
    # The mint is back, and so is the pool: what was given up is its own again, what was signed is handed over.
    async with (
        nutshell(tmp_path) as again,
        open_intent_store(tmp_path / STORE) as store,
        house_at(tmp_path, again, feed, clock, RETURN_S) as house,
    ):
        assert again == url
        assert await house.nutzap.lookup(never) == FailedPayment("given up by the operator: killed before it was sent")
        assert isinstance(await house.nutzap.lookup(signed), Paid)
        totals = await house.treasury.totals()
        # `house_at` fills it each time.
        assert (totals.free, totals.out, totals.reserved) == (5 * FUNDS - 777, 777, 0)
        assert await store.holds(f"{1:064x}") == {}
        assert len(house.courier.brought) == 1


async def test_killed_while_a_token_is_taken_back(tmp_path: Path, feed: Feed, clock: Clock) -> None:
    async with nutshell(tmp_path) as url, open_intent_store(tmp_path / STORE) as store:
        text = encode_request(a=777, u="sat", post="https://shop.example/pay")
        asked = replace(order(info_event([ListedMint(url)])), destination=text)
        for number, when in enumerate(("before", "after")):
            async with house_at(tmp_path, url, feed, clock, RETURN_S) as house:
                intent = await sending(store, house.cashu, asked, number)
                house.poster.answers = ["lost"] * 9
                await house.cashu.send(intent)
                free = (await house.treasury.totals()).free
            async with pools_ecash(tmp_path, url, clock) as ecash:
                ecash.treasuries[0].mint = Cut(ecash.treasuries[0].mint, when)  # type: ignore[assignment]  # as above
                desk = PayoutDesk(store, clock, ecash=EcashDesk(tmp_path, clock, ecash))
                with pytest.raises(Killed):
                    await desk.resolve(f"p{number}", "", "gone")
            async with pools_ecash(tmp_path, url, clock) as ecash:
                desk = PayoutDesk(store, clock, ecash=EcashDesk(tmp_path, clock, ecash))
                row = await desk.resolve(f"p{number}", "", "gone")
                assert (row["state"], row["payload"]) == ("failed", None)
                totals = await ecash.treasuries[0].totals()
                assert (totals.free, totals.out, totals.returned) == (free + 777, 0, 777 * (number + 1))


async def test_without_the_treasurys_file_nothing_is_given_up(tmp_path: Path, feed: Feed, clock: Clock) -> None:
    (tmp_path / "house").mkdir()
    async with (
        open_intent_store(tmp_path / STORE) as store,
        house_in_memory(tmp_path / "house", MemoryMint(), feed, clock) as house,
    ):
        await house.treasury.fund(FUNDS)
        await house.treasury.recover()
        await sending(store, house.nutzap, order(info_event()), 1)
        with pytest.raises(NoncestrError, match=r"treasury\.sqlite is missing"):
            await PayoutDesk(store, clock, ecash=EcashDesk(tmp_path, clock)).resolve("p1", "", "sure")
        with pytest.raises(NoncestrError, match="no treasury is at hand"):
            await PayoutDesk(store, clock).resolve("p1", "", "sure")
