"""Tokens: by message to the npub, or as a payment request asks (NUT-18)."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nips.nip17 import build_dm_relays, parse_chat
from nips.nip44 import KeyCipher
from nips.nip59 import unwrap
from nips.nut00 import total
from nips.nut00_token import decode_token
from nips.nut11 import parse_secret
from nips.nut18 import InvalidPaymentRequest
from tests.nips.requests import encode_request
from tests.zapper.conftest import START_MS, Clock, Feed, secret
from tests.zapper.mints import MemoryMint
from tests.zapper.test_ecash_rails import (
    LOCK,
    MINER,
    RETURN_S,
    ZAPPER,
    House,
    house_at,
    info_event,
    intent_of,
    order,
    settled,
)
from zapper.ecash import decode_locked
from zapper.errors import MintError, PaymentBlocked
from zapper.ports import FailedPayment, Paid, Pending, Unclear
from zapper.rails import Waiting

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(tmp_path: Path, feed: Feed, clock: Clock) -> AsyncIterator[House]:
    async with house_at(tmp_path, MemoryMint(), feed, clock) as found:
        await found.treasury.fund(5000)
        await found.treasury.recover()
        yield found


async def test_what_has_no_lock_is_not_settled_before_it_is_delivered(house: House) -> None:
    text = encode_request(a=777, u="sat", nostr=(secret(9).pubkey, ["wss://wallet.example"]))
    asked = order(info_event(), text)
    intent = intent_of(asked, await house.cashu.prepare(asked))
    house.courier.down = True
    assert isinstance(await house.cashu.send(intent), Unclear)
    assert await house.cashu.lookup(intent) == Pending()
    assert not house.feed.events
    house.courier.down = False
    assert isinstance(await house.cashu.lookup(intent), Paid)


async def test_a_token_goes_to_the_npub_by_message(house: House) -> None:
    house.feed.add(MINER.sign(build_dm_relays(["wss://inbox.example"], created_at=START_MS // 1000)))
    asked = order(info_event(), "http://mint.test")
    intent = intent_of(asked, await house.cashu.prepare(asked))
    paid = await house.cashu.send(intent)
    assert isinstance(paid, Paid)
    event, relays = house.courier.brought[0]
    assert relays == ("wss://inbox.example",)
    assert event.pubkey != ZAPPER.pubkey
    message = parse_chat(unwrap(event, KeyCipher(MINER)))
    assert message.sender == ZAPPER.pubkey
    text = next(line for line in message.text.splitlines() if line.startswith("cashuB"))
    token = decode_token(text)
    assert (token.mint, token.unit, total(token.proofs)) == ("http://mint.test", "sat", 777)
    assert {parse_secret(proof.secret).pubkey for proof in token.proofs} == {"02" + MINER.pubkey}
    shown = house.cashu.proof(settled(intent, paid))
    assert {each["secret"] for each in shown["proofs"]} == {proof.secret for proof in token.proofs}


async def test_without_a_list_of_relays_the_pools_get_the_message(house: House) -> None:
    asked = order(info_event())
    intent = intent_of(asked, await house.cashu.prepare(asked))
    assert isinstance(await house.cashu.send(intent), Paid)
    assert not house.courier.brought
    assert [event.kind for event in house.feed.events.values()] == [1059]


async def test_a_mint_that_is_not_the_pools(house: House) -> None:
    for url in ("https://other.test", "no url"):
        with pytest.raises(PaymentBlocked):
            await house.cashu.prepare(order(info_event(), url))


async def test_a_payment_request_by_nostr(house: House) -> None:
    wallet = secret(9)
    text = encode_request(
        i="r1", a=777, u="sat", m=["http://mint.test/"], nostr=(wallet.pubkey, ["wss://wallet.example"])
    )
    asked = order(info_event(), text)
    intent = intent_of(asked, await house.cashu.prepare(asked))
    paid = await house.cashu.send(intent)
    assert isinstance(paid, Paid)
    event, relays = house.courier.brought[0]
    assert relays == ("wss://wallet.example",)
    got = json.loads(parse_chat(unwrap(event, KeyCipher(wallet))).text)
    assert (got["id"], got["mint"], got["unit"]) == ("r1", "http://mint.test", "sat")
    assert sum(proof["amount"] for proof in got["proofs"]) == 777
    shown = house.cashu.proof(settled(intent, paid))
    # Whoever reads an unlocked secret may spend it: the record shows none.
    assert set(shown) == {"mint", "unit", "amount", "ys"}
    assert shown["amount"] == 777
    assert got["proofs"][0]["secret"] not in paid.evidence
    # It has no way back.
    house.clock.pass_s(10 * RETURN_S)
    assert await house.cashu.outcome(settled(intent, paid)) == Waiting()


async def test_a_payment_request_by_post(house: House) -> None:
    text = encode_request(a=777, u="sat", post="https://shop.example/pay", nut10={"k": "P2PK", "d": "02" + LOCK.pubkey})
    asked = order(info_event(), text)
    intent = intent_of(asked, await house.cashu.prepare(asked))
    house.poster.answers = ["lost", "lost"]
    assert isinstance(await house.cashu.send(intent), Unclear)
    assert await house.cashu.lookup(intent) == Pending()
    # It did get there: the mint says so, though no answer does.
    house.poster.answers = ["lost"]
    proofs = [proof for proof, _ in await house.treasury.store.sent_proofs(intent.reference or "")]
    house.mint.redeem(proofs)
    paid = await house.cashu.lookup(intent)
    assert isinstance(paid, Paid)
    urls, bodies = zip(*house.poster.posted, strict=True)
    assert set(urls) == {"https://shop.example/pay"}
    assert bodies[0] == bodies[-1]
    assert parse_secret(bodies[0]["proofs"][0]["secret"]).pubkey == "02" + LOCK.pubkey


@pytest.mark.parametrize(
    "fields",
    [
        {"a": 778, "u": "sat", "post": "https://x.example"},
        {"a": 777, "u": "usd", "post": "https://x.example"},
        {"a": 777, "u": "sat", "m": ["https://other.test"], "post": "https://x.example"},
        {"a": 777, "u": "sat"},
        {"a": 777, "u": "sat", "post": "https://x.example", "nut10": {"k": "HTLC", "d": "00"}},
        {"a": 777, "post": "https://x.example"},
    ],
)
async def test_payment_requests_that_are_not_served(house: House, fields: dict[str, Any]) -> None:
    with pytest.raises((PaymentBlocked, InvalidPaymentRequest)):
        await house.cashu.prepare(order(info_event(), encode_request(**fields)))


async def test_what_cannot_be_sent_is_not_signed(house: House) -> None:
    asked = order(info_event(), encode_request(a=777, u="sat", post="http://shop.example/pay"))
    with pytest.raises(PaymentBlocked, match=r"cannot be sent to http://shop\.example/pay: only https is asked"):
        await house.cashu.prepare(asked)
    ways = [{"t": "post", "a": "http://x"}, {"t": "post", "a": "https://y.example/pay"}]
    asked = order(info_event(), encode_request(a=777, u="sat", t=ways))
    assert decode_locked((await house.cashu.prepare(asked)).payload).url == "https://y.example/pay"


@pytest.mark.parametrize("way", [{"post": "https://shop.example/pay"}, {"nostr": (LOCK.pubkey, ["wss://w.example"])}])
async def test_what_a_wallet_could_not_be_given_for_a_day_comes_back(house: House, way: dict[str, Any]) -> None:
    asked = order(info_event(), encode_request(a=777, u="sat", **way))
    intent = intent_of(asked, await house.cashu.prepare(asked))
    house.poster.answers, house.courier.down = ["lost"] * 9, True
    assert isinstance(await house.cashu.send(intent), Unclear)
    house.clock.pass_s(86_000)
    assert await house.cashu.lookup(intent) == Pending()
    house.clock.pass_s(1000)
    # Killed after the mint gave it back: it is still back.
    house.mint.script.extend(["", "after"])
    with pytest.raises(MintError):
        await house.cashu.lookup(intent)
    answer = await house.cashu.lookup(intent)
    assert isinstance(answer, FailedPayment)
    assert "taken back" in answer.reason
    totals = await house.treasury.totals()
    assert (totals.free, totals.out, totals.returned) == (5000, 0, 777)


async def test_a_wallet_that_took_it_without_saying_so_has_it(house: House) -> None:
    asked = order(info_event(), encode_request(a=777, u="sat", nostr=(LOCK.pubkey, ["wss://w.example"])))
    intent = intent_of(asked, await house.cashu.prepare(asked))
    house.courier.down = True
    assert isinstance(await house.cashu.send(intent), Unclear)
    house.mint.redeem([proof for proof, _ in await house.treasury.store.sent_proofs(intent.reference or "")])
    house.clock.pass_s(90_000)
    await house.cashu.lookup(intent)
    assert isinstance(await house.cashu.lookup(intent), Paid)
