"""The treasurer asks places of money, keeps what they told, and the table shows it."""

from dataclasses import replace
from types import SimpleNamespace

import anyio
import pytest

from accounting.ledger import Ledger
from accounting.treasury import SILENT_MS, Holding
from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head
from nips.pool.summary import HOUR_MS, SummaryBody, build_summary, parse_summary
from noncestr.books.treasury import Treasurer, WalletFunds
from noncestr.commands.treasury import table
from noncestr.config.file import load_config
from noncestr.errors import ConfigError
from noncestr.payouts.wiring import places_of

pytestmark = pytest.mark.anyio
NOW = 1_800_000_000_000


class Wallet:
    """A place whose balance the test says; None: it does not answer."""

    def __init__(self, msat: int | None, name: str = "lightning") -> None:
        self.msat = msat
        self.asked = anyio.Event()
        self.funds = WalletFunds(name, self.balance)
        self.funds.interval_s = 0.01

    async def balance(self) -> int:
        self.asked.set()
        if self.msat is None:
            raise OSError("no route")
        return self.msat


def books(owed: int, *, synced: bool = True):
    ledger = Ledger(accounts={"miner:aa:owed": -owed})
    return SimpleNamespace(fold=SimpleNamespace(ledger=ledger), condition=lambda: SimpleNamespace(synced=synced))


async def wait_for(condition):
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - what other tasks see is polled
            await anyio.sleep(0.005)


async def test_what_a_place_told_last_stands_while_it_is_silent(caplog):
    wallet, clock = Wallet(5_000), [NOW]
    treasurer = Treasurer(lambda: clock[0])
    treasurer.keep(books(4_000))  # type: ignore[arg-type] - as much of the accounting as is asked for
    treasurer.add(wallet.funds)
    async with anyio.create_task_group() as tasks:
        await tasks.start(treasurer.run)
        await wait_for(lambda: treasurer.summary() is not None)
        wallet.msat = None
        await wait_for(lambda: treasurer.stock().holdings[0].error)
        told = await treasurer.told()
        assert told is not None
        assert (told["funds_msat"], told["spare_msat"], told["alert"]) == (5_000, 1_000, None)
        (place,) = told["holdings"]
        assert (place["name"], place["source"], place["msat"], place["told_ms"]) == ("lightning", None, 5_000, NOW)
        assert (place["error"], place["silence"]) == ("no route", None)
        wallet.msat = 3_000
        await wait_for(lambda: treasurer.stock().spare_msat == -1_000)
        await wait_for(lambda: "less than that" in caplog.text)
        # Those that join later are asked, too, and two of a name are told apart.
        treasurer.add(Wallet(9_000).funds)
        await wait_for(lambda: treasurer.stock().funds_msat == 12_000)
        assert [each.name for each in treasurer.stock().holdings] == ["lightning", "lightning-2"]
        tasks.cancel_scope.cancel()


async def test_nothing_is_amiss_until_each_wallet_has_answered_or_failed(caplog):
    """At a start one is faster than the other."""
    slow, treasurer = Wallet(2_000, "ecash"), Treasurer(lambda: NOW)
    answers = anyio.Event()

    async def balance() -> int:
        slow.asked.set()
        await answers.wait()
        raise OSError("no route")

    funds = WalletFunds("ecash", balance)
    treasurer.keep(books(1_000))  # type: ignore[arg-type] - as much of the accounting as is asked for
    treasurer.add(Wallet(5_000).funds)
    treasurer.add(funds)
    async with anyio.create_task_group() as tasks:
        await tasks.start(treasurer.run)
        await wait_for(lambda: treasurer.held()[0].msat == 5_000 and slow.asked.is_set())
        await anyio.wait_all_tasks_blocked()
        assert caplog.records == []
        answers.set()
        await wait_for(lambda: "ecash has never told" in caplog.text)
        tasks.cancel_scope.cancel()


async def test_nothing_is_said_before_the_books_are_read():
    treasurer = Treasurer(lambda: NOW)
    assert await treasurer.told() is None
    treasurer.keep(books(1, synced=False))  # type: ignore[arg-type] - as much of the accounting as is asked for
    assert treasurer.summary() is None
    treasurer.keep(books(1))  # type: ignore[arg-type] - as much of the accounting as is asked for
    told = await treasurer.told()
    assert told is not None
    assert (told["owed_msat"], told["funds_msat"], told["alert"]) == (1, None, None)


def place(name, msat, *, source=None, told_ms=NOW, age_ms=0, silence=None, error=""):
    return {
        "name": name, "msat": msat, "source": source, "told_ms": told_ms, "heard_ms": told_ms, "age_ms": age_ms,
        "silence": silence, "error": error,
    }  # fmt: skip


