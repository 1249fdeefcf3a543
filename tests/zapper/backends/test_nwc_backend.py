"""NWC beyond what every backend does: what wallets say of themselves, late answers, other people's answers, codes."""

import logging
import os

import anyio
import anyio.lowlevel
import pytest

from nips.nip01 import UnsignedEvent
from nips.nip44 import KeyCipher
from nips.nip47 import INFO, REQUEST, Connection, ErrorCode, build_info, build_response
from tests.zapper.backends.nwc_wallets import CLIENT, METHODS, STRANGER, WALLET, error
from zapper.adapters import nwc_backend
from zapper.adapters.nwc_backend import REQUEST_LIFE_S, NwcBackend, WalletSilent, WalletUnfit, open_nwc_backend
from zapper.adapters.pay_once import WalletConfused
from zapper.ports import NotFound, Paid, Refused, Unclear

pytestmark = pytest.mark.anyio
CAP_MSAT = 50_000
CONNECTION = Connection(WALLET.pubkey, ("ws://127.0.0.1:7777",), CLIENT)


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (ErrorCode.INSUFFICIENT_BALANCE, Refused),
        (ErrorCode.QUOTA_EXCEEDED, Refused),
        (ErrorCode.RATE_LIMITED, Refused),
        (ErrorCode.RESTRICTED, Refused),
        (ErrorCode.UNAUTHORIZED, Refused),
        (ErrorCode.NOT_IMPLEMENTED, Refused),
        (ErrorCode.UNSUPPORTED_ENCRYPTION, Refused),
        # "May be due to a timeout": this wallet has not shown that it would know the payment if asked.
        (ErrorCode.PAYMENT_FAILED, Unclear),
        (ErrorCode.NOT_FOUND, Unclear),
        (ErrorCode.INTERNAL, Unclear),
        (ErrorCode.OTHER, Unclear),
    ],
)
async def test_what_each_error_means(rig_of, monkeypatch, code: ErrorCode, answer: type) -> None:
    async with rig_of("nwc") as rig, rig.open() as backend:
        carry_out = rig.answers.answer

        async def refuse(method: str, params: dict) -> dict:
            return (
                error(code.value, "words of the wallet") if method == "pay_invoice" else await carry_out(method, params)
            )

        monkeypatch.setattr(rig.answers, "answer", refuse)
        invoice = await rig.invoice()
        told = await backend.pay(invoice, max_fee_msat=CAP_MSAT)
        assert isinstance(told, answer)
        assert code.value in told.reason
        assert "words of the wallet" in told.reason
        if answer is Refused:
            assert await backend.lookup(invoice.payment_hash) == NotFound()
        else:
            # A first payment that "failed" at a wallet that may not know of payments at all: nothing is known.
            with pytest.raises(WalletConfused):
                await backend.lookup(invoice.payment_hash)


async def test_not_found_counts_once_the_wallet_found_a_payment(rig_of) -> None:
    async with rig_of("nwc") as rig:
        unknown = await rig.invoice()
        async with rig.open() as backend:
            with pytest.raises(WalletConfused, match="nor has it shown"):
                await backend.lookup(unknown.payment_hash)
            await backend.pay(await rig.invoice(), max_fee_msat=CAP_MSAT)
            assert await backend.lookup(unknown.payment_hash) == NotFound()
        async with rig.open() as backend:
            # After a restart a payment of earlier shows it.
            assert await backend.lookup(unknown.payment_hash) == NotFound()
            assert rig.answers.asked[-3:] == ["lookup_invoice", "list_transactions", "lookup_invoice"]
            await backend.lookup(unknown.payment_hash)
            assert rig.answers.asked[-1] == "lookup_invoice"


async def test_a_wallet_that_lists_nothing_shows_nothing(rig_of) -> None:
    async with rig_of("nwc") as rig:
        rig.relay.events.clear()
        rig.tell_methods(("pay_invoice", "lookup_invoice", "get_balance"))
        async with rig.open() as backend:
            assert isinstance(await backend.pay(await rig.invoice(), max_fee_msat=CAP_MSAT), Paid)
        async with rig.open() as backend:
            with pytest.raises(WalletConfused):
                await backend.lookup("12" * 32)


