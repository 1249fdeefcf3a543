"""Parts the zapper's tests share: an in-memory relay feed, a ledger, a clock, and wallets that misbehave on order."""

import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.lowlevel
import bolt11
import pytest

from nips.bolt11 import Invoice
from nips.keys import SecretKey
from nips.nip01 import Filter, UnsignedEvent, VerifiedEvent
from nips.nip57 import build_zap_receipt, check_zap_request
from nips.pool.address import PoolAddress
from nips.pool.payout import Payout, parse_payout
from zapper.adapters.intent_store import open_intent_store
from zapper.config import ZapperConfig
from zapper.errors import HttpFailed
from zapper.lightning_rails import InvoiceRail, LnurlRail
from zapper.plan import PlanLimits
from zapper.ports import FailedPayment, NotFound, Owed, Paid, Pending, Refused, Unclear
from zapper.service import Zapper

START_MS = 1_800_000_000_000
METADATA = '[["text/plain","Payouts"],["text/identifier","somebody@pay.example"]]'


def secret(number: int) -> SecretKey:
    return SecretKey(hashlib.sha256(f"test key {number}".encode()).digest())


class Clock:
    """Unix ms that move when told."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms

    def seconds(self) -> int:
        return self.ms // 1000

    def pass_s(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@dataclass
class Delivered:
    event: VerifiedEvent


class EndOfStored:
    pass


class Feed:
    """A relay in memory: what is published is stored and delivered."""

    def __init__(self) -> None:
        self.events: dict[str, VerifiedEvent] = {}
        self.published: list[tuple[str, str]] = []
        self.down = False
        self.questions = 0
        self._news = anyio.Event()

    def add(self, event: VerifiedEvent) -> None:
        self.events[event.id] = event
        self._news.set()
        self._news = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._news.wait()

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        await anyio.lowlevel.checkpoint()
        if self.down:
            raise OSError("the relay is down")
        self.published.append((chain, event.id))
        self.add(event)

    async def publish_receipt(self, event: VerifiedEvent, *, relays: Sequence[str]) -> None:
        assert list(relays) == ["ws://127.0.0.1:7777"]
        await self.publish(event)

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        await anyio.lowlevel.checkpoint()
        if self.down:
            raise OSError("the relay is down")
        self.questions += 1
        found: dict[str, VerifiedEvent] = {}
        for wanted in filters:
            # NIP-01: of more than the limit the newest.
            matching = [event for event in self.events.values() if wanted.matches(event)]
            if wanted.limit is not None:
                matching = sorted(matching, key=lambda event: (-event.created_at, event.id))[: wanted.limit]
            found.update((event.id, event) for event in matching)
        return list(found.values())

    def subscribe(self, filters: Sequence[Filter], *, name: str) -> "LiveQuestion":
        return LiveQuestion(self, filters)


class LiveQuestion:
    def __init__(self, feed: Feed, filters: Sequence[Filter]) -> None:
        self._feed = feed
        self._filters = filters

    async def __aenter__(self) -> "LiveQuestion":
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def __aiter__(self) -> Any:
        sent: set[str] = set()
        told_end = False
        while True:
            news = self._feed._news
            for event in list(self._feed.events.values()):
                if event.id not in sent and any(f.matches(event) for f in self._filters):
                    sent.add(event.id)
                    yield Delivered(event)
            if not told_end:
                told_end = True
                yield EndOfStored()
            await news.wait()


class Ledger:
    """The accounting: earnings set by the test, payout records read off the feed when it is allowed to look."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.earned: dict[str, int] = {}
        self.applied: dict[str, dict[str, int]] = {}

    def catch_up(self) -> None:
        for event in self._feed.events.values():
            if event.kind == 4215:
                payout = parse_payout(event)
                self.applied.setdefault(payout.miner, {})[payout.payout_id] = payout.amount_msat

    async def owed(self) -> Sequence[Owed]:
        return [
            Owed(miner, earned, dict(self.applied.get(miner, {})), ("ab" * 32,))
            for miner, earned in self.earned.items()
        ]


