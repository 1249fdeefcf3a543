"""Kill the zapper at every step against every mood of the wallets: nobody paid twice, nobody forgotten, sums match.

A kill is an error that no code of the zapper catches, raised before or after a write of the intent store or a call of
a wallet, mint or chain; then everything is opened anew from the file. Real SIGKILLs of a process are at the end.

`make crash-payouts` runs the long form: NONCESTR_KILLS kills, and each place must have been hit.
"""

import hashlib
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from nips.pool.settings import SettingsBody, build_settings
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal
from zapper.errors import PaymentBlocked
from zapper.payout import Intent, State
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear
from zapper.rails import Kept, Order, Prepared, Returned, Waiting

pytestmark = pytest.mark.anyio

WRITES = ("create", "advance", "advance_all", "set_receipt", "set_payee", "set_kept", "append_record", "mark_published")
CALLS = ("prepare", "prepare_all", "send", "lookup", "outcome", "release")
MOODS = ("ok", "refuse", "late", "lost", "lie", "wrong", "pending", "queued", "hang", "restart")
LIES = ("", "", "", "amount", "hash", "error", "down", "plain", "expired")
KILLS = int(os.environ.get("NONCESTR_KILLS", "90"))
# From here on the report must name every place.
LONG = 1000
PARTS = 3
PLACES = [f"{when} {name}" for name in (*WRITES, *CALLS) for when in ("before", "after")]


class Killed(BaseException):
    """The process is gone."""


class Fuse:
    """Counts the places where a process could die, all or those of one name, and dies at the chosen one."""

    def __init__(self, at: int, place: str = "") -> None:
        self.left = at
        self.place = place
        self.where = ""

    def burn(self, where: str) -> None:
        if self.where:
            raise Killed(self.where)
        if self.place not in ("", where):
            return
        self.left -= 1
        if self.left < 0:
            self.where = where
            raise Killed(where)


class Mortal:
    """Any port with a fuse before and after each of the named calls."""

    def __init__(self, inner: Any, fuse: Fuse, names: tuple[str, ...]) -> None:
        self._inner, self._fuse, self._names = inner, fuse, names
        for name in ("outcome", "prepare_all"):
            if hasattr(inner, name):
                # What kind of rail it is must show.
                setattr(self, name, self._mortal(name, getattr(inner, name)))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._mortal(name, found) if name in self._names else found

    def _mortal(self, name: str, found: Any) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn(f"before {name}")
            result = await found(*args, **kwargs)
            self._fuse.burn(f"after {name}")
            return result

        return call


class Spendable:
    """Money that can be spent once by its nature: `taken` is what the mint or the chain knows, and survives kills."""

    replayable = True
    slow = False
    name = "coins"

    def __init__(self, method: str, luck: random.Random) -> None:
        self.method = method
        self.purse = method
        self.luck = luck
        self.moody = True
        self.taken: dict[str, tuple[str, int]] = {}
        self.back: dict[str, int] = {}
        self.kept: set[str] = set()
        self.orders: dict[str, Order] = {}
        self.count = 0

    async def prepare(self, order: Order) -> Prepared:
        [prepared] = await self._prepare([order])
        return prepared

    async def _prepare(self, orders: Sequence[Order]) -> list[Prepared]:
        await anyio.lowlevel.checkpoint()
        if self.moody and self.luck.random() < 0.2:
            raise PaymentBlocked("no coins at hand")
        made = []
        self.count += 1
        for number, order in enumerate(orders):
            reference = f"{self.method}:{self.count}:{number}"
            self.orders[reference] = order
            made.append(Prepared(self.method, reference, str(self.count)))
        return made

    def _take(self, reference: str) -> None:
        """Once, whoever asks: for everybody in the batch."""
        group = reference.rpartition(":")[0]
        for each, order in self.orders.items():
            if each.rpartition(":")[0] == group and each not in self.taken:
                self.taken[each] = (order.miner, order.amount_msat)

    async def send(self, intent: Intent) -> Paid | Refused | Unclear:
        await anyio.lowlevel.checkpoint()
        reference = intent.reference or ""
        match self.luck.choice(("ok", "late", "lost")) if self.moody else "ok":
            case "late":
                self._take(reference)
                raise TimeoutError
            case "lost":
                raise ConnectionError
        self._take(reference)
        return Paid("", 0, "taken")

    async def lookup(self, intent: Intent) -> Paid | Pending | NotFound | FailedPayment:
        await anyio.lowlevel.checkpoint()
        if self.moody and self.luck.random() < 0.3:
            raise ConnectionError("away")
        return Paid("", 0, "taken") if intent.reference in self.taken else NotFound()

    def proof(self, intent: Intent) -> dict[str, Any]:
        return {"reference": intent.reference, "evidence": intent.evidence}

    async def balance_msat(self) -> int:
        await anyio.lowlevel.checkpoint()
        return 10**12

    async def begin(self, unfinished: Sequence[Intent]) -> None:
        await anyio.lowlevel.checkpoint()

    async def release(self, intent: Intent) -> None:
        await anyio.lowlevel.checkpoint()
        assert intent.reference not in self.taken, "what was handed over is not free"


