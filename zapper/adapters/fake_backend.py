"""DEMO AND TESTS ONLY: a Lightning wallet and its counterpart in one SQLite file, without any network.

It issues real BOLT 11 regtest invoices with its own node key, and settles those, and only those, with their real
preimages: one transaction moves the money from the wallet's balance to the payee's account. State survives kill -9.
"""

import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiosqlite
import anyio
from bolt11 import Bolt11, Feature, FeatureExtra, Features, FeatureState, MilliSatoshi, TagChar, Tags, encode

from nips.bolt11 import Invoice
from zapper.adapters.transactions import transaction
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear

# Play money: a hundred bitcoin, more than a demo pays in years at its default reward.
DEMO_BALANCE_MSAT = 100 * 100_000_000_000
# Short, so that a payment interrupted by a crash is soon known to be dead.
EXPIRY_S = 300
# BOLT 11's default for the last hop.
MIN_FINAL_CLTV = 18

_SCHEMA = """
CREATE TABLE IF NOT EXISTS wallet (id INTEGER PRIMARY KEY CHECK (id = 1), node_key BLOB NOT NULL,
    balance_msat INTEGER NOT NULL CHECK (balance_msat >= 0));
CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, msat INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS invoices (
    payment_hash TEXT PRIMARY KEY,
    preimage TEXT NOT NULL,
    amount_msat INTEGER NOT NULL,
    account TEXT NOT NULL,
    text TEXT NOT NULL,
    zap_request TEXT,
    paid_at INTEGER,
    receipt BLOB,
    receipt_sent INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS owing_receipt ON invoices (paid_at)
    WHERE paid_at IS NOT NULL AND zap_request IS NOT NULL AND receipt_sent = 0;
"""


@dataclass(frozen=True, slots=True)
class SettledZap:
    """A paid invoice whose receipt has not gone out. `receipt` is the signed 9735's JSON once it was made."""

    payment_hash: str
    preimage: str
    text: str
    zap_request: str
    paid_at: int
    receipt: bytes | None


def _now_s() -> int:
    return int(time.time())


