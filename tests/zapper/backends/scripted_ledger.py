"""What stands behind each scripted wallet: invoices, payments, a balance, and what happens to the next payment."""

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from nips.bolt11 import Invoice, decode_invoice


@dataclass
class Entry:
    """A payment. `state`: pending, paid or failed."""

    amount_msat: int
    fee_msat: int
    created_at: int
    state: str = "pending"
    reason: str = ""
    text: str = ""


@dataclass
class ScriptedLedger:
    """`script`: "no route", "hang" or "abandon" for the next payments, one each; without one they are made.

    A payment that hangs is under way until `finish` or `give_up` is called; its answer never comes. One that is
    abandoned is under way too, while the node gives up on who ordered it.
    """

    make_invoice: Callable[..., str]
    clock: Callable[[], int]
    balance_msat: int = 1_000_000
    fee_msat: int = 2_000
    script: deque[str] = field(default_factory=deque)
    preimages: dict[str, str] = field(default_factory=dict)
    payments: dict[str, Entry] = field(default_factory=dict)
    times_paid: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    caps_msat: list[int] = field(default_factory=list)

    def invoice(self, amount_msat: int = 100_000) -> Invoice:
        """A new one, not paid yet."""
        preimage = hashlib.sha256(f"preimage {len(self.preimages)}".encode()).digest()
        text = self.make_invoice(
            preimage=preimage, amount_msat=amount_msat, description_hash="ab" * 32, created_at=self.clock()
        )
        invoice = decode_invoice(text)
        self.preimages[invoice.payment_hash] = preimage.hex()
        return invoice

    def alien(self) -> Invoice:
        """One that there is no way to."""
        made = self.make_invoice(
            preimage=b"other", amount_msat=50_000, description_hash="cd" * 32, created_at=self.clock()
        )
        return decode_invoice(made)

    async def pay(self, text: str, cap_msat: int | None = None) -> Entry | str:
        """The payment once it is made or failed; "abandoned"; "poor", "exists" or "invalid" when it was not begun."""
        invoice = decode_invoice(text)
        key, amount_msat = invoice.payment_hash, invoice.amount_msat or 0
        self.orders[key] += 1
        if cap_msat is not None:
            self.caps_msat.append(cap_msat)
        if key in self.payments and self.payments[key].state != "failed":
            return "exists"
        if key not in self.preimages:
            return "invalid"
        if self.balance_msat < amount_msat + self.fee_msat:
            return "poor"
        entry = Entry(amount_msat, self.fee_msat, self.clock(), text=text)
        self.payments[key] = entry
        match self.script.popleft() if self.script else "ok":
            case "no route":
                entry.state, entry.reason = "failed", "no route"
            case "abandon":
                return "abandoned"
            case "hang":
                await anyio.sleep_forever()
            case _:
                self.finish(key)
        return entry

    def finish(self, key: str) -> None:
        entry = self.payments[key]
        assert entry.state == "pending"
        entry.state = "paid"
        self.times_paid[key] += 1
        self.balance_msat -= entry.amount_msat + entry.fee_msat

    def give_up(self, key: str) -> None:
        entry = self.payments[key]
        assert entry.state == "pending"
        entry.state, entry.reason = "failed", "no route"

    async def arrived(self, key: str) -> None:
        """Until the payment is under way."""
        with anyio.fail_after(30):
            while key not in self.payments:  # noqa: ASYNC110 - written by servers, in this loop and in others
                await anyio.sleep(0.005)
