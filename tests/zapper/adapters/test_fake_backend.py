"""The demo's wallet: money only moves once, only on regtest, and survives."""

import hashlib
from pathlib import Path

import pytest

from nips.bolt11 import Invoice, decode_invoice
from nips.nip57 import proves_payment
from zapper.adapters.fake_backend import EXPIRY_S, open_fake_lightning
from zapper.ports import NotFound, Paid, Refused

pytestmark = pytest.mark.anyio
NOW = 1_800_000_000
HASH = "ab" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wallet.sqlite"


@pytest.mark.parametrize("network", ["main", "testnet4", "signet", "Regtest", ""])
async def test_it_opens_on_no_other_network(path: Path, network: str) -> None:
    with pytest.raises(ValueError, match="regtest"):
        async with open_fake_lightning(path, network=network):
            pass
    assert not [*path.parent.glob("*")]


async def invoice_of(node: object, amount_msat: int = 5000, **more: str) -> Invoice:
    text = await node.create_invoice(amount_msat=amount_msat, description_hash=HASH, account="alice", **more)  # type: ignore[attr-defined]
    return decode_invoice(text)


async def test_a_payment_moves_the_money_once_and_survives(path: Path) -> None:
    async with open_fake_lightning(path, network="regtest", balance_msat=9000, clock=lambda: NOW) as node:
        invoice = await invoice_of(node)
        assert (invoice.network, invoice.amount_msat, invoice.description_hash) == ("regtest", 5000, HASH)
        assert (invoice.created_at, invoice.expiry_s) == (NOW, EXPIRY_S)
        assert await node.lookup(invoice.payment_hash) == NotFound()
        first = await node.pay(invoice, max_fee_msat=0)
        assert isinstance(first, Paid)
        assert proves_payment(first.preimage, invoice.payment_hash)
        assert await node.pay(invoice, max_fee_msat=0) == first
        payee = invoice.payee
    async with open_fake_lightning(path, network="regtest", balance_msat=10**9, clock=lambda: NOW + 10**6) as node:
        assert await node.lookup(invoice.payment_hash) == await node.pay(invoice, max_fee_msat=0) == first
        assert await node.balance_msat() == 4000
        assert await node.account_msat("alice") == 5000
        assert await node.account_msat("bob") == 0
        assert (await invoice_of(node)).payee == payee


async def test_what_it_refuses(path: Path) -> None:
    now = NOW
    async with open_fake_lightning(path, network="regtest", balance_msat=4999, clock=lambda: now) as node:
        invoice = await invoice_of(node)
        assert await node.pay(invoice, max_fee_msat=0) == Refused("insufficient balance", ours=True)
        small = await invoice_of(node, 1000)
        now = small.expires_at
        assert await node.pay(small, max_fee_msat=0) == Refused("the invoice has expired")
        unknown = Invoice(1000, "cd" * 32, HASH, None, NOW, 600, "regtest", "02" + "ab" * 32, "lnbcrt1x")
        assert isinstance(await node.pay(unknown, max_fee_msat=0), Refused)
        assert await node.lookup(small.payment_hash) == NotFound()
        assert await node.balance_msat() == 4999


async def test_zaps_wait_for_their_receipts(path: Path) -> None:
    async with open_fake_lightning(path, network="regtest", clock=lambda: NOW) as node:
        plain, zap, unpaid = (
            await invoice_of(node),
            await invoice_of(node, zap_request="{}"),
            await invoice_of(node, zap_request="{}"),
        )
        settled = node.next_settled()
        await node.pay(plain, max_fee_msat=0)
        assert settled.is_set()
        await node.pay(zap, max_fee_msat=0)
        [owing] = await node.settled_zaps()
        assert (owing.payment_hash, owing.zap_request, owing.receipt, owing.paid_at) == (
            zap.payment_hash,
            "{}",
            None,
            NOW,
        )
        assert hashlib.sha256(bytes.fromhex(owing.preimage)).hexdigest() == zap.payment_hash
        await node.keep_receipt(zap.payment_hash, b"signed")
    async with open_fake_lightning(path, network="regtest", clock=lambda: NOW) as node:
        [owing] = await node.settled_zaps()
        assert owing.receipt == b"signed"
        await node.mark_receipt_sent(zap.payment_hash)
        assert await node.settled_zaps() == []
        assert unpaid.payment_hash != zap.payment_hash
