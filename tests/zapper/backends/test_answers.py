"""What single backends make of answers that look like something else."""

import pytest

from tests.zapper.backends.rigs import HTTP
from tests.zapper.backends.scripted_http import Asked, Told, serve
from zapper.adapters.cln_backend import COMMAND_ENDS_S
from zapper.adapters.pay_once import WalletConfused
from zapper.adapters.phoenixd_backend import fee_ceiling_msat
from zapper.adapters.wallet_http import WalletServer
from zapper.errors import HttpFailed
from zapper.ports import FailedPayment, NotFound, Pending, Refused
from zapper.secret import Secret

pytestmark = pytest.mark.anyio
HASH, OTHER = "12" * 32, "34" * 32
CAP_MSAT = 50_000


async def lookup(kind: str, told: Told) -> object:
    """What a backend makes of this answer to its question about HASH."""

    async def answer(asked: Asked) -> Told:
        return told

    async with serve(answer) as server, HTTP[kind].open(WalletServer(server.url, {"X": Secret("k")})) as backend:
        return await backend.lookup(HASH)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        # A gateway without the router, and a proxy in front of it, know nothing of payments.
        ("lnd", Told(404, {"code": 5, "message": "Not Found", "details": []})),
        ("lnd", Told(404, b"404 page not found")),
        ("lnd", Told(200, {"error": {"code": 2, "message": "payment isn't initiated"}})),
        ("lnd", Told(200, {"result": {"payment_hash": OTHER, "status": "FAILED"}})),
        ("lnd", Told(200, {"result": {"payment_hash": HASH, "status": "NEW WORD"}})),
        ("cln", Told(200, {})),
        ("cln", Told(200, {"pays": [{"payment_hash": OTHER, "status": "failed", "created_at": 1}]})),
        ("cln", Told(200, {"pays": [{"payment_hash": HASH, "status": "failed"}]})),
        ("cln", Told(200, {"pays": "none"})),
        ("cln", Told(404, {"code": -32601, "message": "Unknown command"})),
        ("lnbits", Told(404, {"detail": "Not Found"})),
        # Without a good key: anybody's payment.
        ("lnbits", Told(200, {"paid": False, "status": "failed"})),
        ("lnbits", Told(404, {"detail": "Payment does not exist."})),
        ("lnbits", Told(200, {"paid": False, "status": "failed", "details": {"payment_hash": HASH, "amount": 1000}})),
        ("lnbits", Told(200, {"paid": False, "status": "failed", "details": {"payment_hash": OTHER, "amount": -1}})),
        # A version without this path.
        ("phoenixd", Told(404, b"Unknown endpoint (check api doc)")),
        ("phoenixd", Told(200, {"paymentHash": OTHER, "completedAt": 1, "isPaid": False})),
        ("phoenixd", Told(200, {"paymentHash": HASH, "preimage": "00" * 32, "fees": 0, "isPaid": True})),
    ],
)
async def test_what_proves_nothing(kind: str, told: Told) -> None:
    with pytest.raises((HttpFailed, WalletConfused)):
        await lookup(kind, told)


@pytest.mark.parametrize(
    ("kind", "told", "answer"),
    [
        ("lnd", Told(404, {"error": {"code": 5, "message": "payment isn't initiated"}}), NotFound),
        ("lnd", Told(404, {"code": 5, "message": "payment isn't initiated"}), NotFound),
        ("lnd", Told(200, {"result": {"payment_hash": HASH, "status": "INITIATED"}}), Pending),
        ("lnd", Told(200, {"result": {"payment_hash": HASH, "status": "FAILED"}}), FailedPayment),
        ("cln", Told(201, {"pays": []}), NotFound),
        ("cln", Told(201, {"pays": [{"payment_hash": HASH, "status": "failed", "created_at": 1}]}), FailedPayment),
        (
            "cln",
            Told(
                201,
                {
                    "pays": [
                        {"payment_hash": HASH, "status": "failed", "created_at": 1},
                        {"payment_hash": HASH, "status": "pending", "created_at": 2},
                    ]
                },
            ),
            Pending,
        ),
        ("phoenixd", Told(404, b"Not found"), NotFound),
        # So versions before 0.6 speak of a payment that failed.
        ("phoenixd", Told(200, {"paymentHash": HASH, "completedAt": 1, "isPaid": True}), FailedPayment),
        ("phoenixd", Told(200, {"paymentHash": HASH, "isPaid": False}), Pending),
    ],
)
async def test_what_says_something(kind: str, told: Told, answer: type) -> None:
    assert isinstance(await lookup(kind, told), answer)


async def test_core_lightning_between_two_attempts(rig_of) -> None:
    """A command of before our restart may still try: "failed" counts once it must have ended."""
    async with rig_of("cln") as rig, rig.open() as backend:
        rig.ledger.script.append("abandon")
        invoice = await rig.invoice()
        await rig.ledger.pay(invoice.text)
        rig.ledger.give_up(invoice.payment_hash)
        assert await backend.lookup(invoice.payment_hash) == Pending()
        rig.clock.now_s += COMMAND_ENDS_S
        assert await backend.lookup(invoice.payment_hash) == Pending()
        rig.clock.now_s += 1
        assert isinstance(await backend.lookup(invoice.payment_hash), FailedPayment)


async def test_a_core_lightning_without_xpay(rig_of) -> None:
    async with rig_of("cln") as rig:

        async def old(asked: Asked) -> Told:
            if asked.path == "/v1/xpay":
                return Told(404, {"code": -32601, "message": "Unknown command 'xpay'", "data": None})
            return Told(201, {"pays": []})

        rig.server.answerer = old
        async with rig.open() as backend:
            answer = await backend.pay(await rig.invoice(), max_fee_msat=CAP_MSAT)
            assert isinstance(answer, Refused)
            assert "24.11" in answer.reason


async def test_phoenixds_fee_is_told_to_the_msat(rig_of, rig_ledger) -> None:
    """Its answer to the order rounds down; its list does not."""
    rig_ledger.fee_msat = 4_321
    async with rig_of("phoenixd") as rig, rig.open() as backend:
        done = await backend.pay(await rig.invoice(), max_fee_msat=CAP_MSAT)
        assert done.fee_msat == 4_321


async def test_phoenixds_ceiling() -> None:
    assert fee_ceiling_msat(0) == 4_000
    assert fee_ceiling_msat(1) == 4_001
    assert fee_ceiling_msat(1_000_000) == 8_000
