"""NIP-59: the NIP's example, nostr-sdk both ways, and wraps that lie."""

import json
from collections.abc import Callable
from typing import Any

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidKey
from nips.keys import SecretKey
from nips.nip01 import Tags, UnsignedEvent, VerifiedEvent, decode_event, encode_event, parse_event, verify
from nips.nip44 import KeyCipher
from nips.nip59 import MAX_TWEAK_S, InvalidWrap, OneTime, Rumor, gift_wrap, make_rumor, unwrap

ALICE, BOB, ONCE, MALLORY = (SecretKey(bytes([n]) * 32) for n in (1, 2, 3, 4))
NOW = 1_800_000_000


def once(seed: int = 0) -> OneTime:
    return OneTime(ONCE, bytes([seed]) * 32, bytes([seed + 1]) * 32, NOW - 1000, NOW - MAX_TWEAK_S)


def note(text: str = "hello", tags: Tags = ()) -> Rumor:
    return make_rumor(ALICE.pubkey, UnsignedEvent(1, NOW, tags, text))


def wrapped(rumor: Rumor, **changes: Any) -> VerifiedEvent:
    given: dict[str, Any] = {"signer": ALICE, "cipher": KeyCipher(ALICE), "recipient": BOB.pubkey, "once": once()}
    return gift_wrap(rumor, **{**given, **changes})


