"""The treasury and its mint: kills, lost answers and refusals at every step, and not a sat too many or too few."""

import itertools
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from nips.keys import SecretKey
from nips.nut00 import hash_to_curve, proof_y, total
from nips.nut02 import split
from nips.nut03 import Output, make_output
from nips.nut11 import Lock, build_secret
from tests.zapper.mints import AMOUNTS, Killed, MemoryMint
from zapper.adapters.proof_store import SqliteProofStore, open_proof_store
from zapper.ecash import OpState, reference_of
from zapper.errors import Conflict, MintError, MintFailed, MintRefused, PaymentBlocked, StoreInUse
from zapper.treasury import Treasury

pytestmark = pytest.mark.anyio
PAYEE = SecretKey(b"\x07" * 32)
FUNDS = 10_000


@asynccontextmanager
async def treasury_at(folder: Path, mint: MemoryMint) -> AsyncIterator[Treasury]:
    async with open_proof_store(folder / "proofs.sqlite") as store:
        yield Treasury(
            mint, store, key=store.key, clock=lambda: 1_800_000_000_000, random=os.urandom, one_at_a_time=anyio.Lock()
        )


async def fill(treasury: Treasury, amount: int = FUNDS) -> None:
    await treasury.fund(amount)
    await treasury.recover()
    assert (await treasury.totals()).free == amount


def store_of(treasury: Treasury) -> SqliteProofStore:
    assert isinstance(treasury.store, SqliteProofStore)
    return treasury.store


def locked(mint: MemoryMint, amount: int, refund: str = "") -> tuple[str, tuple[Output, ...]]:
    lock = Lock("02" + PAYEE.pubkey, *((1_700_000_000, (refund,)) if refund else ()))
    outputs = tuple(
        make_output(mint.keyset.id, part, build_secret(lock, os.urandom(32).hex()), os.urandom(32))
        for part in split(amount, AMOUNTS)
    )
    return reference_of(hash_to_curve(output.secret.encode()).format().hex() for output in outputs), outputs


@pytest.fixture
def mint() -> MemoryMint:
    return MemoryMint()


async def test_ecash_is_sent_once(tmp_path: Path, mint: MemoryMint) -> None:
    reference, outputs = locked(mint, 777)
    async with treasury_at(tmp_path, mint) as treasury:
        await fill(treasury)
        done = await treasury.send(reference, outputs, max_fee=0)
        assert (done.state, done.fee, done.amount) == (OpState.DONE, 0, 777)
        assert await treasury.send(reference, outputs, max_fee=0) == done
        sent = await treasury.store.sent_proofs(reference)
        assert [state for _, state in sent] == ["out"] * len(outputs)
        assert {proof.secret for proof, _ in sent} == {output.secret for output in outputs}
        totals = await treasury.totals()
        assert (totals.free, totals.reserved, totals.out) == (FUNDS - 777, 0, 777)
        assert await store_of(treasury).check() == []


async def test_the_mints_fee_is_paid_and_told(tmp_path: Path) -> None:
    mint = MemoryMint(fee_ppk=1000)
    reference, outputs = locked(mint, 1000)
    async with treasury_at(tmp_path, mint) as treasury:
        await fill(treasury)
        with pytest.raises(PaymentBlocked, match="may cost"):
            await treasury.send(reference, outputs, max_fee=0)
        done = await treasury.send(reference, outputs, max_fee=10)
        assert done.fee == len(done.inputs) > 0
        assert (await treasury.totals()).free == FUNDS - 1000 - done.fee


async def test_without_enough_ecash_nothing_begins(tmp_path: Path, mint: MemoryMint) -> None:
    reference, outputs = locked(mint, FUNDS + 1)
    async with treasury_at(tmp_path, mint) as treasury:
        await fill(treasury)
        with pytest.raises(PaymentBlocked, match="10001"):
            await treasury.send(reference, outputs, max_fee=0)
        assert await treasury.store.operation(reference) is None


async def test_a_rotated_keyset_voids_what_was_prepared_with_the_old_one(tmp_path: Path, mint: MemoryMint) -> None:
    reference, outputs = locked(mint, 100)
    async with treasury_at(tmp_path, mint) as treasury:
        await fill(treasury)
        mint.rotate()
        done = await treasury.send(reference, outputs, max_fee=0)
        assert done.state is OpState.VOID
        assert "inactive" in done.reason
        # Its inputs were swapped: the order can never happen any more, whatever is still on its way.
        totals = await treasury.totals()
        assert (totals.free, totals.reserved, totals.lost) == (FUNDS, 0, 0)
        with pytest.raises(MintRefused):
            await mint.swap(done.inputs, done.outputs)
        assert (await treasury.send(reference, outputs, max_fee=0)).state is OpState.VOID