async def test_a_payee_with_the_same_wallet(rig_of, rig_ledger, monkeypatch) -> None:
    """The hash is known there as something to receive: that hinders no payment, and is never taken for ours."""
    async with rig_of("nwc") as rig, rig.open() as backend:
        invoice = await rig.invoice()
        carry_out = rig.answers.answer
        received = {"type": "incoming", "payment_hash": invoice.payment_hash, "amount": 100_000}

        async def known(method: str, params: dict) -> dict:
            if method != "lookup_invoice" or params["payment_hash"] != invoice.payment_hash:
                return await carry_out(method, params)
            if not rig_ledger.times_paid[invoice.payment_hash]:
                return {"result": {**received, "state": "pending"}}
            preimage = rig_ledger.preimages[invoice.payment_hash]
            return {"result": {**received, "state": "settled", "preimage": preimage}}

        monkeypatch.setattr(rig.answers, "answer", known)
        with pytest.raises(WalletConfused, match="invoice of its own"):
            await backend.lookup(invoice.payment_hash)
        assert isinstance(await backend.pay(invoice, max_fee_msat=CAP_MSAT), Paid)
        with pytest.raises(WalletConfused, match="invoice of its own"):
            await backend.lookup(invoice.payment_hash)


async def test_an_answer_after_our_patience_is_taken(rig_of, rig_ledger, monkeypatch) -> None:
    """The wallet answers the order late, and knows nothing when asked: its own proof counts."""
    async with rig_of("nwc") as rig, rig.open() as backend:
        invoice = await rig.invoice()
        go_on, answered = anyio.Event(), anyio.Event()
        carry_out = rig.answers.answer

        async def slowly(method: str, params: dict) -> dict:
            if method == "pay_invoice":
                await go_on.wait()
                told = await carry_out(method, params)
                rig_ledger.payments.clear()
                answered.set()
                return told
            return await carry_out(method, params)

        monkeypatch.setattr(rig.answers, "answer", slowly)
        monkeypatch.setattr(backend, "_pay_timeout_s", 0.2)
        with pytest.raises(WalletSilent, match="no answer to pay_invoice"):
            await backend.pay(invoice, max_fee_msat=CAP_MSAT)
        with pytest.raises(WalletConfused):
            await backend.lookup(invoice.payment_hash)
        go_on.set()
        with anyio.fail_after(30):
            await answered.wait()
            while not backend._late:  # noqa: ASYNC110 - set by the task that listens
                await anyio.sleep(0.005)
        known = await backend.lookup(invoice.payment_hash)
        assert known == Paid(rig_ledger.preimages[invoice.payment_hash], rig.fee_msat)
        assert await backend.pay(invoice, max_fee_msat=CAP_MSAT) == known
        assert rig_ledger.times_paid[invoice.payment_hash] == 1
        assert not backend._forgotten
        assert not backend._asked


async def test_what_is_remembered_is_bounded(rig_of, monkeypatch) -> None:
    monkeypatch.setattr(nwc_backend, "MAX_FORGOTTEN", 3)
    async with rig_of("nwc") as rig, rig.open() as backend:
        rig.fault("slow", only_orders=True)
        monkeypatch.setattr(backend, "_pay_timeout_s", 0.05)
        for _ in range(6):
            with pytest.raises(WalletSilent):
                await backend.pay(await rig.invoice(), max_fee_msat=CAP_MSAT)
        assert len(backend._forgotten) == len(backend._asked) == 3


