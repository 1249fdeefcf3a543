"""`noncestr payouts` beside a zapper and on the folder of a stopped pool."""

import hashlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio.lowlevel
import msgspec
import pytest
from typer.testing import CliRunner

from nips.keys import SecretKey
from nips.nip19 import encode_npub
from noncestr.cli import command_line
from noncestr.commands.payout_tables import show_payouts, show_plan
from noncestr.edge.control import CONTROL, ask, serve_services
from noncestr.errors import NoncestrError
from noncestr.payouts.desk import SERVICES, PayoutDesk, served
from noncestr.payouts.wiring import STORE
from noncestr.running import only_one, running
from zapper.adapters.intent_store import SqliteIntentStore, open_intent_store
from zapper.config import ZapperStatus
from zapper.payout import Intent, State, Step
from zapper.plan import Plan, Planned
from zapper.ports import Payee, RoundDone

pytestmark = pytest.mark.anyio
ALICE, BOB = (SecretKey(bytes([n]) * 32).pubkey for n in (1, 2))
PREIMAGE = "ab" * 32
HASH = hashlib.sha256(bytes.fromhex(PREIMAGE)).hexdigest()
NOW_MS = 1_800_000_000_000


class FakeZapper:
    def __init__(self) -> None:
        self.status = ZapperStatus(why_unpaid={BOB: "no lightning address"}, unknown=("p1",))
        self.rounds = self.reconciled = 0

    async def plan(self) -> Plan:
        await anyio.lowlevel.checkpoint()
        return Plan((Planned(ALICE, 5_000_000),), {BOB: "waits"})

    async def pay_round(self) -> Plan:
        self.rounds += 1
        return await self.plan()

    async def reconcile(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.reconciled += 1


async def unknown(store: SqliteIntentStore, payout_id: str = "p1", miner: str = ALICE, **changes: Any) -> Intent:
    made = Intent(payout_id, miner, 5_000_000, 10, State.INTENT, NOW_MS, NOW_MS, "bb" * 32, "a@b", "zap")
    await store.create(made)
    prepared = {"payload": "ln", "reference": HASH, "expires_at": NOW_MS // 1000 + 60, "method": "zap", **changes}
    made = await store.advance(made, Step.INVOICE, NOW_MS, **prepared)
    made = await store.advance(made, Step.SEND, NOW_MS)
    return await store.advance(made, Step.UNCLEAR, NOW_MS, reason="timeout")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteIntentStore]:
    async with open_intent_store(tmp_path / STORE) as opened:
        yield opened


async def test_a_dry_run_pays_nothing_and_a_run_does(store: SqliteIntentStore) -> None:
    zapper = FakeZapper()
    desk = PayoutDesk(store, lambda: NOW_MS, zapper)
    planned = await desk.plan()
    assert planned["payouts"] == [[ALICE, 5_000_000]]
    assert planned["waiting"] == {BOB: "no lightning address"}
    assert zapper.rounds == 0
    assert (await desk.run())["payouts"] == planned["payouts"]
    assert zapper.rounds == 1
    with pytest.raises(NoncestrError, match="does not run"):
        await PayoutDesk(store, lambda: NOW_MS).plan()


async def test_history_is_shown_by_id_and_by_npub(store: SqliteIntentStore) -> None:
    await unknown(store)
    await store.set_payee(Payee(BOB, 3, NOW_MS, "no route", 1, NOW_MS, "e"))
    desk = PayoutDesk(store, lambda: NOW_MS)
    everything = await desk.show("", 50)
    assert [row["payout_id"] for row in everything["payouts"]] == ["p1"]
    assert [payee["miner"] for payee in everything["payees"]] == [BOB]
    assert (await desk.show("p1", 50))["payees"] == []
    assert (await desk.show(encode_npub(ALICE), 50))["payouts"][0]["state"] == "unknown"
    assert (await desk.show(encode_npub(BOB), 50))["payouts"] == []
    with pytest.raises(NoncestrError, match="no payout and no miner"):
        await desk.show("zz", 50)


@pytest.mark.parametrize(("method", "shown"), [("zap", "ln"), ("nutzap", None), ("cashu", None)])
async def test_what_ecash_is_made_of_is_not_shown(store: SqliteIntentStore, method: str, shown: str | None) -> None:
    await unknown(store, method=method)
    assert (await PayoutDesk(store, lambda: NOW_MS).show("p1", 50))["payouts"][0]["payload"] == shown


async def test_a_dead_letter_is_tried_again(store: SqliteIntentStore) -> None:
    for miner in (ALICE, BOB):
        await store.set_payee(Payee(miner, 3, NOW_MS + 10**9, "no route", 1, NOW_MS, "e"))
    desk = PayoutDesk(store, lambda: NOW_MS)
    assert await desk.retry(encode_npub(BOB)) == {"retried": [BOB]}
    assert await store.payee(BOB) == Payee(BOB, 0, 0, "", named="e")
    assert (await store.payee(ALICE)) is not None
    assert await desk.retry("") == {"retried": [ALICE]}
    with pytest.raises(NoncestrError, match="no npub"):
        await desk.retry("alice")


async def test_an_unknown_payment_is_resolved_by_its_preimage_alone(store: SqliteIntentStore) -> None:
    await unknown(store)
    zapper = FakeZapper()
    desk = PayoutDesk(store, lambda: NOW_MS, zapper)
    for wrong in ("cd" * 32, "ab", "zz" * 32):
        with pytest.raises(NoncestrError, match="not the preimage"):
            await desk.resolve("p1", wrong, "")
    assert zapper.reconciled == 0
    row = await desk.resolve("p1", PREIMAGE.upper(), "")
    assert (row["state"], row["preimage"], zapper.reconciled) == ("settled", PREIMAGE, 1)
    assert [found.payout_id for found in await store.unrecorded()] == ["p1"]
    with pytest.raises(NoncestrError, match="nothing to resolve"):
        await desk.resolve("p1", PREIMAGE, "")
    with pytest.raises(NoncestrError, match="no payout"):
        await desk.resolve("p9", PREIMAGE, "")


async def test_an_operators_word_counts_only_once_nobody_could_pay_any_more(store: SqliteIntentStore) -> None:
    await unknown(store)
    with pytest.raises(NoncestrError, match="another 661 s"):
        await PayoutDesk(store, lambda: NOW_MS).resolve("p1", "", "the wallet is lost")
    row = await PayoutDesk(store, lambda: NOW_MS + 661_000).resolve("p1", "", "the wallet is lost")
    assert row["state"] == "failed"
    assert row["reason"] == "the operator says it was never paid: the wallet is lost"
    assert await store.holds(ALICE) == {}


async def test_the_chains_payments_are_resolved_by_nobody_else(store: SqliteIntentStore) -> None:
    await unknown(store, method="onchain", expires_at=None)
    with pytest.raises(NoncestrError, match="only the chain says"):
        await PayoutDesk(store, lambda: NOW_MS * 2).resolve("p1", "", "sure")


async def test_without_a_wallet_the_socket_says_so() -> None:
    services = served(lambda: None)
    assert set(services) == set(SERVICES)
    with pytest.raises(NoncestrError, match=r"\[payouts\]"):
        await services["payouts_plan"]()


async def test_tables_name_everything(store: SqliteIntentStore, capsys: pytest.CaptureFixture[str]) -> None:
    await unknown(store)
    await unknown(store, "p2", BOB, reference="cc" * 32)
    await store.set_payee(Payee(BOB, 3, NOW_MS, "no route", 1, NOW_MS, "e"))
    desk = PayoutDesk(store, lambda: NOW_MS, FakeZapper())
    show_payouts(await desk.show("", 50))
    show_payouts(await desk.show("p1", 50))
    show_plan(await desk.plan(), paid=False)
    printed = capsys.readouterr().out
    assert "no round yet" in printed
    for word in ("5,000", "timeout", "given up since 2027-01-15", HASH, encode_npub(ALICE), "1 payouts over 5,000 sat"):
        assert word in printed


async def test_the_last_and_the_next_round_are_told(
    store: SqliteIntentStore, capsys: pytest.CaptureFixture[str]
) -> None:
    zapper = FakeZapper()
    zapper.status = ZapperStatus(
        last_round_ms=NOW_MS, next_round_ms=NOW_MS + 86_400_000, undone_ms=NOW_MS + 60_000, held="the log is not read"
    )
    desk = PayoutDesk(store, lambda: NOW_MS, zapper)
    shown = await desk.show("", 50)
    assert shown["rounds"] == (await desk.plan())["rounds"]
    show_payouts(shown)
    assert capsys.readouterr().out.endswith(
        "last round 2027-01-15 08:00:00 UTC; the one of 2027-01-15 08:01:00 is not made yet (the log is not read);"
        " next 2027-01-16 08:00:00\n"
    )
    # The folder of a stopped pool knows the last one.
    await store.set_last_round(RoundDone("", NOW_MS, NOW_MS + 5))
    stopped = (await PayoutDesk(store, lambda: NOW_MS).show("", 50))["rounds"]
    assert stopped == {"last": NOW_MS + 5, "next": None, "undone": None, "held": ""}


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command_line(), ["payouts", *arguments])
    return result.exit_code, result.output + str(result.exception or "")