async def test_a_copy_of_the_store_loses_what_the_other_spent(tmp_path: Path, mint: MemoryMint) -> None:
    reference, outputs = locked(mint, 8192)
    async with treasury_at(tmp_path, mint) as treasury:
        await fill(treasury)
        stolen = await treasury.store.free(mint.url)
        mint.redeem([proof for proof in stolen if proof.amount == 8192])
        done = await treasury.send(reference, outputs, max_fee=0)
        assert done.state is OpState.VOID
        totals = await treasury.totals()
        assert (totals.free, totals.lost, totals.out) == (FUNDS - 8192, 8192, 0)


async def test_an_older_store_finds_at_the_mint_what_it_has_sent(tmp_path: Path, mint: MemoryMint) -> None:
    reference, outputs = locked(mint, 500)
    (tmp_path / "new").mkdir()
    async with treasury_at(tmp_path / "new", mint) as treasury:
        await fill(treasury)
        await treasury.send(reference, outputs, max_fee=0)
    issued = mint.issued
    async with treasury_at(tmp_path, mint) as older:
        found = await older.find(reference, outputs)
        assert found is not None
        assert found.state is OpState.DONE
        assert (await older.send(reference, outputs, max_fee=0)).state is OpState.DONE
        assert total([proof for proof, _ in await older.store.sent_proofs(reference)]) == 500
    assert mint.issued == issued


async def test_two_do_not_open_one_store(tmp_path: Path, mint: MemoryMint) -> None:
    async with treasury_at(tmp_path, mint):
        with pytest.raises(StoreInUse):
            async with treasury_at(tmp_path, mint):
                pass
    assert (tmp_path / "proofs.sqlite").stat().st_mode & 0o077 == 0


async def test_a_proof_serves_one_operation(tmp_path: Path, mint: MemoryMint) -> None:
    async with treasury_at(tmp_path, mint) as treasury:
        await fill(treasury)
        mint.script.extend(["", "before"])
        reference, outputs = locked(mint, FUNDS)
        with pytest.raises(MintFailed):
            await treasury.send(reference, outputs, max_fee=0)
        begun = await treasury.store.operation(reference)
        assert begun is not None
        other = locked(mint, 1)
        with pytest.raises(PaymentBlocked):
            await treasury.send(*other, max_fee=0)
        with pytest.raises(Conflict):
            await treasury.store.begin(begun)
        with pytest.raises(Conflict):
            await treasury.store.finish("nothing", (), fee=0)
        with pytest.raises(Conflict):
            await treasury.store.void("nothing", "")
        assert (await treasury.conclude(begun)).state is OpState.DONE


WORDS = ("", "", "", "before", "after", "refuse", "kill before", "kill after")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fee_ppk", [0, 300])
async def test_sums_hold_whatever_happens(tmp_path: Path, seed: int, fee_ppk: int) -> None:
    """Some payouts, each asked about until it has ended, with an accident at every request: none is sent twice or
    half, and what was funded is what is left, was sent, or went to the mint as fees.
    """
    chance = random.Random(seed)
    mint = MemoryMint(fee_ppk=fee_ppk)
    async with treasury_at(tmp_path, mint) as treasury:
        await fill(treasury)
    payouts = {}
    for _ in range(12):
        amount = chance.randrange(1, 400)
        reference, outputs = locked(mint, amount)
        for attempt in itertools.count():
            mint.script.extend(chance.choice(WORDS) for _ in range(0 if attempt > 6 else 8))
            if attempt > 6:
                mint.script.clear()
            try:
                async with treasury_at(tmp_path, mint) as treasury:
                    ended = await treasury.send(reference, outputs, max_fee=100)
            except (MintError, Killed):
                continue
            if ended.state is not OpState.BEGUN:
                payouts[reference] = ended
                break
    mint.script.clear()
    async with treasury_at(tmp_path, mint) as treasury:
        await treasury.recover()
        sent = [each for each in payouts.values() if each.state is OpState.DONE]
        free = await treasury.store.free(mint.url)
        # Every free proof is good at the mint, and every sent one.
        assert mint.worth(free) == total(free)
        proofs = [proof for each in sent for proof, _ in await treasury.store.sent_proofs(each.reference)]
        assert mint.worth(proofs) == total(proofs) == sum(each.amount for each in sent)
        assert len({proof_y(proof) for proof in proofs}) == len(proofs)
        totals = await treasury.totals()
        assert (totals.reserved, totals.lost) == (0, 0)
        spent_on_fees = FUNDS - total(free) - total(proofs)
        assert spent_on_fees >= 0
        assert spent_on_fees == 0 or fee_ppk
        assert await store_of(treasury).check() == []
        # What is void never happened: nothing of it is signed.
        for each in payouts.values():
            if each.state is OpState.VOID:
                assert not any(output.blinded() in mint.signed for output in each.outputs)