@dataclass
class Wallet:
    """A wallet in memory with a script: each `pay` takes the next behaviour, "ok" when none is left.

    ok: pays. refuse: does not. late: pays, but raises a timeout. lost: never heard of it, raises a timeout.
    lie: pays and says Refused. wrong: pays and shows a wrong preimage. pending: is under way until `finish`.
    restart: it was stopped before it heard of it, and does not answer questions for a while.
    queued: the order is on its way, the wallet knows nothing of it; `finish` pays it if its invoice still lives.
    """

    preimages: Callable[[str], str | None]
    clock: Clock
    script: deque[str] = field(default_factory=deque)
    lookup_script: deque[str] = field(default_factory=deque)
    paid: list[str] = field(default_factory=list)
    under_way: dict[str, int] = field(default_factory=dict)
    queued: dict[str, int] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    pay_calls: list[str] = field(default_factory=list)
    balance: int = 10**15
    fee: int = 21
    name: str = "scripted"

    def _pay(self, payment_hash: str) -> str:
        preimage = self.preimages(payment_hash)
        assert preimage is not None
        if payment_hash not in self.paid:
            self.paid.append(payment_hash)
        return preimage

    def finish(self) -> None:
        for payment_hash, expires_at in self.queued.items():
            if self.clock.seconds() < expires_at:
                self._pay(payment_hash)
        self.queued.clear()
        for payment_hash in list(self.under_way):
            del self.under_way[payment_hash]
            self._pay(payment_hash)

    def give_up(self) -> None:
        for payment_hash in list(self.under_way):
            del self.under_way[payment_hash]
            self.failed[payment_hash] = "no route"

    async def pay(self, invoice: Invoice, *, max_fee_msat: int) -> Paid | Refused | Unclear:
        await anyio.lowlevel.checkpoint()
        key = invoice.payment_hash
        self.pay_calls.append(key)
        self.amounts[key] = invoice.amount_msat or 0
        behaviour = self.script.popleft() if self.script else "ok"
        match behaviour:
            case "refuse":
                return Refused("no route")
            case "late":
                self._pay(key)
                raise TimeoutError
            case "lost":
                raise TimeoutError
            case "lie":
                self._pay(key)
                return Refused("already paid")
            case "queued":
                self.queued[key] = invoice.expires_at
                raise TimeoutError
            case "wrong":
                self._pay(key)
                return Paid("00" * 32, 0)
            case "restart":
                # What was on its way is gone with the process that had it.
                self.queued.clear()
                self.lookup_script.extend(("raise", "raise"))
                raise ConnectionResetError
            case "pending":
                self.under_way[key] = self.amounts[key]
                return Unclear("still trying")
            case "hang":
                await anyio.sleep_forever()
        return Paid(self._pay(key), self.fee)

    async def lookup(self, payment_hash: str) -> Paid | Pending | NotFound | FailedPayment:
        await anyio.lowlevel.checkpoint()
        if self.lookup_script:
            match self.lookup_script.popleft():
                case "raise":
                    raise ConnectionError("the wallet is away")
                case "wrong":
                    return Paid("11" * 32, 0)
        if payment_hash in self.paid:
            return Paid(self._pay(payment_hash), self.fee)
        if payment_hash in self.under_way:
            return Pending()
        if payment_hash in self.failed:
            return FailedPayment(self.failed[payment_hash])
        return NotFound()

    async def balance_msat(self) -> int:
        await anyio.lowlevel.checkpoint()
        return self.balance


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def ledger(feed: Feed) -> Ledger:
    return Ledger(feed)


@pytest.fixture
def make_key() -> Callable[[int], SecretKey]:
    return secret


@pytest.fixture
def pool() -> PoolAddress:
    return PoolAddress(secret(1000).pubkey, "regtest")


