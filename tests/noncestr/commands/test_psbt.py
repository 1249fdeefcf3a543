"""`noncestr payouts psbt` beside a zapper on its socket, and on the folder of a stopped pool."""

import base64
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
from typer.testing import CliRunner

from nips.keys import SecretKey
from nips.nip19 import encode_npub
from noncestr.cli import command_line
from noncestr.commands.psbt import MAX_FILE, read_signed
from noncestr.edge.control import CONTROL, serve_services
from noncestr.errors import NoncestrError
from noncestr.payouts.desk import PayoutDesk
from noncestr.payouts.psbt_desk import SERVICES, PsbtDesk, psbt_services
from noncestr.payouts.wiring import STORE
from noncestr.running import only_one, running
from tests.zapper.scripted_node import Node, raw_of
from zapper.adapters.intent_store import SqliteIntentStore, open_intent_store
from zapper.funding import Batch, payload_of
from zapper.payout import Intent, State, Step
from zapper.signing import Signing

pytestmark = pytest.mark.anyio
NOW_MS = 1_800_000_000_000
TXID = f"{1:064x}"
MINERS = [SecretKey(bytes([n]) * 32).pubkey for n in (1, 2)]
PSBT = base64.b64encode(b"psbt\xff and the rest").decode()


class FakeZapper:
    def __init__(self) -> None:
        self.reconciled = 0

    async def reconcile(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.reconciled += 1


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteIntentStore]:
    async with open_intent_store(tmp_path / STORE) as opened:
        yield opened


async def propose(store: SqliteIntentStore, psbt: str = "psbt1") -> None:
    await store.chain.set_psbt(TXID, psbt)
    payload = payload_of(Batch("", TXID, 1_234, 2, ((f"{1001:064x}", 7),)))
    for vout, miner in enumerate(MINERS):
        made = Intent(f"p{vout}", miner, 250_000_000, 10, State.INTENT, NOW_MS, NOW_MS, "e", f"bcrt1q{vout}", "onchain")
        await store.create(made)
        await store.advance(made, Step.ASK, NOW_MS, payload=payload, reference=f"{TXID}:{vout}")


def node() -> Node:
    made = Node()
    made.add(1, [], [(f"{1001:064x}", 7)])
    return made


def signing(store: SqliteIntentStore, wallet: Any = None) -> Signing:
    return Signing(store, store.chain, clock=lambda: NOW_MS + 60_000, one_at_a_time=anyio.Lock(), wallet=wallet)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command_line("payouts"), ["payouts", "psbt", *arguments])
    return result.exit_code, result.output + str(result.exception or "")


async def test_listed_shown_signed_and_sent_over_the_socket(store: SqliteIntentStore, tmp_path: Path) -> None:
    await propose(store)
    zapper = FakeZapper()
    desk = PsbtDesk(signing(store, node()), zapper)
    data = ("--data", str(tmp_path))
    signed = tmp_path / "signed.hex"
    signed.write_text(raw_of(1) + "\n")
    async with running(partial(serve_services, tmp_path / CONTROL, psbt_services(lambda: desk))):

        async def told(*arguments: str) -> tuple[int, str]:
            return await anyio.to_thread.run_sync(lambda: run(*arguments, *data))

        with only_one(tmp_path):
            listed = await told("list")
            for word in ("000000000000", "2027-01-15 08:00:00", "500,000", "1,234", "never shown"):
                assert word in listed[1]
            shown = await told("show", TXID)
            for word in (TXID, "500,000 sat to 2 miners", encode_npub(MINERS[0])[:16], "bcrt1q1", "psbt1"):
                assert word in shown[1]
            assert "shown 2027-01-15 08:01:00" in (await told("list"))[1]
            assert "its PSBT was shown" in (await told("cancel", TXID))[1]
            assert "give one of" in (await told("cancel", TXID, "--spent-by", "aa", "--unsigned", "b"))[1]
            half = tmp_path / "half.psbt"
            half.write_text(base64.b64encode(b"psbt\xff").decode())
            assert "does not take it" in (await told("submit", str(half)))[1]
            assert (await told("submit", str(signed))) == (
                0, f"batch {TXID} is signed: the pool sends it, 2 payouts settle with it\n",
            )  # fmt: skip
            assert await told("list") == (0, "no batch waits for a signature\n")
            assert "handed in before" in (await told("sign", str(signed)))[1]
    assert zapper.reconciled == 1
    assert {each.state for each in await store.open_intents()} == {State.INVOICED}


async def test_cancelled_over_the_socket(store: SqliteIntentStore, tmp_path: Path) -> None:
    await propose(store)
    desk = PsbtDesk(signing(store, node()), FakeZapper())
    async with running(partial(serve_services, tmp_path / CONTROL, psbt_services(lambda: desk))):
        with only_one(tmp_path):
            asked = ("cancel", TXID, "--unsigned", "lost the key", "--data", str(tmp_path), "--json")
            status, printed = await anyio.to_thread.run_sync(lambda: run(*asked))
    assert status == 0
    assert [each["payout_id"] for each in msgspec.json.decode(printed)["payees"]] == ["p0", "p1"]
    assert await store.open_intents() == []


def test_a_stopped_pools_folder_shows_and_no_more(tmp_path: Path) -> None:
    async def fill() -> None:
        async with open_intent_store(tmp_path / STORE) as opened:
            await propose(opened, PSBT)

    anyio.run(fill)
    data = ("--data", str(tmp_path))
    out = tmp_path / "batch.psbt"
    assert "its PSBT is in" in run("show", TXID, "--out", str(out), *data)[1]
    assert out.read_bytes().startswith(b"psbt\xff")
    assert msgspec.json.decode(run("list", "--json", *data)[1])["batches"][0]["shown_ms"] is not None
    assert "does not run" in run("submit", str(out), *data)[1]
    assert "does not run" in run("cancel", TXID, "--unsigned", "why", *data)[1]
    assert "no batch that waits for its signature begins" in run("show", "zz", *data)[1]
    assert "--out" in run("show", TXID, "--out", str(tmp_path / "no" / "where"), *data)[1]


async def test_a_psbt_is_seen_nowhere_else(store: SqliteIntentStore) -> None:
    """Who saw it could sign it: `psbt show` alone writes that down."""
    await propose(store)
    rows = await PayoutDesk(store, lambda: NOW_MS).show("", 9)
    assert [row["payload"] for row in rows["payouts"]] == [None, None]
    assert "psbt1" not in str(await PsbtDesk(signing(store)).list())
    assert await store.chain.shown() == {}


async def test_without_payouts_there_is_nothing_to_sign() -> None:
    services = psbt_services(lambda: None)
    assert set(services) == set(SERVICES)
    with pytest.raises(NoncestrError, match="nobody is paid"):
        await services["psbt_list"]()


@pytest.mark.parametrize(
    ("held", "read"),
    [
        (b"psbt\xff and the rest", PSBT),
        (PSBT.encode() + b"\n", PSBT),
        (PSBT[:8].encode() + b"\r\n" + PSBT[8:].encode(), PSBT),
        (b"0200AAff\n", "0200AAff"),
        (b"", None),
        (b"hello", None),
        (base64.b64encode(b"something else"), None),
        (b"\xff\xfe", None),
        (b"a" * (MAX_FILE + 1), None),
    ],
)
def test_files_are_read_in_every_form(tmp_path: Path, held: bytes, read: str | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(held)
    if read is not None:
        assert read_signed(path) == read
        return
    with pytest.raises(NoncestrError, match="file"):
        read_signed(path)
    with pytest.raises(NoncestrError, match="No such file"):
        read_signed(tmp_path / "none")
