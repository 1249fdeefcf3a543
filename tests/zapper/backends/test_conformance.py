"""What every backend does, whatever its wallet does: it tells what is known of a payment and never more, and pays once.

Only a preimage that fits is "paid"; "refused" and "not found" are said only of money that has not left; all else is an
error or "unclear", which the zapper keeps asking about.
"""

import anyio
import pytest

from nips.nip57 import proves_payment
from tests.zapper.backends.rigs import BALANCE_MSAT
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear

pytestmark = pytest.mark.anyio
HTTP = ("lnd", "cln", "lnbits", "phoenixd")
NWC = ("nwc", "nwc-sdk")
# Wallets that can be told to be slow, wrong or away (of a mint that is, tests/zapper/test_treasury.py tells).
SCRIPTED = (*HTTP, *NWC)
# Wallets whose payments take their time.
LASTING = (*SCRIPTED, "mint")
ALL = ("fake", *LASTING)
CAP_MSAT = 50_000
WAIT_S = 60


async def answer_of(asked):
    """A backend's answer, or Unclear for what it raised: so the zapper takes it."""
    try:
        return await asked
    except Exception as error:
        return Unclear(repr(error) + str(error))


@pytest.mark.parametrize("kind", ALL)
async def test_a_payment_is_made_and_found_again(rig_of, kind: str) -> None:
    async with rig_of(kind) as rig, rig.open() as backend:
        invoice = await rig.invoice(123_000)
        done = await backend.pay(invoice, max_fee_msat=CAP_MSAT)
        assert isinstance(done, Paid)
        assert proves_payment(done.preimage, invoice.payment_hash)
        assert done.fee_msat == rig.fee_msat
        assert await backend.lookup(invoice.payment_hash) == done
        assert await rig.times_paid(invoice) == 1
        assert await backend.balance_msat() == await rig.balance_msat() == BALANCE_MSAT - 123_000 - rig.fee_msat
        assert backend.name


@pytest.mark.parametrize("kind", ALL)
async def test_a_balance_that_does_not_suffice(rig_of, kind: str) -> None:
    async with rig_of(kind) as rig, rig.open() as backend:
        invoice = await rig.invoice(BALANCE_MSAT + 1_000)
        assert isinstance(await backend.pay(invoice, max_fee_msat=CAP_MSAT), Refused)
        assert isinstance(await backend.lookup(invoice.payment_hash), NotFound | FailedPayment)
        assert await rig.times_paid(invoice) == 0
        assert await backend.balance_msat() == BALANCE_MSAT


@pytest.mark.parametrize("kind", ALL)
async def test_an_invoice_without_a_way_to_it(rig_of, kind: str) -> None:
    async with rig_of(kind) as rig, rig.open() as backend:
        invoice = await rig.alien()
        answer = await backend.pay(invoice, max_fee_msat=CAP_MSAT)
        assert isinstance(answer, Refused)
        assert answer.reason
        assert isinstance(await backend.lookup(invoice.payment_hash), NotFound | FailedPayment)
        assert await backend.balance_msat() == BALANCE_MSAT


@pytest.mark.parametrize("kind", LASTING)
async def test_a_payment_that_fails_on_its_way(rig_of, kind: str) -> None:
    async with rig_of(kind) as rig, rig.open() as backend:
        rig.ledger.script.append("no route")
        invoice = await rig.invoice()
        answer = await backend.pay(invoice, max_fee_msat=CAP_MSAT)
        assert isinstance(answer, Refused)
        # Mints tell no reasons.
        assert kind == "mint" or "route" in answer.reason
        assert isinstance(await backend.lookup(invoice.payment_hash), FailedPayment)
        again = await backend.pay(invoice, max_fee_msat=CAP_MSAT)
        assert isinstance(again, Refused)
        assert rig.ledger.orders[invoice.payment_hash] == 1
        assert await rig.times_paid(invoice) == 0


