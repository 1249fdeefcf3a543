"""Who is answered, and what."""

import hashlib
from dataclasses import replace

import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.nip17 import ChatMessage
from noncestr.citizen.facts import MinerNow, PoolNow
from noncestr.citizen.replies import (
    GRACE_S,
    MAX_AGE_S,
    MAX_AHEAD_S,
    MAX_NAMED,
    Command,
    answer,
    asked_in_message,
    asked_in_note,
    build_reply,
    command_of,
    hashrate_answer,
)


def key(name: str) -> SecretKey:
    return SecretKey(hashlib.sha256(f"noncestr test key {name}".encode()).digest())


POOL, EDGE, ALICE, BOB = key("pool"), key("edge"), key("alice"), key("bob")
OWN = frozenset({POOL.pubkey, EDGE.pubkey})
NOW = 1_800_000_000
START = NOW - 100
POOL_NOW = PoolNow(1_230_000_000_000_000, 1_100_000_000_000_000, 14, 3)
ALICE_NOW = MinerNow(12 * 10**12, 11 * 10**12, NOW * 1000 - 8_000, 1_234_567, 56_000, 7_890_000, "the wallet is away")


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("hashrate", Command.HASHRATE),
        ("  Hashrate?\n", Command.HASHRATE),
        ("/hash rate", Command.HASHRATE),
        ("nostr:npub1abc hashrate!", Command.HASHRATE),
        ("@pool Balance", Command.BALANCE),
        ("help", Command.HELP),
        ("other", Command.OTHER),
        ("", Command.OTHER),
        ("what is my hashrate", Command.OTHER),
        ("The pool: 1.23 PH/s over five minutes", Command.OTHER),
        ("hashrate" + " " * 1000, Command.OTHER),
    ],
)
def test_a_command_is_a_word_alone(text: str, command: Command) -> None:
    assert command_of(text) is command


MESSAGE = ChatMessage("11" * 32, ALICE.pubkey, (POOL.pubkey,), "balance", NOW - 5, None, None)


def asked(message: ChatMessage) -> Command | None:
    return asked_in_message(message, pool=POOL.pubkey, own=OWN, started_s=START, now_s=NOW)


def test_a_message_to_the_pool_alone_is_answered() -> None:
    assert asked(MESSAGE) is Command.BALANCE
    assert asked(replace(MESSAGE, text="hi")) is Command.OTHER
    assert asked(replace(MESSAGE, sender=EDGE.pubkey)) is None
    assert asked(replace(MESSAGE, recipients=(POOL.pubkey, BOB.pubkey))) is None
    assert asked(replace(MESSAGE, recipients=(BOB.pubkey,))) is None


def test_neither_the_past_nor_the_future_is_answered() -> None:
    assert asked(replace(MESSAGE, created_at=START - GRACE_S)) is not None
    assert asked(replace(MESSAGE, created_at=START - GRACE_S - 1)) is None
    assert asked(replace(MESSAGE, created_at=NOW + MAX_AHEAD_S)) is not None
    assert asked(replace(MESSAGE, created_at=NOW + MAX_AHEAD_S + 1)) is None
    late = replace(MESSAGE, created_at=NOW - MAX_AGE_S - 1)
    assert asked_in_message(late, pool=POOL.pubkey, own=OWN, started_s=0, now_s=NOW) is None


def note(text: str = "hashrate", *tags: tuple[str, ...], author: SecretKey = ALICE, at: int = NOW) -> VerifiedEvent:
    return author.sign(UnsignedEvent(1, at, (("p", POOL.pubkey), *tags), text))


def is_asked(event: VerifiedEvent, answers: frozenset[str] = frozenset()) -> bool:
    return asked_in_note(event, pool=POOL.pubkey, own=OWN, answers=answers, started_s=START, now_s=NOW)


def test_a_note_that_asks_for_the_hashrate_is_answered() -> None:
    assert is_asked(note())
    assert is_asked(note("nostr:npub1xyz hashrate?"))
    assert not is_asked(note("balance"))
    assert not is_asked(note("I love your hashrate"))
    assert not is_asked(note(author=EDGE))
    assert not is_asked(note(at=START - GRACE_S - 1))
    assert not is_asked(note(at=NOW + MAX_AHEAD_S + 1))
    assert not is_asked(ALICE.sign(UnsignedEvent(1, NOW, (("p", BOB.pubkey),), "hashrate")))
    assert not is_asked(ALICE.sign(UnsignedEvent(7, NOW, (("p", POOL.pubkey),), "hashrate")))


def test_crowds_and_endless_talk_are_left_alone() -> None:
    crowd = [("p", f"{n:064x}") for n in range(MAX_NAMED)]
    assert is_asked(note("hashrate", *crowd[:-1]))
    assert not is_asked(note("hashrate", *crowd))
    assert not is_asked(note("hashrate", ("e", "22" * 32, "", "reply")), frozenset({"22" * 32}))


def test_a_reply_to_a_first_note_marks_it_as_the_root() -> None:
    asking = note("hashrate", ("p", BOB.pubkey), ("p", "no key"))
    reply = build_reply(asking, "text", pool=POOL.pubkey, relay="wss://r", now_s=NOW)
    assert (reply.kind, reply.created_at, reply.content) == (1, NOW, "text")
    assert reply.tags == (
        ("e", asking.id, "wss://r", "root", ALICE.pubkey),
        ("p", ALICE.pubkey),
        ("p", BOB.pubkey),
    )


def test_a_reply_within_a_thread_keeps_its_root() -> None:
    asking = note("hashrate", ("e", "33" * 32, "x" * 9000, "root", "y" * 9000), ("e", "44" * 32, "", "reply"))
    reply = build_reply(asking, "text", pool=POOL.pubkey, relay="", now_s=NOW)
    assert reply.tags[:2] == (("e", "33" * 32, "", "root"), ("e", asking.id, "", "reply", ALICE.pubkey))


def say(command: Command, miner: MinerNow | None) -> str:
    return answer(
        command, POOL_NOW, miner, name="Example", stratum_url="stratum+tcp://pool.example.com:3333", now_ms=NOW * 1000
    )


def test_answers_are_of_the_asker() -> None:
    assert say(Command.HASHRATE, ALICE_NOW) == (
        "The pool: 1.23 PH/s over five minutes, 1.10 PH/s over an hour, 14 miners, 3 blocks in 24 hours.\n"
        "You: 12.00 TH/s over five minutes, 11.00 TH/s over an hour, last share 8 seconds ago."
    )
    assert say(Command.BALANCE, ALICE_NOW) == (
        "Waiting in blocks that are not mature yet: 1,234 sat.\n"
        "Yours, to be paid: 56 sat.\n"
        "Paid to you so far: 7,890 sat.\n"
        "Not paid yet: the wallet is away."
    )
    assert "You:" not in hashrate_answer(POOL_NOW, None, NOW * 1000)


def test_strangers_are_told_how_to_begin() -> None:
    assert "never seen a share" in say(Command.BALANCE, None)
    for command in (Command.HELP, Command.OTHER):
        assert "stratum+tcp://pool.example.com:3333" in say(command, None)


@pytest.mark.parametrize("command", list(Command))
def test_no_answer_is_a_question(command: Command) -> None:
    for line in say(command, ALICE_NOW).splitlines():
        assert command_of(line) is Command.OTHER