class Cash(Spendable):
    """Waits to be taken; some of it comes back, each coin at most once."""

    async def outcome(self, intent: Intent) -> Kept | Waiting | Returned:
        await anyio.lowlevel.checkpoint()
        reference = intent.reference or ""
        if reference in self.kept:
            return Kept()
        if reference in self.back:
            return Returned("back")
        match self.luck.choice(("keep", "keep", "wait", "back", "away")) if self.moody else "keep":
            case "keep":
                self.kept.add(reference)
                return Kept()
            case "back":
                self.back[reference] = self.taken[reference][1]
                return Returned("back")
            case "away":
                raise ConnectionError("away")
        return Waiting()


class Chain(Spendable):
    """One payload for many."""

    async def prepare_all(self, orders: Sequence[Order]) -> list[Prepared]:
        return await self._prepare(orders)


class World:
    """A pool's surroundings, two rails beside the Lightning wallet, and the books of them all."""

    def __init__(self, around: Any, luck: random.Random) -> None:
        self.around, self.luck = around, luck
        self.cash, self.chain = Cash("cashu", luck), Chain("onchain", luck)
        self.owners: dict[str, str] = {}
        self.withdrawn = 0
        get_json = around.provider.get_json

        async def note_owner(url: str) -> object:
            before = set(around.provider.invoices)
            answer = await get_json(url)
            name = url.partition("?")[0].rpartition("/")[2]
            for payment_hash in set(around.provider.invoices) - before:
                self.owners[payment_hash] = around.miners[name].pubkey
            return answer

        around.provider.get_json = note_owner

    def settings(self, name: str, *methods: str) -> None:
        body = SettingsBody(methods=methods, onchain="bcrt1q")
        event = build_settings(self.around.address.pubkey, body, self.around.clock.seconds() - 60)
        self.around.feed.add(self.around.miners[name].sign(event))

    def withdraw(self, name: str, make_invoice: Callable[..., str]) -> None:
        """A signed request over a little, by invoice."""
        self.withdrawn += 1
        around, msat = self.around, self.luck.randrange(1_000, 50_000)
        preimage = hashlib.sha256(f"withdrawn {self.withdrawn}".encode()).digest()
        payment_hash = hashlib.sha256(preimage).hexdigest()
        around.provider.preimages[payment_hash] = preimage.hex()
        self.owners[payment_hash] = around.miners[name].pubkey
        now_s = around.clock.seconds()
        text = make_invoice(preimage=preimage, amount_msat=msat, description_hash="ab" * 32, created_at=now_s)
        body = WithdrawalBody("bolt11", msat, text, now_s + 3600)
        event = build_withdrawal(around.address, around.signer.pubkey, body, now_s)
        around.feed.add(around.miners[name].sign(event))

    def paid(self) -> dict[str, int]:
        """What each miner has and can keep."""
        paid: Counter[str] = Counter()
        for payment_hash in self.around.wallet.paid:
            paid[self.owners[payment_hash]] += self.around.wallet.amounts[payment_hash]
        for rail in (self.cash, self.chain):
            for reference, (miner, msat) in rail.taken.items():
                paid[miner] += msat - rail.back.get(reference, 0)
        return paid

    def check_books(self, *, complete: bool) -> None:
        """The invariants, from what wallets did and what the relays hold."""
        around, paid = self.around, self.paid()
        for miner, amount in paid.items():
            assert amount <= around.ledger.earned[miner], "more than was earned"
        assert len(around.wallet.pay_calls) == len(set(around.wallet.pay_calls)), "an invoice was sent twice"
        records = around.records()
        assert [record.link.seq for record in records] == list(range(len(records)))
        assert [record.link.prev for record in records] == [None, *(record.id for record in records)][: len(records)]
        assert len({record.payout_id for record in records}) == len(records)
        recorded: Counter[str] = Counter()
        for record in records:
            recorded[record.miner] += record.amount_msat
        if complete:
            assert {miner: msat for miner, msat in recorded.items() if msat} == dict(paid)
            for miner, earned in around.ledger.earned.items():
                assert earned - 1000 < paid.get(miner, 0) <= earned, "somebody was forgotten"