@pytest.mark.parametrize("kind", LASTING)
async def test_a_no_while_the_payment_is_under_way(rig_of, kind: str) -> None:
    """Nodes that shut down or lose patience turn their callers away before their payments have come to an end."""
    async with rig_of(kind) as rig, rig.open() as backend:
        rig.ledger.script.append("abandon")
        invoice = await rig.invoice()
        assert isinstance(await backend.pay(invoice, max_fee_msat=CAP_MSAT), Unclear)
        assert await backend.lookup(invoice.payment_hash) == Pending()
        rig.ledger.finish(invoice.payment_hash)
        assert isinstance(await backend.lookup(invoice.payment_hash), Paid)
        assert rig.ledger.orders[invoice.payment_hash] == 1


@pytest.mark.parametrize("kind", ALL)
async def test_a_second_order_is_no_second_payment(rig_of, kind: str) -> None:
    async with rig_of(kind) as rig:
        invoice = await rig.invoice()
        async with rig.open() as backend:
            first = await backend.pay(invoice, max_fee_msat=CAP_MSAT)
            assert isinstance(await answer_of(backend.pay(invoice, max_fee_msat=CAP_MSAT)), Paid | Unclear)
        async with rig.open() as backend:
            assert isinstance(await answer_of(backend.pay(invoice, max_fee_msat=CAP_MSAT)), Paid | Unclear)
            assert await backend.lookup(invoice.payment_hash) == first
        assert await rig.times_paid(invoice) == 1


@pytest.mark.parametrize("kind", LASTING)
@pytest.mark.parametrize("succeeds", [True, False])
@pytest.mark.parametrize("restarts", [False, True])
async def test_an_answer_that_never_comes(rig_of, kind: str, succeeds: bool, restarts: bool) -> None:
    """Unclear and pending as long as the payment is under way, then what became of it; a restart changes nothing."""
    async with rig_of(kind) as rig:
        rig.ledger.script.append("hang")
        invoice = await rig.invoice()
        key = invoice.payment_hash
        async with rig.open() as backend:
            with anyio.fail_after(WAIT_S):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(lambda: backend.pay(invoice, max_fee_msat=CAP_MSAT))
                    await rig.ledger.arrived(key)
                    assert await backend.lookup(key) == Pending()
                    assert isinstance(await backend.pay(invoice, max_fee_msat=CAP_MSAT), Unclear)
                    tasks.cancel_scope.cancel()
            if not restarts:
                await self_consistent(rig, backend, invoice, succeeds=succeeds)
        if restarts:
            async with rig.open() as backend:
                await self_consistent(rig, backend, invoice, succeeds=succeeds)
        assert rig.ledger.orders[key] == 1
        assert await rig.times_paid(invoice) == succeeds


async def self_consistent(rig, backend, invoice, *, succeeds: bool) -> None:
    key = invoice.payment_hash
    assert await backend.lookup(key) == Pending()
    assert isinstance(await backend.pay(invoice, max_fee_msat=CAP_MSAT), Unclear)
    if succeeds:
        rig.ledger.finish(key)
        done = await backend.lookup(key)
        assert isinstance(done, Paid)
        assert proves_payment(done.preimage, key)
        assert done.fee_msat == rig.fee_msat
        assert await backend.pay(invoice, max_fee_msat=CAP_MSAT) == done
    else:
        rig.ledger.give_up(key)
        # A node that may still be trying is not taken at its word before its order has run out.
        rig.clock.now_s += 3600
        assert isinstance(await backend.lookup(key), FailedPayment)
        assert isinstance(await backend.pay(invoice, max_fee_msat=CAP_MSAT), Refused)


@pytest.mark.parametrize("kind", SCRIPTED)
async def test_our_own_patience_ends_first(rig_of, kind: str) -> None:
    async with rig_of(kind) as rig, rig.open(impatient=True) as backend:
        rig.ledger.script.append("hang")
        invoice = await rig.invoice()
        assert isinstance(await answer_of(backend.pay(invoice, max_fee_msat=CAP_MSAT)), Unclear)
        async with rig.open() as patient:
            if invoice.payment_hash in rig.ledger.payments:
                assert await patient.lookup(invoice.payment_hash) == Pending()
            else:
                # A busy machine: not even the question whether it is known was answered in time.
                assert await patient.lookup(invoice.payment_hash) == NotFound()


