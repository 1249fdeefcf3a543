"""Nutzaps and tokens as rails: what miners get, when it is lost on its way, and what comes back."""

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent, parse_event, verify
from nips.nip61 import InvalidNutzapInfo, ListedMint, build_info, parse_info, parse_nutzap
from nips.nut00 import proof_y
from nips.nut12 import check_dleq
from tests.zapper.conftest import START_MS, Clock, Feed, secret
from tests.zapper.mints import MemoryMint
from zapper.adapters.proof_store import open_proof_store
from zapper.adapters.wrapper import KeyWrapper
from zapper.cashu_rail import CashuRail
from zapper.ecash import decode_locked
from zapper.errors import AddressRefused, HttpFailed, MintError, PaymentBlocked
from zapper.nutzap_rail import NutzapRail
from zapper.payout import Intent, State
from zapper.ports import FailedPayment, NotFound, Paid, Refused
from zapper.rails import Kept, Order, Prepared, Returned, Waiting
from zapper.treasury import Treasury

pytestmark = pytest.mark.anyio
MINER, ZAPPER, LOCK = secret(1), secret(2), secret(3)
RETURN_S = 30 * 86_400


class Lost(Exception):
    """No relay answered."""


@dataclass
class Courier:
    down: bool = False
    brought: list[tuple[VerifiedEvent, tuple[str, ...]]] = field(default_factory=list)

    async def deliver(self, event: VerifiedEvent, relays: Sequence[str]) -> None:
        if self.down:
            raise Lost
        self.brought.append((event, tuple(relays)))


@dataclass
class Poster:
    answers: list[str] = field(default_factory=list)
    posted: list[tuple[str, Any]] = field(default_factory=list)

    def check_url(self, url: str) -> None:
        if not url.startswith("https://"):
            raise AddressRefused(url, "only https is asked")

    async def post_json(self, url: str, body: str) -> None:
        self.posted.append((url, json.loads(body)))
        if self.answers and self.answers.pop(0) == "lost":
            raise HttpFailed(url, "no answer")


@dataclass
class House:
    """The pool's ecash: a mint, a treasury, the two rails, and where its messages go."""

    mint: MemoryMint
    treasury: Treasury
    feed: Feed
    courier: Courier
    poster: Poster
    clock: Clock
    nutzap: NutzapRail
    cashu: CashuRail


@asynccontextmanager
async def house_at(folder: Path, mint: MemoryMint, feed: Feed, clock: Clock) -> AsyncIterator[House]:
    async with open_proof_store(folder / "proofs.sqlite") as store:
        treasury = Treasury(mint, store, key=store.key, clock=clock, random=os.urandom, one_at_a_time=anyio.Lock())
        courier, poster = Courier(), Poster()
        parts: dict[str, Any] = {
            "signer": ZAPPER,
            "feed": feed,
            "courier": courier,
            "clock": clock,
            "random": os.urandom,
            "return_after_s": RETURN_S,
        }
        yield House(
            mint,
            treasury,
            feed,
            courier,
            poster,
            clock,
            NutzapRail([treasury], **parts),
            CashuRail([treasury], wrapper=KeyWrapper(ZAPPER, clock), poster=poster, **parts),
        )


@pytest.fixture
async def house(tmp_path: Path, feed: Feed, clock: Clock) -> AsyncIterator[House]:
    async with house_at(tmp_path, MemoryMint(), feed, clock) as found:
        await found.treasury.fund(5000)
        await found.treasury.recover()
        yield found