class FakeLightning:
    """A wallet (`LightningBackend`) and the node on its other side. Made by `open_fake_lightning`."""

    def __init__(self, connection: aiosqlite.Connection, node_key: bytes, clock: Callable[[], int]) -> None:
        self._db = connection
        self._key = node_key.hex()
        self._clock = clock
        self._lock = anyio.Lock()
        self._settled = anyio.Event()

    @property
    def name(self) -> str:
        """For people and logs."""
        return "fake Lightning (demo)"

    # The node that issues invoices

    async def create_invoice(
        self, *, amount_msat: int, description_hash: str, account: str, zap_request: str | None = None
    ) -> str:
        """A new BOLT 11 regtest invoice whose payment is credited to `account`."""
        preimage = os.urandom(32)
        payment_hash = hashlib.sha256(preimage).hexdigest()
        tags = Tags()
        tags.add(TagChar.payment_hash, payment_hash)
        tags.add(TagChar.payment_secret, os.urandom(32).hex())
        tags.add(TagChar.description_hash, description_hash)
        tags.add(TagChar.expire_time, EXPIRY_S)
        tags.add(TagChar.min_final_cltv_expiry, MIN_FINAL_CLTV)
        required: dict[Feature | FeatureExtra, FeatureState] = {
            Feature.var_onion_optin: FeatureState.required,
            Feature.payment_secret: FeatureState.required,
        }
        tags.add(TagChar.features, Features.from_feature_list(required))
        text = str(
            encode(
                Bolt11(currency="bcrt", date=self._clock(), amount_msat=MilliSatoshi(amount_msat), tags=tags), self._key
            )
        )
        async with transaction(self._db, self._lock):
            await self._db.execute(
                "INSERT INTO invoices (payment_hash, preimage, amount_msat, account, text, zap_request)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (payment_hash, preimage.hex(), amount_msat, account, text, zap_request),
            )
        return text

    async def account_msat(self, account: str) -> int:
        """What an account has received."""
        async with self._lock, self._db.execute("SELECT msat FROM accounts WHERE name = ?", (account,)) as cursor:
            row = await cursor.fetchone()
        return int(row[0]) if row is not None else 0

    async def settled_zaps(self) -> list[SettledZap]:
        """Paid zaps whose receipt has not gone out, oldest first."""
        async with (
            self._lock,
            self._db.execute(
                "SELECT payment_hash, preimage, text, zap_request, paid_at, receipt FROM invoices"
                " WHERE paid_at IS NOT NULL AND zap_request IS NOT NULL AND receipt_sent = 0 ORDER BY paid_at"
            ) as cursor,
        ):
            return [SettledZap(*row) for row in await cursor.fetchall()]

    async def keep_receipt(self, payment_hash: str, receipt: bytes) -> None:
        """Store the signed receipt before it goes out: one payment has one receipt."""
        async with transaction(self._db, self._lock):
            await self._db.execute("UPDATE invoices SET receipt = ? WHERE payment_hash = ?", (receipt, payment_hash))

    async def mark_receipt_sent(self, payment_hash: str) -> None:
        """The receipt is with a relay."""
        async with transaction(self._db, self._lock):
            await self._db.execute("UPDATE invoices SET receipt_sent = 1 WHERE payment_hash = ?", (payment_hash,))

    def next_settled(self) -> anyio.Event:
        """Set by the next payment: take it before listing, wait for it after."""
        return self._settled

    # The wallet that pays them

    async def pay(self, invoice: Invoice, *, max_fee_msat: int) -> Paid | Refused | Unclear:  # noqa: ARG002 - the port's; this route costs nothing
        """Pay the invoice; a second time it only repeats the answer."""
        answer: Paid | Refused = Refused("no route: this node did not issue the invoice")
        async with transaction(self._db, self._lock):
            async with self._db.execute(
                "SELECT preimage, amount_msat, account, paid_at FROM invoices WHERE payment_hash = ? AND text = ?",
                (invoice.payment_hash, invoice.text),
            ) as cursor:
                row = await cursor.fetchone()
            if row is not None:
                preimage, amount_msat, account, paid_at = row
                if paid_at is not None:
                    answer = Paid(preimage, 0)
                elif self._clock() >= invoice.expires_at:
                    answer = Refused("the invoice has expired")
                elif await self._balance() < amount_msat:
                    answer = Refused("insufficient balance", ours=True)
                else:
                    await self._move(invoice.payment_hash, amount_msat, account)
                    answer = Paid(preimage, 0)
        if isinstance(answer, Paid):
            self._settled.set()
            self._settled = anyio.Event()
        return answer

    async def _move(self, payment_hash: str, amount_msat: int, account: str) -> None:
        await self._db.execute("UPDATE wallet SET balance_msat = balance_msat - ?", (amount_msat,))
        await self._db.execute(
            "INSERT INTO accounts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET msat = msat + excluded.msat",
            (account, amount_msat),
        )
        await self._db.execute("UPDATE invoices SET paid_at = ? WHERE payment_hash = ?", (self._clock(), payment_hash))

    async def lookup(self, payment_hash: str) -> Paid | Pending | NotFound | FailedPayment:
        """What became of a payment: here it is made at once or not at all."""
        async with (
            self._lock,
            self._db.execute(
                "SELECT preimage FROM invoices WHERE payment_hash = ? AND paid_at IS NOT NULL", (payment_hash,)
            ) as cursor,
        ):
            row = await cursor.fetchone()
        return Paid(row[0], 0) if row is not None else NotFound()

    async def _balance(self) -> int:
        async with self._db.execute("SELECT balance_msat FROM wallet") as cursor:
            row = await cursor.fetchone()
        return int(row[0]) if row is not None else 0

    async def balance_msat(self) -> int:
        """What can be spent."""
        async with self._lock:
            return await self._balance()


@asynccontextmanager
async def open_fake_lightning(
    path: Path, *, network: str, balance_msat: int = DEMO_BALANCE_MSAT, clock: Callable[[], int] = _now_s
) -> AsyncIterator[FakeLightning]:
    """The wallet in this file, made with `balance_msat` when missing. `clock` gives Unix seconds.

    Raises ValueError on any network but regtest: what it pays is not money.
    """
    if network != "regtest":
        raise ValueError(f"fake Lightning is for the demo on regtest, not for {network}")
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("PRAGMA synchronous=FULL")
        await connection.executescript(_SCHEMA)
        await connection.execute("INSERT OR IGNORE INTO wallet VALUES (1, ?, ?)", (os.urandom(32), balance_msat))
        async with connection.execute("SELECT node_key FROM wallet") as cursor:
            row = await cursor.fetchone()
        if row is None:
            raise RuntimeError("a wallet that was just made has a row")
        yield FakeLightning(connection, bytes(row[0]), clock)