def test_a_stopped_pools_folder_answers_but_pays_nothing(tmp_path: Path) -> None:
    async def fill() -> None:
        async with open_intent_store(tmp_path / STORE) as opened:
            await unknown(opened)

    anyio.run(fill)
    data = ("--data", str(tmp_path))
    status, printed = run("show", "--json", *data)
    assert status == 0
    assert msgspec.json.decode(printed)["payouts"][0]["payout_id"] == "p1"
    assert "does not run" in run("plan", *data)[1]
    assert "give one of" in run("resolve", "p1", *data)[1]
    assert run("resolve", "p1", "--preimage", PREIMAGE, *data) == (0, "payout p1 is settled\n")
    assert run("retry", *data) == (0, "nobody has failed\n")
    with only_one(tmp_path):
        assert "another noncestr is running" in run("show", *data)[1]
    assert "no folder" in run("show", "--data", str(tmp_path / "nowhere"))[1]


async def test_a_zapper_of_its_own_answers_on_its_folders_socket(store: SqliteIntentStore, tmp_path: Path) -> None:
    zapper = FakeZapper()
    services = PayoutDesk(store, lambda: NOW_MS, zapper).services()
    async with running(partial(serve_services, tmp_path / CONTROL, services)):
        assert (await ask(tmp_path, "payouts_run"))["payouts"] == [[ALICE, 5_000_000]]
        with pytest.raises(NoncestrError, match="no payout and no miner"):
            await ask(tmp_path, "payouts_show", "zz", 5)
    assert zapper.rounds == 1