@pytest.fixture
def make_profile(clock: Clock) -> Callable[..., VerifiedEvent]:
    def make(key: SecretKey, content: str, *, age_s: int = 3600) -> VerifiedEvent:
        return key.sign(UnsignedEvent(0, clock.seconds() - age_s, (), content))

    return make


def make_bolt11(
    *,
    preimage: bytes,
    amount_msat: int | None,
    description_hash: str,
    created_at: int,
    expiry_s: int = 600,
    currency: str = "bcrt",
) -> str:
    tags = bolt11.Tags()
    tags.add(bolt11.TagChar.payment_hash, hashlib.sha256(preimage).hexdigest())
    tags.add(bolt11.TagChar.payment_secret, "07" * 32)
    tags.add(bolt11.TagChar.description_hash, description_hash)
    tags.add(bolt11.TagChar.expire_time, expiry_s)
    amount = None if amount_msat is None else bolt11.MilliSatoshi(amount_msat)
    invoice = bolt11.Bolt11(currency=currency, date=created_at, amount_msat=amount, tags=tags)
    return str(bolt11.encode(invoice, "41" * 32))


class Provider:
    """LNURL servers behind the `Http` port. `lies` names a user's way of lying."""

    def __init__(self, clock: Clock, feed: Feed) -> None:
        self.key = secret(2000)
        self.lies: dict[str, str] = {}
        # The most that a user takes at once, in msat.
        self.most: dict[str, int] = {}
        self.preimages: dict[str, str] = {}
        self.asked: dict[str, int] = {}
        self.requests: dict[str, str] = {}
        self.invoices: dict[str, str] = {}
        self.receipts = True
        self._clock = clock
        self._feed = feed
        self._count = 0

    def preimage(self, payment_hash: str) -> str | None:
        """For the wallet: it learns the preimage by paying, and the provider publishes its receipt."""
        preimage = self.preimages.get(payment_hash)
        zap_request = self.requests.get(payment_hash)
        if preimage is not None and zap_request is not None and self.receipts:
            request = check_zap_request(zap_request)
            self._feed.add(
                self.key.sign(
                    build_zap_receipt(
                        request,
                        bolt11=self.invoices[payment_hash],
                        preimage=preimage,
                        paid_at=self._clock.seconds(),
                    )
                )
            )
        return preimage

    async def get_json(self, url: str) -> object:
        await anyio.lowlevel.checkpoint()
        parts = urlsplit(url)
        user = parts.path.rpartition("/")[2]
        lie = self.lies.get(user, "")
        if parts.path.startswith("/.well-known/"):
            if lie == "down":
                raise HttpFailed(parts.hostname or "", "connection refused")
            if lie == "slow":
                await anyio.sleep_forever()
            return {
                "tag": "withdrawRequest" if lie == "tag" else "payRequest",
                "callback": f"https://{parts.hostname}/callback/{user}",
                "minSendable": 10**12 if lie == "minimum" else 1000,
                "maxSendable": self.most.get(user, 10**13),
                "metadata": METADATA,
                "allowsNostr": lie != "plain",
                "nostrPubkey": self.key.pubkey,
            }
        query = parse_qs(parts.query)
        self.asked[user] = self.asked.get(user, 0) + 1
        amount = int(query["amount"][0])
        zap_request = query["nostr"][0] if "nostr" in query else None
        if lie == "error":
            return {"status": "ERROR", "reason": "out of service"}
        if lie == "garbage":
            return {"pr": "lnbcrt1garbage"}
        if lie != "same" or not self._count:
            self._count += 1
        preimage = hashlib.sha256(f"preimage {self._count}".encode()).digest()
        text = make_bolt11(
            preimage=preimage,
            amount_msat=amount + 1000 if lie == "amount" else amount,
            description_hash="ee" * 32
            if lie == "hash"
            else hashlib.sha256((zap_request or METADATA).encode()).hexdigest(),
            created_at=self._clock.seconds() - (700 if lie == "expired" else 0),
            currency="bc" if lie == "network" else "bcrt",
        )
        payment_hash = hashlib.sha256(preimage).hexdigest()
        self.preimages[payment_hash] = preimage.hex()
        self.invoices[payment_hash] = text
        if zap_request is not None:
            self.requests[payment_hash] = zap_request
        return {"pr": text.upper() if lie == "upper" else text, "routes": []}


