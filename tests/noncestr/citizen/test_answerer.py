"""Who writes to the pool, and what comes back. Messages are wrapped and opened by rust-nostr, not by our own code."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import nostr_sdk
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, decode_event, encode_event, verify
from nips.nip17 import build_chat
from nips.nip44 import KeyCipher
from nips.nip59 import OneTime, gift_wrap
from noncestr.citizen import answerer as citizen_answerer
from noncestr.citizen.answerer import Answerer
from noncestr.citizen.memory import open_memory
from noncestr.citizen.replies import GRACE_S
from noncestr.config.social import SocialConfig

NOTE, WRAP = 1, 1059


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(citizen_answerer, "UNWRAPS_PER_S", 100_000)


@asynccontextmanager
async def answerer(citizen: Any, config: SocialConfig | None = None) -> AsyncIterator[Answerer]:
    async with open_memory(citizen.path, citizen.clock.ms) as memory:
        yield Answerer(citizen.who, config or SocialConfig(), citizen.books, citizen.feed, citizen.clock, memory)


def keys_of(key: SecretKey) -> nostr_sdk.Keys:
    return nostr_sdk.Keys.parse(key.secret_bytes().hex())


def foreign_wrap(citizen: Any, sender: str, text: str) -> VerifiedEvent:
    """A private message as rust-nostr sends it, dated now by its clock, which ours is set to."""
    receiver = nostr_sdk.PublicKey.parse(citizen.who.key.pubkey)
    event = nostr_sdk.nip17_make_private_msg(keys_of(citizen.key(sender)), receiver, text)
    citizen.clock.ms = nostr_sdk.Timestamp.now().as_secs() * 1000
    return verify(decode_event(event.as_json()))


def open_answer(citizen: Any, receiver: str, wrap: VerifiedEvent) -> tuple[str, dict[str, Any]]:
    """The author and the message of a wrap, as rust-nostr reads it."""
    event = nostr_sdk.Event.from_json(encode_event(wrap).decode())
    gift = nostr_sdk.UnwrappedGift.from_gift_wrap(keys_of(citizen.key(receiver)), event)
    return gift.sender().to_hex(), json.loads(gift.rumor().as_json())


def own_wrap(citizen: Any, sender: str, text: str, *, at_s: int | None = None, again: int = 0) -> VerifiedEvent:
    """A message with a date of our choice; `again`: the same message in another wrap."""
    key = citizen.key(sender)
    now_s = citizen.clock.ms // 1000
    rumor = build_chat(
        sender=key.pubkey, recipients=[citizen.who.key.pubkey], text=text, created_at=now_s if at_s is None else at_s
    )
    once = OneTime(citizen.key(f"once {again}"), bytes([again] * 32), bytes([again + 1] * 32), now_s, now_s)
    return gift_wrap(rumor, signer=key, cipher=KeyCipher(key), recipient=citizen.who.key.pubkey, once=once)


@pytest.mark.anyio
async def test_a_balance_goes_to_its_miner_alone(citizen: Any) -> None:
    citizen.with_miner("alice")
    asking = foreign_wrap(citizen, "alice", "balance")
    async with answerer(citizen) as answers:
        await answers.hear(asking)
    (wrap,) = citizen.feed.of(WRAP)
    assert wrap.tag_values("p") == (citizen.key("alice").pubkey,)
    assert wrap.pubkey not in citizen.who.own
    assert "1,234" not in wrap.content
    sender, message = open_answer(citizen, "alice", wrap)
    assert sender == message["pubkey"] == citizen.who.key.pubkey
    assert message["kind"] == 14
    assert "1,234 sat" in message["content"]
    assert message["tags"][0] == ["p", citizen.key("alice").pubkey]
    with pytest.raises(nostr_sdk.NostrSdkError):
        open_answer(citizen, "bob", wrap)


@pytest.mark.anyio
async def test_each_word_has_its_answer(citizen: Any) -> None:
    citizen.with_miner("alice")
    async with answerer(citizen) as answers:
        for number, text in enumerate(("hashrate", "balance", "help", "good morning")):
            await answers.hear(own_wrap(citizen, "alice", text, again=number))
    texts = [open_answer(citizen, "alice", wrap)[1]["content"] for wrap in citizen.feed.of(WRAP)]
    assert ["You: 12.00 TH/s" in texts[0], "Paid to you so far" in texts[1]] == [True, True]
    assert texts[2] == texts[3]
    assert "Write hashrate" in texts[2]


@pytest.mark.anyio
async def test_the_word_test_asks_for_one(citizen: Any) -> None:
    asked: list[str] = []

    async def test(miner: str) -> str:
        asked.append(miner)
        return "A test is on its way by message."

    async with open_memory(citizen.path, citizen.clock.ms) as memory:
        parts = (citizen.who, SocialConfig(), citizen.books, citizen.feed, citizen.clock, memory)
        await Answerer(*parts, test).hear(own_wrap(citizen, "alice", "Test!"))
        await Answerer(*parts, test).hear(own_wrap(citizen, "alice", "Test!", again=1))
        await Answerer(*parts).hear(own_wrap(citizen, "bob", "test"))
    assert asked == [citizen.key("alice").pubkey]
    texts = [
        open_answer(citizen, name, wrap)[1]["content"]
        for name, wrap in zip(("alice", "bob"), citizen.feed.of(WRAP), strict=True)
    ]
    assert texts[0] == "A test is on its way by message."
    assert "Write hashrate" in texts[1]


@pytest.mark.anyio
async def test_a_message_is_answered_once_whatever_relays_repeat(citizen: Any) -> None:
    async with answerer(citizen) as answers:
        await answers.hear(own_wrap(citizen, "alice", "hashrate"))
        await answers.hear(own_wrap(citizen, "alice", "hashrate"))
        await answers.hear(own_wrap(citizen, "alice", "hashrate", again=1))
    async with answerer(citizen) as answers:
        await answers.hear(own_wrap(citizen, "alice", "hashrate"))
    assert len(citizen.feed.published) == 1


@pytest.mark.anyio
async def test_old_future_and_forged_messages_get_nothing(citizen: Any) -> None:
    now_s = citizen.clock.ms // 1000
    wrap = own_wrap(citizen, "alice", "hashrate")
    broken = citizen.key("once 0").sign(UnsignedEvent(WRAP, now_s, wrap.tags, wrap.content[:-8] + "AAAAAAA="))
    async with answerer(citizen) as answers:
        await answers.hear(own_wrap(citizen, "alice", "hashrate", at_s=now_s - GRACE_S - 1))
        await answers.hear(own_wrap(citizen, "alice", "hashrate", at_s=now_s + 3600))
        await answers.hear(own_wrap(citizen, "edge", "hashrate"))
        await answers.hear(broken)
        await answers.hear(citizen.key("once 1").sign(UnsignedEvent(WRAP, now_s, wrap.tags, "")))
    assert citizen.feed.published == []


@pytest.mark.anyio
async def test_enough_is_enough(citizen: Any) -> None:
    async with answerer(citizen, SocialConfig(replies_per_hour=2, replies_per_day=3)) as answers:
        for number in range(5):
            await answers.hear(own_wrap(citizen, "alice", "hashrate", at_s=citizen.clock.ms // 1000 - number))
        assert len(citizen.feed.published) == 2
        await answers.hear(own_wrap(citizen, "bob", "hashrate"))
        await answers.hear(own_wrap(citizen, "carol", "hashrate"))
    assert len(citizen.feed.published) == 3


@pytest.mark.anyio
async def test_another_machine_is_not_answered(citizen: Any) -> None:
    citizen.store("alice", UnsignedEvent(0, 5, (), '{"name":"robot","bot":true}'))
    citizen.store("bob", UnsignedEvent(0, 5, (), '{"name":"bob"}'))
    citizen.store("carol", UnsignedEvent(0, 5, (), "no profile"))
    async with answerer(citizen) as answers:
        for name in ("alice", "bob", "carol"):
            await answers.hear(own_wrap(citizen, name, "hashrate"))
    assert [wrap.tag_value("p") for wrap in citizen.feed.published] == [citizen.key(n).pubkey for n in ("bob", "carol")]


@pytest.mark.anyio
async def test_a_mention_is_answered_in_public_and_its_thread_left_alone(citizen: Any) -> None:
    now_s = citizen.clock.ms // 1000
    named = ("p", citizen.who.key.pubkey)
    asking = citizen.key("alice").sign(UnsignedEvent(NOTE, now_s, (named,), "nostr:npub1pool hashrate?"))
    async with answerer(citizen) as answers:
        await answers.hear(asking)
        await answers.hear(asking)
        (reply,) = citizen.feed.of(NOTE)
        assert reply.pubkey == citizen.who.key.pubkey
        assert reply.tags[0] == ("e", asking.id, citizen.who.relay, "root", citizen.key("alice").pubkey)
        assert "1.23 PH/s" in reply.content
        assert "You:" not in reply.content
        tags = (("e", asking.id, "", "root"), ("e", reply.id, "", "reply"), named)
        await answers.hear(citizen.key("bob").sign(UnsignedEvent(NOTE, now_s, tags, "hashrate")))
    async with answerer(citizen) as answers:
        await answers.hear(citizen.key("bob").sign(UnsignedEvent(NOTE, now_s, tags, "hashrate")))
        await answers.hear(asking)
    assert citizen.feed.published == [reply]


@pytest.mark.anyio
async def test_a_clock_that_goes_on_leaves_old_questions_behind(citizen: Any) -> None:
    wrap = own_wrap(citizen, "alice", "hashrate")
    async with answerer(citizen) as answers:
        citizen.clock.ms += int(timedelta(hours=2).total_seconds()) * 1000
        await answers.hear(wrap)
    assert citizen.feed.published == []
