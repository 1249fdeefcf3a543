"""Kill the zapper at every step against every mood of the wallet: nobody paid twice, nobody forgotten, sums match.

A kill is an error that no code of the zapper catches, raised before or after a write of the intent store or a call of
the wallet; then everything is opened anew from the file. Real SIGKILLs of a process are at the end.
"""

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from zapper.payout import State

pytestmark = pytest.mark.anyio

WRITES = ("create", "advance", "set_receipt", "set_payee", "append_record", "mark_published")
MOODS = ("ok", "refuse", "late", "lost", "lie", "wrong", "pending", "queued", "hang")
LIES = ("", "", "", "amount", "hash", "error", "down", "plain", "expired")
KILLS = 80


class Killed(BaseException):
    """The process is gone."""


class Fuse:
    """Counts the places where a process could die and dies at the chosen one."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.where = ""

    def burn(self, where: str) -> None:
        if self.where:
            raise Killed(self.where)
        self.left -= 1
        if self.left < 0:
            self.where = where
            raise Killed(where)


class Mortal:
    """Any port with a fuse before and after each of the named calls."""

    def __init__(self, inner: Any, fuse: Fuse, names: tuple[str, ...]) -> None:
        self._inner, self._fuse, self._names = inner, fuse, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn(f"before {name}")
            result = await found(*args, **kwargs)
            self._fuse.burn(f"after {name}")
            return result

        return call


def check_books(around: Any, *, complete: bool) -> None:
    """The invariants, from what the wallet did and what the relays hold."""
    paid: dict[str, int] = {}
    for payment_hash in around.wallet.paid:
        miner = around.owners[payment_hash]
        paid[miner] = paid.get(miner, 0) + around.wallet.amounts[payment_hash]
    for miner, amount in paid.items():
        assert amount <= around.ledger.earned[miner]
    assert len(around.wallet.pay_calls) == len(set(around.wallet.pay_calls)), "an invoice was sent twice"
    records = around.records()
    assert [record.link.seq for record in records] == list(range(len(records)))
    assert [record.link.prev for record in records] == [None, *(record.id for record in records)][: len(records)]
    recorded: dict[str, int] = {}
    for record in records:
        recorded[record.miner] = recorded.get(record.miner, 0) + record.amount_msat
    for miner, amount in recorded.items():
        assert amount <= paid[miner]
    if complete:
        assert recorded == paid
        for miner, earned in around.ledger.earned.items():
            assert paid.get(miner, 0) == earned // 1000 * 1000


@pytest.mark.parametrize("seed", range(KILLS))
async def test_a_killed_zapper_pays_each_satoshi_once(around: Any, seed: int) -> None:
    """Four miners earn in three portions; kills, moods of wallet and providers, and the ledger's lag are random."""
    luck = random.Random(seed)
    around.settings |= {"receipt_wait_s": 0.001, "pay_timeout_s": 0.01, "concurrency": luck.choice((1, 3))}
    for number in range(4):
        around.miner(f"m{number}", 0)
    around.owners = {}
    get_json = around.provider.get_json

    async def note_owner(url: str) -> object:
        before = set(around.provider.invoices)
        answer = await get_json(url)
        name = url.partition("?")[0].rpartition("/")[2]
        for payment_hash in set(around.provider.invoices) - before:
            around.owners[payment_hash] = around.miners[name].pubkey
        return answer

    around.provider.get_json = note_owner
    kills: list[str] = []
    for _portion in range(3):
        for miner in around.ledger.earned:
            around.ledger.earned[miner] += luck.randrange(1_000, 5_000_000)
        for name in around.miners:
            around.provider.lies[name] = luck.choice(LIES)
        around.wallet.script.extend(luck.choice(MOODS) for _ in range(4))
        around.wallet.lookup_script.extend(luck.choice(("", "raise", "wrong")) for _ in range(2))
        fuse = Fuse(luck.randrange(0, 40 if _portion else 8))
        around.backend = Mortal(around.wallet, fuse, ("pay", "lookup"))
        try:
            async with around.open(lambda store, fuse=fuse: Mortal(store, fuse, WRITES)) as (zapper, _):
                for _round in range(3):
                    await zapper.reconcile()
                    await zapper.pay_round()
                    around.clock.pass_s(luck.choice((1, 61, 300)))
        except* Killed:
            kills.append(fuse.where)
        check_books(around, complete=False)
        if luck.random() < 0.5:
            around.ledger.catch_up()
        luck.choice((around.wallet.finish, around.wallet.give_up, lambda: None))()
    assert len(kills) >= 1, "a seed without a kill proves nothing: choose other fuses"
    # The world comes to reason; time goes by.
    around.wallet.script.clear()
    around.wallet.lookup_script.clear()
    around.provider.lies.clear()
    around.backend = around.wallet
    around.wallet.finish()
    around.settings["pay_timeout_s"] = 5
    async with around.open() as (zapper, store):
        for _day in range(4):
            around.clock.pass_s(86_400)
            await zapper.reconcile()
            await zapper.pay_round()
        assert await store.open_intents() == []
        assert await store.unrecorded() == []
        assert await store.unpublished() == []
    check_books(around, complete=True)


