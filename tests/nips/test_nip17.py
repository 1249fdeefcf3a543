"""NIP-17: messages and the relays they go to; the NIP's example, and nostr-sdk both ways."""

import json
from collections.abc import Callable
from typing import Any

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import Tags, UnsignedEvent, VerifiedEvent, decode_event, encode_event, verify
from nips.nip17 import (
    InvalidChat,
    build_chat,
    build_dm_relays,
    parse_chat,
    parse_dm_relays,
)
from nips.nip19 import decode_nsec
from nips.nip44 import KeyCipher
from nips.nip59 import OneTime, gift_wrap, make_rumor, unwrap
from nips.nip65 import InvalidRelayUrl

ALICE, BOB, CAROL, ONCE = (SecretKey(bytes([n]) * 32) for n in (1, 2, 3, 4))
NOW = 1_800_000_000


def test_the_nips_example(vectors: Callable[[str], Any], verified: Callable[[Any], VerifiedEvent]) -> None:
    case = vectors("nip59")["nip17"]
    sender, receiver = SecretKey(decode_nsec(case["sender"])), SecretKey(decode_nsec(case["receiver"]))
    for key, event in ((receiver, case["to_receiver"]), (sender, case["to_sender"])):
        message = parse_chat(unwrap(verified(event), KeyCipher(key)))
        assert message.text == case["text"]
        assert message.sender == sender.pubkey
        assert message.recipients == (receiver.pubkey,)


keys = st.sampled_from([ALICE.pubkey, BOB.pubkey, CAROL.pubkey])


@given(
    st.sets(keys, min_size=1),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.none() | st.just("ab" * 32),
)
def test_what_is_built_is_read(recipients: set[str], text: str, subject: str | None, reply_to: str | None) -> None:
    rumor = build_chat(
        sender=ALICE.pubkey,
        recipients=sorted(recipients),
        text=text,
        created_at=NOW,
        subject=subject,
        reply_to=reply_to,
    )
    message = parse_chat(rumor)
    assert (message.id, message.sender, message.created_at) == (rumor.id, ALICE.pubkey, NOW)
    assert message.recipients == tuple(sorted(recipients))
    assert (message.text, message.subject, message.reply_to) == (text, subject, reply_to)


def chat(tags: Tags, kind: int = 14) -> Any:
    return make_rumor(ALICE.pubkey, UnsignedEvent(kind, NOW, tags, "x"))


def test_what_makes_no_sense_is_passed_over() -> None:
    message = parse_chat(
        chat((("p", "x"), ("p",), ("p", BOB.pubkey), ("p", BOB.pubkey), ("e", "x"), ("subject", "s" * 999)))
    )
    assert message.recipients == (BOB.pubkey,)
    assert message.reply_to is None
    assert message.subject == "s" * 200


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ((("p", BOB.pubkey),), 15),
        ((), 14),
        ((("p", "x"),), 14),
        (tuple(("p", f"{n:064x}") for n in range(11)), 14),
    ],
)
def test_what_is_no_message_is_refused(tags: Tags, kind: int) -> None:
    with pytest.raises(InvalidChat):
        parse_chat(chat(tags, kind))


def test_nobody_and_a_crowd_are_not_written_to() -> None:
    for recipients in ([], [BOB.pubkey] * 11):
        with pytest.raises(ValueError, match="recipients"):
            build_chat(sender=ALICE.pubkey, recipients=recipients, text="x", created_at=NOW)


def test_nostr_sdk_reads_ours() -> None:
    rumor = build_chat(sender=ALICE.pubkey, recipients=[BOB.pubkey], text="paid: 5 sat", created_at=NOW)
    event = gift_wrap(
        rumor,
        signer=ALICE,
        cipher=KeyCipher(ALICE),
        recipient=BOB.pubkey,
        once=OneTime(ONCE, bytes(32), b"\x01" * 32, NOW - 5, NOW - 9),
    )
    signer = nostr_sdk.Keys.parse(BOB.secret_bytes().hex())
    gift = nostr_sdk.UnwrappedGift.from_gift_wrap(signer, nostr_sdk.Event.from_json(encode_event(event).decode()))
    found = json.loads(gift.rumor().as_json())
    assert (found["kind"], found["content"], found["tags"]) == (14, "paid: 5 sat", [["p", BOB.pubkey]])


def test_we_read_nostr_sdks() -> None:
    signer = nostr_sdk.Keys.parse(ALICE.secret_bytes().hex())
    event = nostr_sdk.nip17_make_private_msg(signer, nostr_sdk.PublicKey.parse(BOB.pubkey), "hashrate")
    message = parse_chat(unwrap(verify(decode_event(event.as_json())), KeyCipher(BOB)))
    assert (message.sender, message.recipients, message.text) == (ALICE.pubkey, (BOB.pubkey,), "hashrate")


def listed(*tags: tuple[str, ...], kind: int = 10050) -> VerifiedEvent:
    return ALICE.sign(UnsignedEvent(kind, NOW, tags, ""))


def test_relays_for_messages() -> None:
    event = ALICE.sign(build_dm_relays(["wss://a.example/", "wss://B.example", "wss://b.example"], created_at=NOW))
    assert event.tags == (("relay", "wss://a.example"), ("relay", "wss://b.example"))
    assert parse_dm_relays(event) == ("wss://a.example", "wss://b.example")
    theirs = nostr_sdk.nip17_extract_relay_list(nostr_sdk.Event.from_json(encode_event(event).decode()))
    assert [str(url).rstrip("/") for url in theirs] == ["wss://a.example", "wss://b.example"]


def test_what_is_no_relay_is_passed_over() -> None:
    assert parse_dm_relays(
        listed(("relay",), ("relay", "x"), ("r", "wss://a.example"), ("relay", "wss://b.example/"))
    ) == ("wss://b.example",)
    assert len(parse_dm_relays(listed(*(("relay", f"wss://r{n}.example") for n in range(500))))) == 6
    assert parse_dm_relays(listed()) == ()
    with pytest.raises(InvalidChat, match="10002"):
        parse_dm_relays(listed(kind=10002))


def test_lists_we_do_not_build() -> None:
    for urls in ([], [f"wss://r{n}.example" for n in range(4)]):
        with pytest.raises(ValueError, match="1 to 3"):
            build_dm_relays(urls, created_at=NOW)
    with pytest.raises(InvalidRelayUrl):
        build_dm_relays(["x"], created_at=NOW)