def info_event(
    mints: Sequence[ListedMint] = (ListedMint("HTTP://Mint.test/"),), key: SecretKey = LOCK
) -> VerifiedEvent:
    return MINER.sign(
        build_info(pubkey=key.pubkey, mints=mints, relays=["wss://miner.example"], created_at=START_MS // 1000)
    )


def order(named_by: VerifiedEvent, destination: str = "", amount_msat: int = 777_000) -> Order:
    return Order("payout-1", MINER.pubkey, amount_msat, 5000, destination, named_by, "pool: 777 sat for your mining")


def intent_of(asked: Order, prepared: Prepared) -> Intent:
    return Intent(
        payout_id=asked.payout_id,
        miner=asked.miner,
        amount_msat=asked.amount_msat,
        max_fee_msat=asked.max_fee_msat,
        state=State.SENDING,
        created_ms=START_MS,
        step_ms=START_MS,
        to=asked.named_by.id,
        destination=asked.destination,
        method=prepared.method,
        payload=prepared.payload,
        reference=prepared.reference,
    )


def settled(intent: Intent, paid: Paid) -> Intent:
    return replace(intent, state=State.SETTLED, evidence=paid.evidence, fee_msat=paid.fee_msat)


async def test_a_nutzap_is_what_its_receiver_can_redeem(house: House) -> None:
    info = info_event()
    asked = order(info)
    intent = intent_of(asked, await house.nutzap.prepare(asked))
    assert await house.nutzap.lookup(intent) == NotFound()
    paid = await house.nutzap.send(intent)
    assert isinstance(paid, Paid)
    event, relays = house.courier.brought[0]
    assert relays == ("wss://miner.example",)
    assert house.feed.events[event.id] == event
    nutzap = parse_nutzap(event, parse_info(info))
    assert (nutzap.amount, nutzap.sender, nutzap.comment) == (777, ZAPPER.pubkey, asked.line)
    # "EXACTLY as specified by the recipient's kind:10019".
    assert nutzap.mint.url == "HTTP://Mint.test/"
    keys = await house.mint.keys(house.mint.keyset.id)
    for proof in nutzap.proofs:
        check_dleq(proof, keys[proof.amount])
    assert nutzap.lock.refund == (house.treasury.refund_key,)
    assert nutzap.lock.locktime == START_MS // 1000 + RETURN_S
    proof = house.nutzap.proof(settled(intent, paid))
    assert proof["nutzap"] == event.id
    assert verify(parse_event(proof["info"])) == info
    assert sum(each["amount"] for each in proof["proofs"]) == 777
    assert await house.nutzap.lookup(intent) == paid
    assert await house.nutzap.send(intent) == paid
    assert len(house.courier.brought) == 1


async def test_who_can_not_be_nutzapped(house: House) -> None:
    for mints in ([ListedMint("https://other.test")], [ListedMint("http://mint.test", frozenset({"usd"}))]):
        with pytest.raises(PaymentBlocked, match="the pool's are http"):
            await house.nutzap.prepare(order(info_event(mints)))
    with pytest.raises(InvalidNutzapInfo, match="own key"):
        await house.nutzap.prepare(order(info_event(key=MINER)))
    with pytest.raises(PaymentBlocked, match="too little"):
        await house.nutzap.prepare(order(info_event(), amount_msat=5_001_000))


async def test_relays_that_are_away_get_it_later_and_the_same(house: House) -> None:
    """The pool's own have it, which settles the payout: the next one need not wait for strangers' relays."""
    asked = order(info_event())
    intent = intent_of(asked, await house.nutzap.prepare(asked))
    house.courier.down = True
    paid = await house.nutzap.send(intent)
    assert isinstance(paid, Paid)
    sent = {event.id for event in house.feed.events.values()}
    assert len(sent) == 1
    done = settled(intent, paid)
    assert await house.nutzap.outcome(done) == Waiting()
    house.courier.down = False
    assert not house.courier.brought
    house.clock.pass_s(60)
    assert await house.nutzap.outcome(done) == Waiting()
    assert {event.id for event, _ in house.courier.brought} == sent
    house.clock.pass_s(3600)
    assert await house.nutzap.outcome(done) == Waiting()
    assert len(house.courier.brought) == 1
    assert (await house.treasury.totals()).out == 777


async def test_without_any_relay_it_is_not_settled(house: House) -> None:
    asked = order(info_event())
    intent = intent_of(asked, await house.nutzap.prepare(asked))
    house.feed.down = house.courier.down = True
    with pytest.raises(OSError, match="down"):
        await house.nutzap.send(intent)
    house.feed.down = False
    assert isinstance(await house.nutzap.lookup(intent), Paid)


async def test_a_mint_that_refuses_fails_the_payout_for_good(house: House) -> None:
    asked = order(info_event())
    intent = intent_of(asked, await house.nutzap.prepare(asked))
    house.mint.rotate()
    assert isinstance(await house.nutzap.send(intent), Refused)
    assert isinstance(await house.nutzap.lookup(intent), FailedPayment)
    assert (await house.treasury.totals()).free == 5000
    assert not house.courier.brought


async def test_a_mint_that_is_down_leaves_it_open(house: House) -> None:
    asked = order(info_event())
    intent = intent_of(asked, await house.nutzap.prepare(asked))
    house.mint.script.extend(["before"])
    with pytest.raises(MintError):
        await house.nutzap.send(intent)
    assert await house.nutzap.lookup(intent) == NotFound()
    house.mint.script.extend(["", "after"])
    with pytest.raises(MintError):
        await house.nutzap.send(intent)
    house.mint.script.extend(["before"])
    with pytest.raises(MintError):
        await house.nutzap.lookup(intent)
    assert isinstance(await house.nutzap.lookup(intent), Paid)
    assert (await house.treasury.totals()).out == 777


async def test_a_mint_without_keys_blocks_the_payout(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(keyset_id: str) -> Any:
        raise MintError("http://mint.test", "down")

    monkeypatch.setattr(house.mint, "keys", fail)
    with pytest.raises(PaymentBlocked, match="down"):
        await house.nutzap.prepare(order(info_event()))


async def paid_nutzap(house: House) -> Intent:
    asked = order(info_event())
    intent = intent_of(asked, await house.nutzap.prepare(asked))
    paid = await house.nutzap.send(intent)
    assert isinstance(paid, Paid)
    return settled(intent, paid)


async def test_what_is_claimed_is_kept(house: House) -> None:
    intent = await paid_nutzap(house)
    assert await house.nutzap.outcome(intent) == Waiting()
    proofs = [proof for proof, _ in await house.treasury.store.sent_proofs(intent.reference or "")]
    house.mint.redeem(proofs)
    # Not every reconciliation asks the mint.
    assert await house.nutzap.outcome(intent) == Waiting()
    house.clock.pass_s(60)
    assert await house.nutzap.outcome(intent) == Kept()
    totals = await house.treasury.totals()
    assert (totals.out, totals.claimed) == (0, 777)


async def test_what_nobody_claims_comes_back(house: House) -> None:
    intent = await paid_nutzap(house)
    house.clock.pass_s(RETURN_S)
    assert await house.nutzap.outcome(intent) == Waiting()
    house.clock.pass_s(2 * 3600)
    house.mint.script.extend(["", "after"])
    with pytest.raises(MintError):
        await house.nutzap.outcome(intent)
    returned = await house.nutzap.outcome(intent)
    assert returned == Returned("{}")
    assert await house.nutzap.outcome(intent) == returned
    totals = await house.treasury.totals()
    assert (totals.free, totals.out, totals.returned) == (5000, 0, 777)
    assert house.nutzap.proof(replace(intent, state=State.RETURNED, evidence="{}")) == {}


async def test_who_took_a_part_keeps_the_rest(house: House) -> None:
    intent = await paid_nutzap(house)
    proofs = [proof for proof, _ in await house.treasury.store.sent_proofs(intent.reference or "")]
    house.mint.redeem(proofs[:1])
    assert await house.nutzap.outcome(intent) == Waiting()
    house.clock.pass_s(RETURN_S + 7200)
    assert await house.nutzap.outcome(intent) == Kept()
    assert (await house.treasury.totals()).free == 5000 - 777


async def test_a_killed_pool_hands_over_the_same_ecash(tmp_path: Path, feed: Feed, clock: Clock) -> None:
    """A new process, with nothing but the stored intent: the payee's secrets are those prepared before."""
    mint = MemoryMint()
    asked = order(info_event())
    async with house_at(tmp_path, mint, feed, clock) as house:
        await house.treasury.fund(5000)
        await house.treasury.recover()
        intent = intent_of(asked, await house.nutzap.prepare(asked))
        mint.script.extend(["", "after"])
        with pytest.raises(MintError):
            await house.nutzap.send(intent)
    async with house_at(tmp_path, mint, feed, clock) as house:
        await house.nutzap.begin([intent])
        paid = await house.nutzap.lookup(intent)
        assert isinstance(paid, Paid)
        sent = [proof for proof, _ in await house.treasury.store.sent_proofs(intent.reference or "")]
        assert {proof.secret for proof in sent} == {
            output.secret for output in decode_locked(intent.payload or "").outputs
        }
        assert mint.worth(sent) == 777
        assert (await house.treasury.totals()).free == 5000 - 777
        assert {proof_y(proof) for proof in sent}.isdisjoint(mint.spent)
