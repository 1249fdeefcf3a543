"""Ways to pay in memory, and what miners say of being paid."""

import hashlib
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel

from nips.nip01 import VerifiedEvent
from nips.pool.settings import SettingsBody, build_settings
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal
from zapper.errors import PaymentBlocked
from zapper.payout import Intent
from zapper.ports import Paid, Unclear
from zapper.rails import Order, Prepared, Waiting


class ScriptedRail:
    """A rail in memory: what it was handed, by reference."""

    replayable = False
    slow = False
    name = "scripted rail"

    def __init__(self, method: str) -> None:
        self.method = method
        self.purse = method
        self.orders: list[Order] = []
        self.sent: list[Intent] = []
        self.released: list[str] = []
        self.began: list[str] | None = None
        self.broken = ""
        self.fault: Exception | None = None
        self.answers: dict[str, Any] = {}
        self.unclear = False
        # How long an answer takes; what then is asked about is brought on.
        self.lookup_s = 0.0

    async def prepare(self, order: Order) -> Prepared:
        await anyio.lowlevel.checkpoint()
        if self.fault is not None:
            raise self.fault
        if self.broken:
            raise PaymentBlocked(self.broken)
        self.orders.append(order)
        return Prepared(self.method, f"{self.method}-{order.payout_id}", "payload")

    async def send(self, intent: Intent) -> Any:
        await anyio.lowlevel.checkpoint()
        self.sent.append(intent)
        return Unclear("who knows") if self.unclear else Paid("", 7, "shown")

    async def lookup(self, intent: Intent) -> Any:
        await anyio.sleep(self.lookup_s)
        return self.answers[intent.reference or ""]

    def proof(self, intent: Intent) -> dict[str, Any]:
        return {"evidence": intent.evidence, "reference": intent.reference}

    async def balance_msat(self) -> int:
        await anyio.lowlevel.checkpoint()
        return 10**12

    async def begin(self, unfinished: Sequence[Intent]) -> None:
        await anyio.lowlevel.checkpoint()
        self.began = [intent.payout_id for intent in unfinished]

    async def release(self, intent: Intent) -> None:
        await anyio.lowlevel.checkpoint()
        self.released.append(intent.payout_id)


class BatchedRail(ScriptedRail):
    """Pays all in one: a payload for everybody."""

    async def prepare_all(self, orders: Sequence[Order]) -> list[Prepared]:
        await anyio.lowlevel.checkpoint()
        if self.broken:
            raise PaymentBlocked(self.broken)
        self.orders.extend(orders)
        return [Prepared(self.method, f"txid:{number}", "one transaction") for number, _ in enumerate(orders)]


class CashLikeRail(ScriptedRail):
    """Its money waits to be taken."""

    outcome_of: Any = Waiting()

    async def outcome(self, intent: Intent) -> Any:
        await anyio.lowlevel.checkpoint()
        return self.outcome_of


def settle_for(around: Any, name: str, **fields: Any) -> None:
    event = build_settings(around.address.pubkey, SettingsBody(**fields), around.clock.seconds() - 60)
    around.feed.add(around.miners[name].sign(event))


def ask(around: Any, name: str, method: str, msat: int, to: str = "", **changes: Any) -> VerifiedEvent:
    now_s = around.clock.seconds()
    body = WithdrawalBody(method, msat, to, now_s + 3600)
    unsigned = build_withdrawal(around.address, changes.get("zapper", around.signer.pubkey), body, now_s)
    event = around.miners[name].sign(unsigned)
    around.feed.add(event)
    return event


class MinersRelays:
    def __init__(self, events: list[VerifiedEvent]) -> None:
        self.events = events
        self.asked: list[tuple[str, ...]] = []

    async def ask(self, urls: Sequence[str], filters: Any, *, timeout_s: float) -> list[VerifiedEvent]:
        await anyio.lowlevel.checkpoint()
        self.asked.append(tuple(urls))
        return [event for event in self.events if any(wanted.matches(event) for wanted in filters)]


def invoice(around: Any, make_invoice: Any, msat: int, number: int = 0, **fields: Any) -> str:
    preimage = hashlib.sha256(f"withdrawn {number}".encode()).digest()
    around.provider.preimages[hashlib.sha256(preimage).hexdigest()] = preimage.hex()
    return str(
        make_invoice(
            preimage=preimage,
            amount_msat=msat,
            description_hash="ab" * 32,
            created_at=around.clock.seconds(),
            **fields,
        )
    )
