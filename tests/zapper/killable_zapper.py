"""Run by test_crashes: a zapper with the fake wallet's SQLite in a folder, reporting each step so it can be killed.

The providers are local functions over the fake node; the relay is an append-only file of events.
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.lowlevel

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from nips.keys import SecretKey  # noqa: E402 - after the path
from nips.nip01 import Filter, UnsignedEvent, VerifiedEvent, decode_event, encode_event, verify  # noqa: E402
from nips.pool.address import PoolAddress  # noqa: E402
from nips.pool.payout import parse_payout  # noqa: E402
from zapper.adapters.fake_backend import FakeLightning, open_fake_lightning  # noqa: E402
from zapper.adapters.intent_store import SqliteIntentStore, open_intent_store  # noqa: E402
from zapper.config import ZapperConfig  # noqa: E402
from zapper.lightning_rails import LnurlRail  # noqa: E402
from zapper.payout import State  # noqa: E402
from zapper.plan import PlanLimits  # noqa: E402
from zapper.ports import Owed, RoundDone  # noqa: E402
from zapper.schedule import latest_round_ms  # noqa: E402
from zapper.service import Zapper  # noqa: E402

SCHEDULE = "0 12 * * *"
METADATA = '[["text/plain","x"]]'
EARNED = {"a": 1_000_000, "b": 2_000_000, "c": 3_000_000}


def key(name: str) -> SecretKey:
    return SecretKey(hashlib.sha256(name.encode()).digest())


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class FileFeed:
    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_bytes().splitlines() if path.exists() else []
        self.events = [verify(decode_event(line)) for line in lines if line.endswith(b"}")]

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        await anyio.lowlevel.checkpoint()
        if event.id not in {known.id for known in self.events}:
            self.events.append(event)
            with self._path.open("ab") as file:
                file.write(encode_event(event) + b"\n")
        say("published")

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        await anyio.lowlevel.checkpoint()
        return [event for event in self.events if any(f.matches(event) for f in filters)]


class NodeHttp:
    def __init__(self, node: FakeLightning) -> None:
        self._node = node

    async def get_json(self, url: str) -> object:
        parts = urlsplit(url)
        name = parts.path.rpartition("/")[2]
        if parts.path.startswith("/.well-known"):
            return {
                "tag": "payRequest",
                "callback": f"https://pay.example/callback/{name}",
                "minSendable": 1000,
                "maxSendable": 10**12,
                "metadata": METADATA,
            }
        amount = int(parse_qs(parts.query)["amount"][0])
        digest = hashlib.sha256(METADATA.encode()).hexdigest()
        return {"pr": await self._node.create_invoice(amount_msat=amount, description_hash=digest, account=name)}


class Loud:
    """Reports before and after each call, so that a kill can come there."""

    def __init__(self, inner: object, names: tuple[str, ...]) -> None:
        self._inner, self._names = inner, names

    def __getattr__(self, name: str) -> object:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found

        async def call(*args: object, **kwargs: object) -> object:
            say(f"before {name}")
            result = await found(*args, **kwargs)
            say(f"after {name}")
            return result

        return call


class Ledger:
    async def owed(self) -> Sequence[Owed]:
        return [Owed(key(name).pubkey, msat) for name, msat in EARNED.items()]


async def miss_a_moment(zapper: Zapper, store: SqliteIntentStore, node: FakeLightning, now_ms: int) -> None:
    """Started after noon by a pool that was away since yesterday, until noon's round is done."""
    noon_ms = latest_round_ms(SCHEDULE, now_ms)
    if await store.last_round() is None:
        await store.set_last_round(RoundDone(SCHEDULE, noon_ms - 86_400_000, None))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(zapper.run)
        while True:
            done = await store.last_round()
            if done is not None and done.moment_ms == noon_ms and not await store.unrecorded():
                break
            await anyio.sleep(0.02)
        tasks.cancel_scope.cancel()
    held = settled = 0
    for name in EARNED:
        for payout_id, msat in (await store.holds(key(name).pubkey)).items():
            intent = await store.get(payout_id)
            held += msat
            settled += msat if intent is not None and intent.state is State.SETTLED else 0
    received = sum([await node.account_msat(name) for name in EARNED])
    say(f"noon: held {held} received {'what settled' if received == settled else f'{received}, settled {settled}'}")


async def main(folder: Path, schedule: str = "") -> None:
    feed = FileFeed(folder / "events.jsonl")
    for name in EARNED:
        feed.events.append(key(name).sign(UnsignedEvent(0, 1, (), f'{{"lud16":"{name}@pay.example"}}')))
    start = 1_800_000_000_000
    shift = 0

    def clock() -> int:
        return start + shift

    async with (
        open_fake_lightning(
            folder / "wallet.sqlite", network="regtest", balance_msat=10_000_000, clock=lambda: clock() // 1000
        ) as node,
        open_intent_store(folder / "intents.sqlite") as store,
    ):
        rail = LnurlRail(
            Loud(node, ("pay",)),  # type: ignore[arg-type]  # a proxy by name
            http=NodeHttp(node),
            signer=key("zapper"),
            network="regtest",
            relays=("ws://127.0.0.1:7777",),
            now_s=lambda: clock() // 1000,
        )
        zapper = Zapper(
            ZapperConfig(
                pool=PoolAddress(key("pool").pubkey, "regtest"),
                pool_name="Test",
                relays=("ws://127.0.0.1:7777",),
                schedule=schedule,
                limits=PlanLimits(minimum_msat=1000),
            ),
            signer=key("zapper"),
            owed=Ledger(),
            store=Loud(store, ("create", "advance", "append_record", "set_last_round")),  # type: ignore[arg-type]  # a proxy by name
            rails={"zap": rail, "lnurl": rail},
            feed=feed,  # type: ignore[arg-type]  # subscribe is for receipts, and no provider here zaps
            clock=clock,
        )
        if schedule:
            await miss_a_moment(zapper, store, node, start)
            return
        for _day in range(3):
            await zapper.reconcile()
            await zapper.pay_round()
            shift += 86_400_000
        received = sum([await node.account_msat(name) for name in EARNED])
        recorded = sum(parse_payout(event).amount_msat for event in feed.events if event.kind == 4215)
        say(
            f"books: earned {sum(EARNED.values())} received {received} recorded {recorded} "
            f"balance {await node.balance_msat()}"
        )


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), SCHEDULE if "--scheduled" in sys.argv else "")