@pytest.mark.parametrize("state", [State.INTENT, State.INVOICED, State.SENDING, State.UNKNOWN, State.SETTLED])
async def test_each_state_is_brought_to_its_end_after_a_kill(around: Any, state: State) -> None:
    """The fuse is set to the write right after the state was reached."""
    miner = around.miner("alice", 2_000_000)
    around.owners = {}
    if state is State.UNKNOWN:
        around.wallet.script.append("late")

    class Stop:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            found = getattr(self._inner, name)
            if name not in ("create", "advance"):
                return found

            async def call(*args: Any, **kwargs: Any) -> Any:
                result = await found(*args, **kwargs)
                if name == "create" and state is State.INTENT:
                    raise Killed
                if name == "advance" and result.state is state:
                    raise Killed
                return result

            return call

    with pytest.raises(BaseExceptionGroup):
        async with around.open(Stop) as (zapper, _):
            await zapper.pay_round()
    async with around.open() as (zapper, store):
        if state is not State.SETTLED:
            [intent] = await store.open_intents()
            assert intent.state is state
        await zapper.reconcile()
        if state is State.SENDING:
            # Killed before the wallet was told: only the invoice's end makes it sure.
            assert around.wallet.pay_calls == []
            assert [intent.state for intent in await store.open_intents()] == [State.UNKNOWN]
            around.clock.pass_s(1201)
            await zapper.reconcile()
            around.clock.pass_s(61)
        await zapper.pay_round()
        assert zapper.why_unpaid(miner) is None or "minimum" in zapper.why_unpaid(miner)
    assert around.paid_msat() == 2_000_000
    assert len(around.wallet.paid) == 1
    assert [record.amount_msat for record in around.records()] == [2_000_000]


CHILD = Path(__file__).with_name("killable_zapper.py")


@pytest.mark.parametrize("lines", [1, 2, 3, 4, 5, 7, 9, 12])
async def test_a_process_killed_for_real_loses_and_doubles_nothing(tmp_path: Path, lines: int) -> None:
    """SIGKILL after so many reported steps, then a run to the end: the fake wallet's books equal what was earned."""
    for attempt in ("killed", "whole"):
        process = await anyio.open_process([sys.executable, str(CHILD), str(tmp_path)], stderr=None)
        assert process.stdout is not None
        seen = b""
        with anyio.fail_after(60):
            async for chunk in process.stdout:
                seen += chunk
                if attempt == "killed" and seen.count(b"\n") >= lines:
                    os.kill(process.pid, signal.SIGKILL)
                    break
            await process.wait()
        await process.aclose()
    *_, last = seen.decode().splitlines()
    assert last == "books: earned 6000000 received 6000000 recorded 6000000 balance 4000000"
