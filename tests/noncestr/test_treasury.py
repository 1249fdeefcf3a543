"""The treasurer asks places of money, keeps what they told, and the table shows it."""

from types import SimpleNamespace

import anyio
import pytest

from accounting.ledger import Ledger
from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head
from nips.pool.summary import HOUR_MS, SummaryBody, build_summary, parse_summary
from noncestr.config_file import load_config
from noncestr.errors import ConfigError
from noncestr.payouts import places_of
from noncestr.treasury import Treasurer, WalletFunds
from noncestr.treasury_cli import table

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
        assert told["holdings"] == [{"name": "lightning", "msat": 5_000, "told_ms": NOW, "error": "no route"}]
        wallet.msat = 3_000
        await wait_for(lambda: treasurer.stock().spare_msat == -1_000)
        await wait_for(lambda: "less than that" in caplog.text)
        # Those that join later are asked, too, and two of a name are told apart.
        treasurer.add(Wallet(9_000).funds)
        await wait_for(lambda: treasurer.stock().funds_msat == 12_000)
        assert [each.name for each in treasurer.stock().holdings] == ["lightning", "lightning-2"]
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


def test_the_table_says_what_is_missing():
    told = {
        "ms": NOW, "owed_msat": 4_000_001, "pending_msat": 7, "advanced_msat": 1, "funds_msat": None,
        "spare_msat": None, "alert": "what the pool has is not known: node does not tell",
        "holdings": [
            {"name": "lightning", "msat": 1_234_567_890, "told_ms": NOW, "error": ""},
            {"name": "node", "msat": None, "told_ms": 0, "error": "no route"},
        ],
    }  # fmt: skip
    lines = table(told)
    assert len({line.index("4,000.001") + 9 for line in lines if "4,000.001" in line}) == 1
    assert any("1,234,567.890  2027-01-15 08:00:00 UTC" in line for line in lines)
    assert any(line.startswith("funds: node") and "never told no route" in line for line in lines)
    assert any("not known: node does not tell" in line for line in lines)
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