async def test_what_nobody_claimed_is_taken_back_once(tmp_path: Path, mint: MemoryMint) -> None:
    async with treasury_at(tmp_path, mint) as treasury:
        await fill(treasury)
        reference, outputs = locked(mint, 300, treasury.refund_key)
        await treasury.send(reference, outputs, max_fee=0)
        proofs = [proof for proof, _ in await treasury.store.sent_proofs(reference)]
        mint.script.extend(["after"])
        with pytest.raises(MintFailed):
            await treasury.reclaim(reference, proofs)
        assert {state for _, state in await treasury.store.sent_proofs(reference)} == {"returning"}
        done = await treasury.reclaim(reference, proofs)
        assert done is not None
        assert done.state is OpState.DONE
        assert {state for _, state in await treasury.store.sent_proofs(reference)} == {"returned"}
        assert (await treasury.totals()).free == FUNDS
        assert all(proof.witness for proof in done.inputs)


async def test_what_was_claimed_is_not_taken_back(tmp_path: Path, mint: MemoryMint) -> None:
    async with treasury_at(tmp_path, mint) as treasury:
        await fill(treasury)
        reference, outputs = locked(mint, 300, treasury.refund_key)
        await treasury.send(reference, outputs, max_fee=0)
        proofs = [proof for proof, _ in await treasury.store.sent_proofs(reference)]
        mint.redeem(proofs[:1])
        done = await treasury.reclaim(reference, proofs)
        assert done is not None
        assert done.state is OpState.VOID
        states = [state for _, state in await treasury.store.sent_proofs(reference)]
        assert sorted(states) == ["claimed"] + ["out"] * (len(proofs) - 1)
        assert (await treasury.totals()).free == FUNDS - 300


Melt = Callable[[MemoryMint, int], str]


@pytest.fixture
def melt_invoice() -> Melt:
    def make(mint: MemoryMint, amount: int) -> str:
        name = f"lnbc{len(mint.amounts)}"
        mint.amounts[name] = amount
        mint.preimages[name] = os.urandom(32).hex()
        return name

    return make


@pytest.mark.parametrize("seed", range(3))
async def test_invoices_are_paid_once_whatever_happens(tmp_path: Path, seed: int, melt_invoice: Melt) -> None:
    chance = random.Random(seed)
    mint = MemoryMint()
    async with treasury_at(tmp_path, mint) as treasury:
        await fill(treasury)
    ended = {}
    for number in range(10):
        amount = chance.randrange(1, 300)
        invoice = melt_invoice(mint, amount)
        mint.pays = chance.choice(["paid", "paid", "unpaid", "pending"])
        for attempt in itertools.count():
            mint.script.extend(chance.choice(WORDS) for _ in range(0 if attempt > 6 else 8))
            if attempt > 6:
                mint.script.clear()
            try:
                async with treasury_at(tmp_path, mint) as treasury:
                    operation = await treasury.melt(f"{number:064x}", invoice, amount, max_fee=20)
            except (MintError, Killed):
                continue
            except PaymentBlocked:
                assert invoice not in mint.melted
                continue
            if operation.state is not OpState.BEGUN:
                ended[invoice] = operation
                break
            if chance.random() < 0.5:
                mint.finish()
            else:
                mint.give_up()
    mint.script.clear()
    async with treasury_at(tmp_path, mint) as treasury:
        await treasury.recover()
        free = await treasury.store.free(mint.url)
        assert mint.worth(free) == total(free)
        paid = {invoice: each for invoice, each in ended.items() if each.state is OpState.DONE}
        assert sorted(mint.melted) == sorted(paid)
        assert all(each.preimage == mint.preimages[invoice] for invoice, each in paid.items())
        assert total(free) == FUNDS - sum(each.amount + each.fee for each in paid.values())
        assert (await treasury.totals()).reserved == 0
