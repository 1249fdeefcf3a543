"""NIP-59: gift wraps. An unsigned rumor lies in a seal that its author signed, the seal in a wrap signed by a key that
is used once. What is random, and the dates, come from outside, in a OneTime.
"""

from dataclasses import dataclass

import msgspec

from nips.errors import InvalidEvent, NipError
from nips.keys import SecretKey, Signer
from nips.nip01 import (
    Tag,
    Tags,
    UnsignedEvent,
    VerifiedEvent,
    decode_event,
    encode_event,
    event_id,
    parse_event,
    verify,
)
from nips.nip44 import Cipher, InvalidPayload, KeyCipher

SEAL = 13
GIFT_WRAP = 1059
# NIP-17: "randomize created_at in up to two days in the past in both the seal and the gift wrap".
MAX_TWEAK_S = 2 * 24 * 3600


# What stands for an id and a signature where there is none.
_NO_ID, _NO_SIG = "00" * 32, "00" * 64


class InvalidWrap(NipError):
    """A gift wrap is not for us, or what it holds is forged or out of form."""


class Rumor(msgspec.Struct, frozen=True):
    """An event without a signature. Only the seal around it says that its author wrote it."""

    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: Tags
    content: str


@dataclass(frozen=True, slots=True)
class OneTime:
    """What one wrap needs and no other may have: a fresh key, two nonces of 32 random bytes, and two dates in Unix
    seconds, each tweaked on its own, up to MAX_TWEAK_S into the past.
    """

    key: SecretKey
    seal_nonce: bytes
    wrap_nonce: bytes
    seal_at: int
    wrap_at: int


def make_rumor(author: str, unsigned: UnsignedEvent) -> Rumor:
    """The rumor of what `author` (hex) has to say. Its date is the true one."""
    tags = tuple(tuple(tag) for tag in unsigned.tags)
    hashed = event_id(author, unsigned.created_at, unsigned.kind, tags, unsigned.content)
    return Rumor(hashed.hex(), author, unsigned.created_at, unsigned.kind, tags, unsigned.content)


def gift_wrap(
    rumor: Rumor,
    *,
    signer: Signer,
    cipher: Cipher,
    recipient: str,
    once: OneTime,
    expiration: int | None = None,
) -> VerifiedEvent:
    """A kind 1059 with the rumor for `recipient` (hex), to be sent to his relays only. Signer and cipher are the
    author's. With `expiration` (Unix seconds) relays may forget it then.

    Raises InvalidKey for a recipient that is no key; ValueError for a rumor that is too long, or another's.
    """
    if not rumor.pubkey == signer.pubkey == cipher.pubkey:
        raise ValueError("a rumor is sealed by its author")
    hidden = cipher.encrypt(recipient, msgspec.json.encode(rumor).decode(), once.seal_nonce)
    # "Tags MUST always be empty in a kind:13."
    seal = signer.sign(UnsignedEvent(SEAL, once.seal_at, (), hidden))
    tags: list[Tag] = [("p", recipient)]
    if expiration is not None:
        tags.append(("expiration", str(expiration)))
    wrapped = KeyCipher(once.key).encrypt(recipient, encode_event(seal).decode(), once.wrap_nonce)
    return once.key.sign(UnsignedEvent(GIFT_WRAP, once.wrap_at, tuple(tags), wrapped))


def _parse_rumor(text: str, author: str) -> Rumor:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidWrap("the seal holds no JSON") from None
    if not isinstance(value, dict):
        raise InvalidWrap("a rumor is a JSON object")
    # "The inner event MUST always be unsigned." Some write an empty signature for none.
    if value.get("sig"):
        raise InvalidWrap("the rumor is signed: whoever got it could prove it to others")
    try:
        event = parse_event({"id": _NO_ID, **value, "sig": _NO_SIG})
        computed = event_id(event.pubkey, event.created_at, event.kind, event.tags, event.content).hex()
    except InvalidEvent as error:
        raise InvalidWrap(f"the rumor: {error}") from None
    # rust-nostr leaves the id out.
    if "id" in value and event.id != computed:
        raise InvalidWrap("the rumor's id is not its hash")
    # NIP-17: "otherwise any sender can impersonate any other by simply changing the pubkey on the rumor".
    if event.pubkey != author:
        raise InvalidWrap("the rumor names an author who did not seal it")
    return Rumor(computed, event.pubkey, event.created_at, event.kind, event.tags, event.content)


def unwrap(event: VerifiedEvent, cipher: Cipher) -> Rumor:
    """The rumor in a gift wrap for us, which its author has sealed. Raises InvalidWrap."""
    if event.kind != GIFT_WRAP:
        raise InvalidWrap(f"a gift wrap is of kind {GIFT_WRAP}, not {event.kind}")
    try:
        seal = verify(decode_event(cipher.decrypt(event.pubkey, event.content)))
    except InvalidPayload as error:
        raise InvalidWrap(f"the gift wrap: {error}") from None
    except InvalidEvent as error:
        raise InvalidWrap(f"the seal: {error}") from None
    if seal.kind != SEAL:
        raise InvalidWrap(f"a seal is of kind {SEAL}, not {seal.kind}")
    # NIP-17 lets messages that disappear say so on the seal too; anything else would tell who is written to.
    if any(tag[0] != "expiration" for tag in seal.tags):
        raise InvalidWrap("a seal has no tags")
    try:
        text = cipher.decrypt(seal.pubkey, seal.content)
    except InvalidPayload as error:
        raise InvalidWrap(f"the seal: {error}") from None
    return _parse_rumor(text, seal.pubkey)
