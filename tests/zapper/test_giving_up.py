"""Payouts of ecash that an operator gives up: paid once or due again, never both, wherever the pool is killed."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nips.nut00 import proof_y
from tests.nips.requests import encode_request
from tests.zapper.conftest import Clock, Feed
from tests.zapper.mints import Killed, MemoryMint
from tests.zapper.test_ecash_rails import RETURN_S, House, house_at, info_event, intent_of, order
from zapper.ecash import ProofState, decode_locked
from zapper.errors import Conflict, MintError, PaymentBlocked
from zapper.giving_up import ask_mint, give_up
from zapper.payout import Intent
from zapper.ports import FailedPayment, Paid, Refused, Unclear

pytestmark = pytest.mark.anyio
WHY = "given up by the operator: nobody knows"
FUNDS = 5000


@pytest.fixture
async def house(tmp_path: Path, feed: Feed, clock: Clock) -> AsyncIterator[House]:
    async with house_at(tmp_path, MemoryMint(), feed, clock) as found:
        await found.treasury.fund(FUNDS)
        await found.treasury.recover()
        yield found


async def nutzap(house: House) -> Intent:
    asked = order(info_event())
    return intent_of(asked, await house.nutzap.prepare(asked))


async def requested(house: House, **fields: Any) -> Intent:
    """A token without a lock, to a wallet whose server never answers."""
    house.poster.answers = ["lost"] * 99
    text = encode_request(**{"a": 777, "u": "sat", "post": "https://shop.example/pay", **fields})
    asked = order(info_event(), text)
    return intent_of(asked, await house.cashu.prepare(asked))


async def stop(house: House, intent: Intent, why: str = WHY) -> Any:
    return await give_up(house.treasury, intent, why, now_s=house.clock.seconds())


async def stuck(house: House, intent: Intent) -> None:
    """The mint keeps our proofs pending, as one killed amid a swap does."""
    house.mint.script.append("before")
    with pytest.raises(MintError):
        await house.nutzap.send(intent)
    house.mint.script.extend(["", "before"])
    with pytest.raises(MintError):
        await house.nutzap.send(intent)
    operation = await house.treasury.store.operation(intent.reference or "")
    assert operation is not None
    house.mint.pending = {proof_y(proof) for proof in operation.inputs}


async def test_what_the_mint_never_signed_is_given_up_and_comes_back(house: House) -> None:
    intent = await nutzap(house)
    await stuck(house, intent)
    with pytest.raises(MintError):
        await house.nutzap.lookup(intent)
    said = await ask_mint(house.treasury, intent)
    assert (said.signed, said.taken, said.handed, said.known) == (0, 0, False, True)
    assert set(said.inputs) == {ProofState.PENDING}
    assert "pending" in said.lines()[1]
    assert await stop(house, intent) == said
    assert await house.nutzap.lookup(intent) == FailedPayment(WHY)
    assert await house.nutzap.send(intent) == Refused(WHY)
    # Said twice it is said once.
    await stop(house, intent, "another reason")
    assert await house.nutzap.lookup(intent) == FailedPayment(WHY)
    await house.treasury.recover()
    assert (await house.treasury.totals()).free < FUNDS
    house.mint.pending.clear()
    await house.treasury.recover()
    assert (await house.treasury.totals()).free == FUNDS
    assert not house.courier.brought
    assert not house.feed.events


async def test_what_the_mint_signs_afterwards_nobody_gets_and_it_comes_back(house: House) -> None:
    intent = await nutzap(house)
    await stuck(house, intent)
    await stop(house, intent)
    operation = await house.treasury.store.operation(intent.reference or "")
    assert operation is not None
    house.mint.pending.clear()
    await house.mint.swap(operation.inputs, operation.outputs)
    await house.treasury.recover()
    totals = await house.treasury.totals()
    assert (totals.free, totals.out) == (FUNDS - 777, 777)
    assert await house.nutzap.lookup(intent) == FailedPayment(WHY)
    house.clock.pass_s(RETURN_S + 7200)
    await house.treasury.recover()
    totals = await house.treasury.totals()
    assert (totals.free, totals.out, totals.returned) == (FUNDS, 0, 777)
    assert not house.courier.brought
    assert not house.feed.events


async def test_what_the_mint_has_signed_is_handed_over_not_given_up(house: House) -> None:
    intent = await nutzap(house)
    house.mint.script.extend(["", "after"])
    with pytest.raises(MintError):
        await house.nutzap.send(intent)
    outputs = (await ask_mint(house.treasury, intent)).outputs
    assert f"{outputs} of {outputs} signed (NUT-09), 0 taken" in "\n".join(
        (await ask_mint(house.treasury, intent)).lines()
    )
    with pytest.raises(PaymentBlocked, match="the mint has signed this ecash: the pool hands it over"):
        await stop(house, intent)
    assert isinstance(await house.nutzap.lookup(intent), Paid)
    with pytest.raises(PaymentBlocked, match="the payee has it"):
        await stop(house, intent)


async def test_a_mint_that_is_gone_for_good(house: House) -> None:
    intent = await nutzap(house)
    house.mint.script.append("before")
    # Nothing began: an older treasury.sqlite could have handed it over.
    with pytest.raises(PaymentBlocked, match=r"knows nothing of it \(is it an old copy"):
        await stop(house, intent)
    await stuck(house, intent)
    house.mint.script.append("before")
    said = await stop(house, intent)
    assert said.lines() == ["the mint says nothing: mint http://mint.test: down", "the pool: not handed over"]
    assert await house.nutzap.lookup(intent) == FailedPayment(WHY)


async def test_what_never_began_never_begins(house: House) -> None:
    intent = await nutzap(house)
    await stop(house, intent)
    assert await house.nutzap.send(intent) == Refused(WHY)
    # Not even by a task that was past that question.
    with pytest.raises(Conflict, match="given up"):
        await house.treasury.send(intent.reference or "", (), max_fee=0)


async def test_an_old_store_does_not_give_up_what_was_handed_over(tmp_path: Path, feed: Feed, clock: Clock) -> None:
    mint = MemoryMint()
    async with house_at(tmp_path, mint, feed, clock) as house:
        await house.treasury.fund(FUNDS)
        await house.treasury.recover()
        intent = await nutzap(house)
        assert isinstance(await house.nutzap.send(intent), Paid)
        proofs = [proof for proof, _ in await house.treasury.store.sent_proofs(intent.reference or "")]
    (tmp_path / "old").mkdir()
    async with house_at(tmp_path / "old", mint, feed, clock) as house:
        with pytest.raises(PaymentBlocked, match="has signed"):
            await stop(house, intent)
        mint.redeem(proofs)
        with pytest.raises(PaymentBlocked, match=r"it was paid; is treasury\.sqlite an old copy"):
            await stop(house, intent)


async def test_signatures_that_are_none_do_not_hold_a_payout_for_ever(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = await nutzap(house)
    keys = house.mint.secrets
    house.mint.secrets = {amount: key + 1 for amount, key in keys.items()}
    monkeypatch.setattr(house.mint, "_spend", lambda _inputs: None)
    public = house.mint._public(keys)

    async def shown(_keyset: str) -> Any:
        return public

    monkeypatch.setattr(house.mint, "keys", shown)
    with pytest.raises(MintError):
        await house.nutzap.send(intent)
    with pytest.raises(MintError):
        await house.nutzap.lookup(intent)
    said = await stop(house, intent)
    assert said.unsound
    assert "its signatures are none" in "\n".join(said.lines())
    assert await house.nutzap.lookup(intent) == FailedPayment(WHY)


async def test_a_token_nobody_takes_in_is_taken_back(house: House) -> None:
    intent = await requested(house)
    assert isinstance(await house.cashu.send(intent), Unclear)
    said = await ask_mint(house.treasury, intent)
    assert said.lines()[-1] == "the pool: ready, not delivered"
    await stop(house, intent)
    assert await house.cashu.lookup(intent) == FailedPayment(WHY)
    assert (await house.treasury.totals()).free == FUNDS
    # What was on its way is worth nothing now.
    sent = [proof for proof, _ in await house.treasury.store.sent_proofs(intent.reference or "")]
    assert house.mint.worth(sent) == 0


async def test_a_token_the_payee_took_is_paid(house: House) -> None:
    intent = await requested(house)
    assert isinstance(await house.cashu.send(intent), Unclear)
    house.mint.redeem([proof for proof, _ in await house.treasury.store.sent_proofs(intent.reference or "")])
    with pytest.raises(PaymentBlocked, match="are spent: it was paid"):
        await stop(house, intent)
    assert isinstance(await house.cashu.lookup(intent), Paid)


async def test_what_we_took_back_was_not_taken_by_the_payee(house: House) -> None:
    """The proofs are spent, by us: a POST without an answer is no delivery then."""
    intent = await requested(house)
    assert isinstance(await house.cashu.send(intent), Unclear)
    rows = await house.treasury.store.sent_proofs(intent.reference or "")
    house.mint.script.append("after")
    with pytest.raises(MintError):
        await house.treasury.reclaim(intent.reference or "", [proof for proof, _ in rows])
    locked, handed = intent.payload or "", await house.treasury.store.handed(intent.reference or "")
    assert handed is not None
    with pytest.raises(Exception, match="no answer"):
        await house.cashu._bring(handed, decode_locked(locked), [proof for proof, _ in rows])
    assert await house.cashu.lookup(intent) == FailedPayment("it was taken back before the payee took it")


async def test_what_is_locked_waits_for_its_locktime(house: House) -> None:
    intent = await nutzap(house)
    house.feed.down = True
    with pytest.raises(OSError, match="down"):
        await house.nutzap.send(intent)
    with pytest.raises(PaymentBlocked, match=r"locked to the payee's key: nobody takes it back before 20\d\d-"):
        await stop(house, intent)
    house.clock.pass_s(RETURN_S + 7200)
    await stop(house, intent)
    assert await house.nutzap.lookup(intent) == FailedPayment(WHY)
    assert (await house.treasury.totals()).free == FUNDS


async def test_a_mint_the_pool_has_left_is_named(house: House) -> None:
    intent = await nutzap(house)
    house.nutzap._treasuries.clear()
    for act in (house.nutzap.send, house.nutzap.lookup):
        with pytest.raises(MintError, match=r"does not use it any more \(\[mint\] urls\)"):
            await act(intent)


@pytest.mark.parametrize("word", ["kill before", "kill after", "before", "after", "refuse"])
@pytest.mark.parametrize("step", range(7))
@pytest.mark.parametrize("way", ["nutzap", "request"])
async def test_killed_at_any_question_to_the_mint_it_is_paid_or_given_up(
    tmp_path: Path, feed: Feed, clock: Clock, word: str, step: int, way: str
) -> None:
    mint = MemoryMint()
    async with house_at(tmp_path, mint, feed, clock) as house:
        await house.treasury.fund(FUNDS)
        await house.treasury.recover()
        rail: Any = house.nutzap if way == "nutzap" else house.cashu
        if way == "nutzap":
            intent = await nutzap(house)
            await stuck(house, intent)
        else:
            intent = await requested(house)
            await rail.send(intent)
        mint.script.extend([""] * step + [word])
        try:
            await stop(house, intent)
            await house.treasury.recover()
        except (MintError, PaymentBlocked, Killed):
            pass
    mint.script.clear()
    mint.pending.clear()
    async with house_at(tmp_path, mint, feed, clock) as house:
        house.poster.answers = ["lost"] * 99
        await stop(house, intent)
        rail = house.nutzap if way == "nutzap" else house.cashu
        answer = await rail.lookup(intent)
        clock.pass_s(RETURN_S + 7200)
        await house.treasury.recover()
        totals = await house.treasury.totals()
        assert isinstance(answer, FailedPayment)
        assert (totals.free, totals.out, totals.reserved) == (FUNDS, 0, 0)
        assert not house.courier.brought
        assert not house.feed.events
