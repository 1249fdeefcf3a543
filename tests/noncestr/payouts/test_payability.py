"""Who can be paid: profiles with and without an address, no profile, silent relays, and how often they are asked."""

import re

import anyio
import anyio.lowlevel
import pytest

from nips.keys import SecretKey
from nips.lnurl import encode_lnurl
from nips.nip01 import VerifiedEvent
from noncestr.citizen.profiles import profile, relay_list
from noncestr.payouts import payability
from noncestr.payouts.payability import RelayPayability
from relay_bridge.errors import RelayUnavailable

pytestmark = pytest.mark.anyio

MINER = SecretKey(b"\x03" * 32)
NOW = 1_700_000_000
RELAYS = ("wss://pool.example",)


class FakeFeed:
    """Answers with these events, or raises; `gate` holds the answer back."""

    def __init__(self, *events: VerifiedEvent) -> None:
        self.events = list(events)
        self.error: Exception | None = None
        self.gate: anyio.Event | None = None
        self.asked = 0

    async def fetch(self, filters, *, timeout_s: float = 10) -> list[VerifiedEvent]:
        self.asked += 1
        assert filters[0].authors == {MINER.pubkey}
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.events


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def payable(feed: FakeFeed, clock: Clock | None = None, **options) -> RelayPayability:
    return RelayPayability(feed, RELAYS, lambda: NOW * 1000, mono=clock or Clock(), **options)


async def test_an_address_or_an_lnurl_is_a_way_to_be_paid():
    for fields in ({"lud16": "bob@example.com"}, {"lud06": encode_lnurl("https://example.com/lnurlp/bob")}):
        assert await payable(FakeFeed(profile(MINER, NOW, **fields))).advice(MINER.pubkey) is None


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([], "relays have no profile of yours: publish one .* to wss://pool.example"),
        (
            [MINER.sign(relay_list(NOW, ["wss://other.example"]))],
            "your relay list does not name: add wss://pool.example",
        ),
        ([profile(MINER, NOW, name="bob")], "names no lightning address: add one"),
        ([profile(MINER, NOW, lud16="bob")], "correct it"),
        ([profile(MINER, NOW, lud16="bob@127.0.0.1:80"), profile(MINER, NOW + 1, name="bob")], "names no lightning"),
        ([profile(MINER, NOW + 9000, lud16="bob@example.com")], "have no profile"),
    ],
)
async def test_no_way_to_be_paid_is_a_sentence_that_says_what_to_do(events, says):
    advice = await payable(FakeFeed(*events)).advice(MINER.pubkey)
    assert advice is not None
    assert re.search(says, advice)
    assert advice.endswith("you mine and earn all the same, and are paid once there is one")


async def test_the_demos_address_on_this_machine_counts_only_where_it_is_allowed():
    feed = FakeFeed(profile(MINER, NOW, lud16="bob@127.0.0.1:9911"))
    assert await payable(feed, allow_http_loopback=True).advice(MINER.pubkey) is None


async def test_silent_relays_say_nothing_and_are_not_asked_again_at_once():
    feed = FakeFeed()
    feed.error = RelayUnavailable({"wss://pool.example": "away"})
    clock = Clock()
    judge = payable(feed, clock)
    assert await judge.advice(MINER.pubkey) is None
    assert await judge.advice(MINER.pubkey) is None
    assert feed.asked == 1
    feed.error = None
    clock.now = payability.BAD_S + 1
    assert "no profile" in await judge.advice(MINER.pubkey)


async def test_a_relay_that_never_ends_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(payability, "FETCH_S", 0.01)
    feed = FakeFeed()
    feed.gate = anyio.Event()
    assert await payable(feed).advice(MINER.pubkey) is None


async def test_a_mended_profile_is_seen_within_minutes():
    feed, clock = FakeFeed(profile(MINER, NOW, name="bob")), Clock()
    judge = payable(feed, clock)
    assert await judge.advice(MINER.pubkey)
    feed.events = [profile(MINER, NOW, lud16="bob@example.com")]
    assert await judge.advice(MINER.pubkey)
    clock.now = payability.BAD_S + 1
    assert await judge.advice(MINER.pubkey) is None
    clock.now += payability.GOOD_S - 1
    assert await judge.advice(MINER.pubkey) is None
    assert feed.asked == 2


async def test_many_workers_of_one_npub_ask_once():
    feed, said = FakeFeed(), []
    feed.gate = anyio.Event()
    judge = payable(feed)

    async def ask() -> None:
        said.append(await judge.advice(MINER.pubkey))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask)
        await anyio.lowlevel.checkpoint()
        feed.gate.set()
    assert len(set(said)) == 1
    assert feed.asked == 1
    assert judge._asking == {}


async def test_a_crowd_of_new_keys_is_not_queued_for_ever(monkeypatch):
    monkeypatch.setattr(payability, "MAX_ASKING", 1)
    feed = FakeFeed()
    feed.gate = anyio.Event()
    judge = payable(feed)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge.advice, MINER.pubkey)
        await anyio.lowlevel.checkpoint()
        assert await judge.advice("ab" * 32) is None
        feed.gate.set()


async def test_answers_are_bounded(monkeypatch):
    monkeypatch.setattr(payability, "MAX_KEPT", 2)
    judge = payable(FakeFeed())
    for _ in range(3):
        judge._keep(SecretKey.from_hex(f"{len(judge._kept) + 1:064x}").pubkey, None, 1)
    assert len(judge._kept) == 2
