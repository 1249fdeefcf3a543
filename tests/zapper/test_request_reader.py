"""Withdrawal requests are found whoever floods the relays with others."""

import json
from typing import Any

import anyio.lowlevel
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal
from zapper import request_reader
from zapper.request_reader import MAX_LOOK_MS, RequestReader

pytestmark = pytest.mark.anyio
PAGE = 20
ZAPPER = "bb" * 32


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that a test fills in a moment."""
    monkeypatch.setattr(request_reader, "PAGE", PAGE)
    monkeypatch.setattr(request_reader, "GROUP", 8)


def ask(around: Any, key: SecretKey, *, age_s: int, zapper: str = ZAPPER, msat: int = 3_000_000) -> VerifiedEvent:
    now_s = around.clock.seconds()
    body = WithdrawalBody("cashu", msat, "", now_s + 3600)
    event: VerifiedEvent = key.sign(build_withdrawal(around.address, zapper, body, now_s - age_s))
    around.feed.add(event)
    return event


def reader(around: Any, zapper: str = ZAPPER) -> RequestReader:
    return RequestReader(around.feed, zapper, fetch_timeout_s=5, clock=around.clock)


def owed(*keys: SecretKey) -> Any:
    async def found() -> list[str]:
        await anyio.lowlevel.checkpoint()
        return [key.pubkey for key in keys]

    return found


def flood(around: Any, key: SecretKey, zapper: str = ZAPPER) -> None:
    """A page of requests that are newer than all others; no two alike."""
    for number in range(PAGE):
        ask(around, key, age_s=1, msat=1000 + number, zapper=zapper)


async def test_one_question_is_enough_while_a_page_holds_all(around: Any, make_key: Any) -> None:
    events = [ask(around, make_key(number), age_s=60) for number in range(PAGE - 1)]

    async def nobody() -> list[str]:
        raise AssertionError

    found = await reader(around).read(nobody)
    assert {event.id for event in found} == {event.id for event in events}
    assert around.feed.questions == 1


async def test_strangers_hide_nobodys_request(around: Any, make_key: Any) -> None:
    miner = make_key(1)
    wanted = ask(around, miner, age_s=600)
    for number in range(2 * PAGE):
        ask(around, make_key(100 + number), age_s=1)
    assert wanted in await reader(around).read(owed(miner))
    assert around.feed.questions == 2


async def test_a_page_of_one_second_may_hide_more(around: Any, make_key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a relay whose pages are smaller than ours."""
    monkeypatch.setattr(request_reader, "SECOND", 5)
    miner = make_key(1)
    for number in range(5):
        ask(around, make_key(100 + number), age_s=7)
    await reader(around).read(owed(miner))
    assert around.feed.questions == 2
    around.clock.pass_s(1)
    ask(around, make_key(200), age_s=7)
    around.feed.events.pop(next(iter(around.feed.events)))
    await reader(around).read(owed(miner))
    assert around.feed.questions == 3


async def test_miners_that_flood_hide_but_their_own(around: Any, make_key: Any) -> None:
    """Three of 40 miners that are owed something; every other's request is found, within a bounded number of looks."""
    miners = [make_key(number) for number in range(40)]
    wanted = [ask(around, key, age_s=600 + number) for number, key in enumerate(miners)]
    for number in (3, 11, 12):
        flood(around, miners[number])
    asking = reader(around)
    found: set[str] = set()
    # 5 groups, of which one flood splits two, and two a third: fewer questions than two looks may have.
    for _ in range(2):
        before = around.feed.questions
        found |= {event.id for event in await asking.read(owed(*miners))}
        assert around.feed.questions - before <= 1 + request_reader.MAX_QUESTIONS
    assert {event.id for event in wanted} - found == {wanted[number].id for number in (3, 11, 12)}


async def test_what_is_left_is_asked_in_the_next_look(
    around: Any, make_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_reader, "MAX_QUESTIONS", 2)
    miners = [make_key(number) for number in range(40)]
    wanted = {ask(around, key, age_s=600).id for key in miners}
    flood(around, make_key(500))
    asking = reader(around)
    found: set[str] = set()
    for _ in range(3):
        assert not wanted <= found
        found |= {event.id for event in await asking.read(owed(*miners))}
    assert wanted <= found


async def test_a_relay_that_is_slow_to_each_question_is_not_asked_on(around: Any, make_key: Any) -> None:
    miners = [make_key(number) for number in range(40)]
    flood(around, make_key(500))
    fetch = around.feed.fetch

    async def slow(*args: Any, **more: Any) -> Any:
        around.clock.pass_s(MAX_LOOK_MS / 1000 / 2)
        return await fetch(*args, **more)

    around.feed.fetch = slow
    await reader(around).read(owed(*miners))
    assert around.feed.questions == 2


async def test_a_question_that_fails_is_asked_again(around: Any, make_key: Any) -> None:
    miner = make_key(1)
    wanted = ask(around, miner, age_s=600)
    flood(around, make_key(500))
    asking = reader(around)
    fetch = around.feed.fetch

    async def half(filters: Any, **more: Any) -> Any:
        if filters[0].authors is not None:
            raise OSError("the relay is down")
        return await fetch(filters, **more)

    around.feed.fetch = half
    with pytest.raises(OSError, match="down"):
        await asking.read(owed(miner))
    around.feed.fetch = fetch
    assert wanted in await asking.read(owed(miner))


async def test_a_withdrawal_is_paid_amid_a_flood(around: Any, make_key: Any, make_invoice: Any) -> None:
    """The attack as a whole: strangers' requests fill every page, the miner's is older than all of them."""
    miner = around.miner("alice", 5_000_000, profile="")
    text = make_invoice(
        preimage=b"\x09" * 32, amount_msat=3_000_000, description_hash="ab" * 32, created_at=around.clock.seconds()
    )
    fields = {"v": 1, "method": "bolt11", "amount_msat": 3_000_000, "bolt11": text}
    fields["expires"] = around.clock.seconds() + 3600
    tags = (around.address.tag(), ("p", around.signer.pubkey))
    asked = around.miners["alice"].sign(UnsignedEvent(4217, around.clock.seconds() - 900, tags, json.dumps(fields)))
    around.feed.add(asked)
    around.wallet.preimages = lambda _: "09" * 32
    for number in range(3):
        flood(around, make_key(100 + number), around.signer.pubkey)
    async with around.open() as (zapper, store):
        await zapper.serve_requests()
        assert await store.served() == {asked.id: ""}
        assert zapper.why_unpaid(miner) is None
    [record] = around.records()
    assert (record.to, record.amount_msat) == (asked.id, 3_000_000)


async def test_relays_that_do_not_answer_are_said_once_and_asked_again(
    around: Any, make_key: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = ask(around, make_key(1), age_s=60)
    asking = reader(around)

    async def away(*_: Any, **__: Any) -> list[VerifiedEvent]:
        raise ConnectionError("no relay answered")

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(around.feed, "fetch", away)
            assert [await asking.read_if_it_can(owed()) for _ in range(3)] == [[], [], []]
        assert await asking.read_if_it_can(owed()) == [wanted]
    assert [record.getMessage() for record in caplog.records] == [
        "withdrawal requests cannot be read just now: no relay answered"
    ] * 2