@pytest.fixture
def provider(clock: Clock, feed: Feed) -> Provider:
    return Provider(clock, feed)


@pytest.fixture
def wallet(provider: Provider, clock: Clock) -> Wallet:
    return Wallet(provider.preimage, clock)


class Pool:
    """A zapper with everything around it in memory; only the intent store is a file. `zapper` is made by `open`."""

    def __init__(
        self, clock: Clock, feed: Feed, ledger: Ledger, provider: Provider, wallet: Wallet, path: Path
    ) -> None:
        self.clock, self.feed, self.ledger, self.provider, self.wallet = clock, feed, ledger, provider, wallet
        self.path = path
        self.address = PoolAddress(secret(1000).pubkey, "regtest")
        self.signer = secret(1001)
        self.miners: dict[str, SecretKey] = {}
        self.backend: Any = wallet
        self.settings: dict[str, Any] = {}
        self.rails: dict[str, Any] = {}
        self.http: Any = provider
        self.miners_relays: Any = None

    def miner(self, name: str, earned_msat: int, *, profile: str | None = None) -> str:
        key = secret(len(self.miners))
        self.miners[name] = key
        content = json.dumps({"name": name, "lud16": f"{name}@pay.example"}) if profile is None else profile
        if content:
            self.feed.add(key.sign(UnsignedEvent(0, self.clock.seconds() - 3600, (), content)))
        self.ledger.earned[key.pubkey] = earned_msat
        return key.pubkey

    @asynccontextmanager
    async def open(self, wrap: Callable[[Any], Any] = lambda store: store) -> AsyncIterator[tuple[Zapper, Any]]:
        settings = {
            "receipt_wait_s": 0.05,
            "pay_timeout_s": 5,
            "fetch_timeout_s": 5,
            "limits": PlanLimits(minimum_msat=1_000),
            **self.settings,
        }
        config = ZapperConfig(pool=self.address, pool_name="Test", relays=("ws://127.0.0.1:7777",), **settings)
        rail = LnurlRail(
            self.backend,
            http=self.http,
            signer=self.signer,
            network="regtest",
            relays=("ws://127.0.0.1:7777",),
            now_s=lambda: self.clock() // 1000,
        )
        invoices = InvoiceRail(self.backend, network="regtest", now_s=self.clock.seconds)
        async with open_intent_store(self.path) as store:
            kept = wrap(store)
            yield (
                Zapper(
                    config,
                    signer=self.signer,
                    owed=self.ledger,
                    store=kept,
                    rails={"zap": rail, "lnurl": rail, "bolt11": invoices, **self.rails},
                    feed=self.feed,
                    miners_relays=self.miners_relays,
                    clock=self.clock,
                ),
                store,
            )

    def records(self) -> list[Payout]:
        found = [parse_payout(event) for event in self.feed.events.values() if event.kind == 4215]
        return sorted(found, key=lambda payout: payout.link.seq)

    def paid_msat(self) -> int:
        return sum(self.wallet.amounts[payment_hash] for payment_hash in self.wallet.paid)


@pytest.fixture
def around(clock: Clock, feed: Feed, ledger: Ledger, provider: Provider, wallet: Wallet, tmp_path: Path) -> Pool:
    return Pool(clock, feed, ledger, provider, wallet, tmp_path / "intents.sqlite")


@pytest.fixture
def make_around() -> Callable[[Path], Pool]:
    """Pools of their own, each with its intent store in the given file."""

    def make(path: Path) -> Pool:
        clock, feed = Clock(), Feed()
        provider = Provider(clock, feed)
        return Pool(clock, feed, Ledger(feed), provider, Wallet(provider.preimage, clock), path)

    return make


@pytest.fixture
def make_invoice() -> Callable[..., str]:
    return make_bolt11