def test_the_nips_example(vectors: Callable[[str], Any], verified: Callable[[Any], VerifiedEvent]) -> None:
    case = vectors("nip59")["nip59"]
    rumor = unwrap(verified(case["wrap"]), KeyCipher(SecretKey.from_hex(case["recipient"])))
    assert rumor == Rumor(**{**case["rumor"], "tags": ()})
    author = SecretKey.from_hex(case["author"])
    unsigned = UnsignedEvent(1, 1691518405, (), "Are you going to the party tonight?")
    assert make_rumor(author.pubkey, unsigned) == rumor


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(texts, st.lists(st.lists(texts, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple))
def test_what_is_wrapped_is_unwrapped(text: str, tags: Tags) -> None:
    rumor = note(text, tags)
    event = wrapped(rumor, expiration=NOW + 5)
    assert verify(decode_event(encode_event(event))) == event
    assert (event.kind, event.pubkey, event.created_at) == (1059, ONCE.pubkey, NOW - MAX_TWEAK_S)
    assert event.tags == (("p", BOB.pubkey), ("expiration", str(NOW + 5)))
    assert unwrap(event, KeyCipher(BOB)) == rumor


def test_the_public_part_names_the_recipient_alone() -> None:
    text = encode_event(wrapped(note())).decode()
    assert ALICE.pubkey not in text
    assert str(NOW) not in text


def test_nostr_sdk_unwraps_ours() -> None:
    signer = nostr_sdk.Keys.parse(BOB.secret_bytes().hex())
    event = nostr_sdk.Event.from_json(encode_event(wrapped(note("für dich"))).decode())
    gift = nostr_sdk.UnwrappedGift.from_gift_wrap(signer, event)
    assert gift.sender().to_hex() == ALICE.pubkey
    rumor = json.loads(gift.rumor().as_json())
    assert (rumor["content"], rumor["created_at"], rumor["id"]) == ("für dich", NOW, note("für dich").id)


def test_we_unwrap_nostr_sdks() -> None:
    keys = nostr_sdk.Keys.parse(ALICE.secret_bytes().hex())
    rumor = nostr_sdk.EventBuilder(nostr_sdk.Kind(1), "para ti").finalize_unsigned(keys.public_key())
    event = nostr_sdk.nip59_make_gift_wrap(keys, nostr_sdk.PublicKey.parse(BOB.pubkey), rumor)
    found = unwrap(verify(decode_event(event.as_json())), KeyCipher(BOB))
    assert (found.pubkey, found.kind, found.content) == (ALICE.pubkey, 1, "para ti")


def test_only_the_author_seals() -> None:
    with pytest.raises(ValueError, match="author"):
        wrapped(note(), signer=MALLORY, cipher=KeyCipher(MALLORY))
    with pytest.raises(ValueError, match="author"):
        wrapped(note(), cipher=KeyCipher(MALLORY))


def test_no_wrap_for_no_key_and_none_for_a_book() -> None:
    with pytest.raises(InvalidKey):
        wrapped(note(), recipient="00" * 32)
    with pytest.raises(ValueError, match="65535 bytes"):
        wrapped(note("x" * 50_000))


def test_a_wrap_for_somebody_else_stays_closed() -> None:
    with pytest.raises(InvalidWrap, match="not for these keys"):
        unwrap(wrapped(note()), KeyCipher(MALLORY))


def forged(seal: Any) -> VerifiedEvent:
    """A wrap for Bob around anything."""
    text = seal if isinstance(seal, str) else encode_event(seal).decode()
    return ONCE.sign(
        UnsignedEvent(1059, NOW, (("p", BOB.pubkey),), KeyCipher(ONCE).encrypt(BOB.pubkey, text, bytes(32)))
    )


def sealed(content: Any, *, by: SecretKey = ALICE, kind: int = 13, tags: Tags = ()) -> VerifiedEvent:
    text = content if isinstance(content, str) else json.dumps(content)
    return by.sign(UnsignedEvent(kind, NOW, tags, KeyCipher(by).encrypt(BOB.pubkey, text, bytes(32))))


def fields(**changes: Any) -> dict[str, Any]:
    rumor = note()
    given = {name: getattr(rumor, name) for name in ("id", "pubkey", "created_at", "kind", "content")}
    return {**given, "tags": [], **changes}


def test_the_forgers_tools_work() -> None:
    assert unwrap(forged(sealed(fields())), KeyCipher(BOB)) == note()
    assert unwrap(forged(sealed(fields(sig=""))), KeyCipher(BOB)) == note()
    assert unwrap(forged(sealed(fields(), tags=(("expiration", "1"),))), KeyCipher(BOB)) == note()


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (forged(sealed(fields(), by=MALLORY)), "did not seal"),
        (forged(sealed(fields(id="00" * 32))), "hash"),
        (forged(sealed(fields(content="other"))), "hash"),
        (forged(sealed(fields(sig="ab" * 64))), "signed"),
        (forged(sealed(fields(tags=[["p", 1]]))), "tag"),
        (forged(sealed(fields(content="\ud800"))), "JSON|UTF-8"),
        (forged(sealed([1])), "object"),
        (forged(sealed("{")), "JSON"),
        (forged(sealed({})), "no pubkey"),
        (forged(sealed(fields(id=None))), "id"),
        (forged(sealed("[" * 9000)), "JSON"),
        (forged(sealed(fields(), kind=14)), "kind 13"),
        (forged(sealed(fields(), tags=(("p", BOB.pubkey),))), "no tags"),
        (forged(ALICE.sign(UnsignedEvent(13, NOW, (), "in clear"))), "characters"),
        (forged("no event"), "not JSON"),
        (forged(encode_event(sealed(fields())).decode().replace('"kind":13', '"kind":14')), "hash"),
        (ONCE.sign(UnsignedEvent(1, NOW, (), "x")), "kind 1059"),
        (ONCE.sign(UnsignedEvent(1059, NOW, (), "x")), "characters"),
    ],
)
def test_a_wrap_that_lies_is_refused(event: VerifiedEvent, word: str) -> None:
    with pytest.raises(InvalidWrap, match=word):
        unwrap(event, KeyCipher(BOB))


def test_a_rumor_may_leave_its_id_out() -> None:
    without = fields()
    del without["id"]
    assert unwrap(forged(sealed(without)), KeyCipher(BOB)) == note()


def test_a_seal_with_anothers_signature_is_refused() -> None:
    seal = json.loads(encode_event(sealed(fields())))
    seal["sig"] = sealed(fields(), by=MALLORY).sig
    with pytest.raises(InvalidWrap, match="not signed"):
        unwrap(forged(json.dumps(seal)), KeyCipher(BOB))


def test_a_flipped_bit_is_noticed() -> None:
    event = json.loads(encode_event(wrapped(note())))
    for place in range(0, len(event["content"]), 7):
        char = event["content"][place]
        event["content"] = event["content"][:place] + ("A" if char != "A" else "B") + event["content"][place + 1 :]
        changed = VerifiedEvent(**{**event, "tags": ()})
        with pytest.raises(InvalidWrap):
            unwrap(changed, KeyCipher(BOB))
        event["content"] = event["content"][:place] + char + event["content"][place + 1 :]
    assert unwrap(verify(parse_event(event)), KeyCipher(BOB)) == note()