async def test_holders_elsewhere_are_counted_and_their_silence_is_said_once(caplog, monkeypatch):
    monkeypatch.setattr("noncestr.books.treasury.WATCH_S", 0.01)
    clock = [NOW]
    far = [Holding("lightning", 3_000, NOW, "", "ab" * 32, NOW)]
    treasurer = Treasurer(lambda: clock[0])
    treasurer.keep(books(4_000))  # type: ignore[arg-type] - as much of the accounting as is asked for
    treasurer.hear(lambda: far)
    async with anyio.create_task_group() as tasks:
        await tasks.start(treasurer.run)
        treasurer.add(Wallet(2_000, "node").funds)
        await wait_for(lambda: treasurer.stock().funds_msat == 5_000)
        assert [each.name for each in treasurer.held()] == ["node"], "what others hold is theirs to report"
        summary = treasurer.summary()
        assert summary is not None
        assert summary["held"] == {"node": 2_000, "lightning": 3_000}
        clock[0] = NOW + SILENT_MS + 1
        await wait_for(lambda: "lightning of npub1" in caplog.text)
        assert treasurer.summary() is None, "the sum of a part is told to nobody"
        await wait_for(lambda: treasurer.stock().holdings[0].ms == clock[0])
        far[0] = replace(far[0], heard_ms=clock[0], ms=clock[0])
        await wait_for(lambda: treasurer.summary() is not None)
        tasks.cancel_scope.cancel()
    assert caplog.text.count("lightning of npub1") == 1


def test_the_table_says_what_is_missing():
    told = {
        "ms": NOW, "owed_msat": 4_000_001, "pending_msat": 7, "advanced_msat": 1, "funds_msat": None,
        "spare_msat": None, "alert": "what the pool has is not known: node does not tell",
        "holdings": [
            place("lightning", 1_234_567_890, source="npub1qqqqqqqqqqqqqqqq", age_ms=61_000),
            place("old", 5, age_ms=4 * 3_600_000, silence="too old"),
            place("node", None, told_ms=0, age_ms=None, silence="never told", error="no route"),
        ],
    }  # fmt: skip
    lines = table(told)
    assert len({line.index("4,000.001") + 9 for line in lines if "4,000.001" in line}) == 1
    shown = {line.partition("  ")[0]: line.rpartition("  ")[2] for line in lines}
    assert shown["funds: lightning"] == "told by npub1qqqqqqqqqqq... 61 s ago, 2027-01-15 08:00:00 UTC"
    assert shown["funds: old"] == "NOT COUNTED, too old: told 4 h ago, 2027-01-15 08:00:00 UTC"
    assert shown["funds: node"] == "NOT KNOWN: never told; no route"
    assert shown["left if all were paid now"] == "a place above is not counted"
    short = table({**told, "spare_msat": -5, "alert": "the pool owes more"})
    assert any(line.endswith("-0.005  the pool owes more") for line in short)
    assert any("no place" in line for line in table({**told, "holdings": [], "alert": None}))


def test_a_node_is_needed_to_be_asked():
    with pytest.raises(ConfigError) as refused:
        load_config(None, {"NONCESTR_TREASURY_WALLET": "pool"})
    assert "[treasury]" in str(refused.value)


@pytest.mark.parametrize(("backend", "names"), [
    ("demo", ["lightning", "ecash"]), ("lnd", ["lnd", "ecash"]), ("mint", ["ecash"]),
])  # fmt: skip
async def test_what_pays_is_told_in_the_summary(backend, names):
    """The wallets of the payouts, each counted once, stand in a signed hourly summary (4221)."""

    async def totals():
        return SimpleNamespace(free=7)

    async def balance():
        return 5_000

    ecash = SimpleNamespace(treasuries=(SimpleNamespace(totals=totals),))
    treasurer = Treasurer(lambda: NOW)
    treasurer.keep(books(4_000))  # type: ignore[arg-type] - as above
    for funds in places_of(backend, SimpleNamespace(balance_msat=balance), ecash):
        treasurer.add(funds)
    async with anyio.create_task_group() as tasks:
        await tasks.start(treasurer.run)
        await wait_for(lambda: treasurer.summary() is not None)
        tasks.cancel_scope.cancel()
    key = SecretKey(bytes([1]) * 32)
    hour = NOW - NOW % HOUR_MS
    body = SummaryBody(hour - HOUR_MS, hour, {"ab" * 32 + "/0": Head(0, "cd" * 32)}, (), treasurer.summary())
    event = key.sign(build_summary(PoolAddress(key.pubkey, "regtest"), FIRST, body, NOW // 1000))
    told = parse_summary(event).treasury
    held = {name: 7_000 if name == "ecash" else 5_000 for name in names}
    assert (told["held"], told["funds_msat"]) == (held, sum(held.values()))