async def test_only_the_wallets_own_answer_counts(rig_of, monkeypatch) -> None:
    """Others may sign answers that name our request; so may the wallet answer another request."""
    async with rig_of("nwc") as rig, rig.open() as backend:
        respond = rig.respond

        async def crowd(event) -> None:
            lie = {"preimage": "11" * 32, "fees_paid": 0, "balance": 1}
            stranger = KeyCipher(STRANGER)
            rig.relay.add(
                STRANGER.sign(
                    build_response(
                        event, "pay_invoice", lie, cipher=stranger, nonce=os.urandom(32), created_at=rig.clock()
                    )
                )
            )
            tags = (("p", CLIENT.pubkey), ("e", event.id))
            rig.relay.add(WALLET.sign(UnsignedEvent(23195, rig.clock(), tags, "nonsense")))
            await anyio.lowlevel.checkpoint()
            await respond(event)

        monkeypatch.setattr(rig, "respond", crowd)
        invoice = await rig.invoice()
        assert isinstance(await backend.pay(invoice, max_fee_msat=CAP_MSAT), Paid)
        assert await backend.balance_msat() == await rig.balance_msat()


async def test_orders_expire(rig_of) -> None:
    """A relay that was away must not bring the wallet an order long after."""
    async with rig_of("nwc") as rig, rig.open() as backend:
        await backend.pay(await rig.invoice(), max_fee_msat=CAP_MSAT)
        requests = [event for event in rig.relay.events.values() if event.kind == REQUEST]
        assert requests
        for event in requests:
            assert event.tag_value("expiration") == str(event.created_at + REQUEST_LIFE_S)
            assert event.pubkey == CLIENT.pubkey


async def test_a_wallet_of_the_past_is_refused_with_a_reason(feed, rig_clock) -> None:
    plain = UnsignedEvent(INFO, rig_clock(), (), " ".join(METHODS))
    feed.add(WALLET.sign(plain))
    with pytest.raises(WalletUnfit, match="nip44_v2"):
        async with open_nwc_backend(feed, CONNECTION, clock=rig_clock):
            pass


async def test_a_connection_that_may_not_look_is_refused_with_a_reason(feed, rig_clock) -> None:
    """Without lookup_invoice a payment that was not answered could never be settled."""
    feed.add(WALLET.sign(build_info(("pay_invoice", "get_balance"), created_at=rig_clock())))
    with pytest.raises(WalletUnfit, match="lookup_invoice"):
        async with open_nwc_backend(feed, CONNECTION, clock=rig_clock):
            pass


async def test_a_wallet_that_comes_later(rig_of, caplog) -> None:
    async with rig_of("nwc") as rig:
        rig.relay.events.clear()
        with caplog.at_level(logging.WARNING):
            async with rig.open() as backend:
                assert "not reached yet" in caplog.text
                with pytest.raises(WalletSilent):
                    await backend.balance_msat()
                rig.tell_methods()
                assert await backend.balance_msat() == await rig.balance_msat()


async def test_relays_that_are_away(feed, rig_clock, caplog) -> None:
    feed.down = True
    async with open_nwc_backend(feed, CONNECTION, clock=rig_clock, ask_timeout_s=0.1, pay_timeout_s=0.1) as backend:
        with pytest.raises(WalletSilent, match="no relay"):
            await backend.balance_msat()


async def test_nothing_is_sent_before_the_answer_can_be_heard(feed, rig_clock) -> None:
    """Relays do not keep answers: without a live subscription nothing is asked."""
    feed.add(WALLET.sign(build_info(METHODS, created_at=rig_clock())))
    deaf = NwcBackend(feed, CONNECTION, clock=rig_clock, ask_timeout_s=0.05)
    with pytest.raises(WalletSilent, match="relays are not reached"):
        await deaf.balance_msat()
    assert not [event for event in feed.events.values() if event.kind == REQUEST]


async def test_a_fee_above_the_limit_is_told(rig_of, caplog) -> None:
    async with rig_of("nwc") as rig, rig.open() as backend:
        with caplog.at_level(logging.WARNING):
            assert isinstance(await backend.pay(await rig.invoice(), max_fee_msat=1), Paid)
        assert "took 2000 msat for a payment that may cost 1" in caplog.text