@pytest.mark.parametrize("kind", ALL)
async def test_a_payment_nobody_made(rig_of, kind: str) -> None:
    async with rig_of(kind) as rig, rig.open() as backend:
        # A wallet that has shown that it finds what it paid.
        await backend.pay(await rig.invoice(), max_fee_msat=CAP_MSAT)
        assert await backend.lookup("12" * 32) == NotFound()
        assert await backend.lookup((await rig.invoice()).payment_hash) == NotFound()


@pytest.mark.parametrize("kind", SCRIPTED)
async def test_wrong_credentials_prove_nothing(rig_of, kind: str) -> None:
    """Least of all that a payment is not there: the key may have been changed after it was made."""
    async with rig_of(kind) as rig:
        paid, fresh = await rig.invoice(), await rig.invoice()
        async with rig.open() as backend:
            await backend.pay(paid, max_fee_msat=CAP_MSAT)
        async with rig.open(good=False, impatient=kind == "nwc-sdk") as backend:
            for invoice in (paid, fresh):
                assert isinstance(await answer_of(backend.lookup(invoice.payment_hash)), Unclear)
                assert isinstance(await answer_of(backend.pay(invoice, max_fee_msat=CAP_MSAT)), Unclear)
            assert isinstance(await answer_of(backend.balance_msat()), Unclear)
        assert (await rig.times_paid(paid), await rig.times_paid(fresh)) == (1, 0)


@pytest.mark.parametrize("kind", SCRIPTED)
async def test_whatever_a_broken_wallet_says(rig_of, kind: str) -> None:
    async with rig_of(kind) as rig:
        paid, fresh = await rig.invoice(), await rig.invoice()
        async with rig.open() as backend:
            await backend.pay(paid, max_fee_msat=CAP_MSAT)
        for mode in rig.faults:
            rig.fault(mode)
            async with rig.open(impatient=mode in rig.silent) as backend:
                for invoice in (paid, fresh):
                    assert isinstance(await answer_of(backend.lookup(invoice.payment_hash)), Unclear), mode
                    assert isinstance(await answer_of(backend.pay(invoice, max_fee_msat=CAP_MSAT)), Unclear), mode
                assert isinstance(await answer_of(backend.balance_msat()), Unclear), mode
        assert (await rig.times_paid(paid), await rig.times_paid(fresh)) == (1, 0)


@pytest.mark.parametrize("kind", SCRIPTED)
async def test_an_order_whose_answer_is_broken(rig_of, kind: str) -> None:
    """All is well but the answer to the order: nothing is known until the wallet is asked again."""
    async with rig_of(kind) as rig:
        async with rig.open() as backend:
            # A wallet that has shown that it finds what it paid.
            await backend.pay(await rig.invoice(), max_fee_msat=CAP_MSAT)
        for mode in (*rig.faults, "lie"):
            invoice = await rig.invoice()
            rig.fault(mode, only_orders=True)
            async with rig.open(impatient=mode in rig.silent) as backend:
                answer = await answer_of(backend.pay(invoice, max_fee_msat=CAP_MSAT))
            assert isinstance(answer, Unclear), mode
            rig.fault("")
            async with rig.open() as backend:
                known = await answer_of(backend.lookup(invoice.payment_hash))
                assert isinstance(known, Paid if mode in rig.pays_anyway else NotFound), mode
            assert await rig.times_paid(invoice) == (mode in rig.pays_anyway)


@pytest.mark.parametrize("kind", HTTP)
async def test_a_fee_above_the_limit_is_not_paid(rig_of, kind: str) -> None:
    """The node is told the limit; one that takes none is not told to pay what may cost more. (NIP-47
    has no place for it: the limit is the wallet's.)"""
    async with rig_of(kind) as rig, rig.open() as backend:
        invoice = await rig.invoice()
        if rig.caps:
            await backend.pay(invoice, max_fee_msat=4_321)
            assert rig.ledger.caps_msat == [4_321]
        else:
            answer = await backend.pay(invoice, max_fee_msat=1_999)
            assert isinstance(answer, Refused)
            assert "1999 msat" in answer.reason
            assert rig.ledger.orders[invoice.payment_hash] == 0