async def one_life(around: Any, make_invoice: Callable[..., str], seed: int, rare: Sequence[str]) -> list[str]:
    """Five miners earn in portions; kills, moods of wallets and providers, and the ledger's lag are random.

    In every second portion the kill aims at one of the `rare` places. Returns where the zapper was killed.
    """
    luck = random.Random(seed)
    world = World(around, luck)
    around.settings |= {"receipt_wait_s": 20, "pay_timeout_s": 0.01, "concurrency": luck.choice((1, 3))}
    for number in range(5):
        around.miner(f"m{number}", 0)
    world.settings("m1", "cashu", "zap")
    world.settings("m2", "onchain")
    world.settings("m3", "onchain", "cashu")
    kills: list[str] = []
    for portion in range(5):
        for miner in around.ledger.earned:
            around.ledger.earned[miner] += luck.randrange(1_000, 5_000_000)
        if luck.random() < 0.5:
            world.withdraw(luck.choice(("m0", "m4")), make_invoice)
        for name in around.miners:
            around.provider.lies[name] = luck.choice(LIES)
        around.wallet.script.extend(luck.choice(MOODS) for _ in range(4))
        around.wallet.lookup_script.extend(luck.choice(("", "raise", "wrong")) for _ in range(2))
        fuse = Fuse(luck.randrange(0, 60 if portion else 12))
        if portion % 2:
            fuse = Fuse(luck.randrange(0, 2), rare[(seed // PARTS + portion // 2) % len(rare)])
        around.backend = Mortal(around.wallet, fuse, ("pay", "lookup"))
        around.rails = {rail.method: Mortal(rail, fuse, CALLS) for rail in (world.cash, world.chain)}
        try:
            async with around.open(lambda store, fuse=fuse: Mortal(store, fuse, WRITES)) as (zapper, _):
                for _round in range(3):
                    await zapper.reconcile()
                    await zapper.serve_requests()
                    await zapper.pay_round()
                    around.clock.pass_s(luck.choice((1, 61, 300)))
        except* Killed:
            kills.append(fuse.where)
        world.check_books(complete=False)
        if luck.random() < 0.5:
            around.ledger.catch_up()
        luck.choice((around.wallet.finish, around.wallet.give_up, lambda: None))()
    await recover(around, world)
    return kills


async def recover(around: Any, world: World) -> None:
    """The world comes to reason; time goes by; then the books must be whole."""
    around.wallet.script.clear()
    around.wallet.lookup_script.clear()
    around.provider.lies.clear()
    around.backend = around.wallet
    around.rails = {rail.method: rail for rail in (world.cash, world.chain)}
    world.cash.moody = world.chain.moody = False
    around.wallet.finish()
    around.settings["pay_timeout_s"] = 5
    async with around.open() as (zapper, store):
        for _day in range(4):
            around.clock.pass_s(86_400)
            await zapper.reconcile()
            # Money that came back is due again once the ledger has read of it.
            around.ledger.catch_up()
            await zapper.serve_requests()
            await zapper.pay_round()
        assert await store.open_intents() == []
        assert await store.unrecorded() == []
        assert await store.unpublished() == []
    world.check_books(complete=True)


@pytest.mark.parametrize("part", range(PARTS))
async def test_a_killed_zapper_pays_each_satoshi_once(
    make_around: Callable[[Path], Any], make_invoice: Callable[..., str], tmp_path: Path, part: int
) -> None:
    kills: Counter[str] = Counter()
    seed = part
    while kills.total() < KILLS // PARTS:
        rare = [place for place in PLACES if kills[place] <= min(kills[each] for each in PLACES)]
        kills.update(await one_life(make_around(tmp_path / f"{seed}.sqlite"), make_invoice, seed, rare))
        seed += PARTS
    if KILLS >= LONG:
        sys.stdout.write(f"part {part}: {kills.total()} kills in {seed // PARTS} lives\n")
        sys.stdout.writelines(f"{kills[place]:6} {place}\n" for place in PLACES)
        assert not [place for place in PLACES if not kills[place]], "nobody died there"


@pytest.mark.parametrize("state", [State.INTENT, State.INVOICED, State.SENDING, State.UNKNOWN, State.SETTLED])
async def test_each_state_is_brought_to_its_end_after_a_kill(around: Any, state: State) -> None:
    """The fuse is set to the write right after the state was reached."""
    miner = around.miner("alice", 2_000_000)
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


async def killed_then_whole(folder: Path, lines: int, *options: str) -> str:
    """The last line of a second run, after one that was killed when it had reported so many steps."""
    for attempt in ("killed", "whole"):
        process = await anyio.open_process([sys.executable, str(CHILD), str(folder), *options], stderr=None)
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
    return seen.decode().splitlines()[-1]


@pytest.mark.parametrize("lines", [1, 2, 3, 4, 5, 7, 9, 12])
async def test_a_process_killed_for_real_loses_and_doubles_nothing(tmp_path: Path, lines: int) -> None:
    """SIGKILL after so many reported steps, then a run to the end: the fake wallet's books equal what was earned."""
    last = await killed_then_whole(tmp_path, lines)
    assert last == "books: earned 6000000 received 6000000 recorded 6000000 balance 4000000"


@pytest.mark.parametrize("lines", [1, 2, 6, 10, 16, 22])
async def test_a_missed_round_killed_in_its_midst_is_made_again_and_pays_once(tmp_path: Path, lines: int) -> None:
    """After the second run everybody's payout is made or asked about, none twice, and the moment is done."""
    assert await killed_then_whole(tmp_path, lines, "--scheduled") == "noon: held 6000000 received what settled"
