"""NIP-60: a Cashu wallet kept on relays. The wallet (17375), its unspent proofs (7375) and its history (7376), each
encrypted by its owner to his own key.
"""

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from nips.errors import InvalidKey, NipError
from nips.keys import SecretKey
from nips.nip01 import Event, Tag, UnsignedEvent, VerifiedEvent
from nips.nip44 import Cipher, InvalidPayload
from nips.nut00 import (
    MAX_AMOUNT,
    InvalidMintUrl,
    InvalidProof,
    Proof,
    is_unit,
    normal_mint_url,
    parse_proofs,
    total,
)

WALLET = 17375
TOKEN = 7375
HISTORY = 7376
DELETION = 5
DEFAULT_UNIT = "sat"
# A wallet at more mints than that is kept by no one.
MAX_MINTS = 20
# One event stands for what changed at once: some proofs in, some out.
MAX_REFERENCES = 200

_HEX64 = re.compile(r"[0-9a-f]{64}")
_AMOUNT = re.compile(r"[0-9]{1,19}")


class InvalidWallet(NipError):
    """An event is not a part of our wallet, or out of NIP-60's form."""


class Direction(enum.Enum):
    """Whether money came or went."""

    IN = "in"
    OUT = "out"


class Marker(enum.Enum):
    """What a history entry says of another event."""

    CREATED = "created"
    DESTROYED = "destroyed"
    REDEEMED = "redeemed"


@dataclass(frozen=True, slots=True)
class Wallet:
    """Mints, and the key that nutzaps are locked to: not the owner's Nostr key. None: it takes no nutzaps."""

    mints: tuple[str, ...]
    key: SecretKey | None


@dataclass(frozen=True, slots=True)
class Token:
    """Unspent proofs at one mint. `destroyed`: ids of the token events that this one replaces."""

    mint: str
    unit: str
    proofs: tuple[Proof, ...]
    destroyed: tuple[str, ...] = ()

    @property
    def amount(self) -> int:
        """What the proofs are worth, in `unit`."""
        return total(self.proofs)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the history. `references`: events by id with what became of them."""

    direction: Direction
    amount: int
    unit: str
    references: tuple[tuple[str, Marker], ...]


def _encrypted(cipher: Cipher, value: object, nonce: bytes) -> str:
    return cipher.encrypt(cipher.pubkey, msgspec.json.encode(value).decode(), nonce)


def _open(event: VerifiedEvent, kind: int, cipher: Cipher) -> object:
    if event.kind != kind or event.pubkey != cipher.pubkey:
        raise InvalidWallet(f"this is no event of kind {kind} by the owner of the wallet")
    try:
        return msgspec.json.decode(cipher.decrypt(cipher.pubkey, event.content))
    except InvalidPayload as error:
        raise InvalidWallet(f"the wallet's event: {error}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidWallet("the wallet's event holds no JSON") from None


def _tags(value: object) -> list[list[str]]:
    if not isinstance(value, list) or not all(
        isinstance(tag, list) and tag and all(isinstance(item, str) for item in tag) for tag in value
    ):
        raise InvalidWallet("the wallet's event holds no array of tags")
    return value


def _mint(url: str) -> str:
    try:
        return normal_mint_url(url)
    except InvalidMintUrl as error:
        raise InvalidWallet(str(error)) from None


def build_wallet(wallet: Wallet, *, cipher: Cipher, nonce: bytes, created_at: int) -> UnsignedEvent:
    """A 17375, to be signed by the wallet's owner."""
    if not 0 < len(wallet.mints) <= MAX_MINTS:
        raise ValueError(f"a wallet has 1 to {MAX_MINTS} mints")
    tags = [["mint", mint] for mint in wallet.mints]
    if wallet.key is not None:
        tags.insert(0, ["privkey", wallet.key.secret_bytes().hex()])
    return UnsignedEvent(WALLET, created_at, (), _encrypted(cipher, tags, nonce))


def parse_wallet(event: VerifiedEvent, *, cipher: Cipher) -> Wallet:
    """The wallet in a 17375. Raises InvalidWallet, which never quotes the key."""
    keys: list[str] = []
    mints: dict[str, None] = {}
    for tag in _tags(_open(event, WALLET, cipher)):
        if tag[0] == "privkey" and len(tag) > 1:
            keys.append(tag[1])
        elif tag[0] == "mint" and len(tag) > 1:
            mints[_mint(tag[1])] = None
    if not 0 < len(mints) <= MAX_MINTS or len(keys) > 1:
        raise InvalidWallet(f"a wallet has 1 to {MAX_MINTS} mints and at most one key")
    try:
        return Wallet(tuple(mints), SecretKey.from_hex(keys[0]) if keys else None)
    except InvalidKey as error:
        raise InvalidWallet(f"the wallet's key: {error}") from None


def build_token(token: Token, *, cipher: Cipher, nonce: bytes, created_at: int) -> UnsignedEvent:
    """A 7375. Raises ValueError for more proofs than an encrypted text holds."""
    value: dict[str, object] = {"mint": token.mint, "unit": token.unit, "proofs": token.proofs}
    if token.destroyed:
        value["del"] = token.destroyed
    return UnsignedEvent(TOKEN, created_at, (), _encrypted(cipher, value, nonce))


def parse_token(event: VerifiedEvent, *, cipher: Cipher) -> Token:
    """The proofs in a 7375. Raises InvalidWallet."""
    value = _open(event, TOKEN, cipher)
    if not isinstance(value, dict):
        raise InvalidWallet("a token event holds a JSON object")
    mint, unit, destroyed = value.get("mint"), value.get("unit", DEFAULT_UNIT), value.get("del") or []
    if not isinstance(mint, str) or not isinstance(unit, str) or not is_unit(unit):
        raise InvalidWallet("a token event names its mint and unit")
    if not isinstance(destroyed, list) or len(destroyed) > MAX_REFERENCES or not all(map(_is_id, destroyed)):
        raise InvalidWallet(f"a token event replaces at most {MAX_REFERENCES} others, named by their ids")
    try:
        return Token(_mint(mint), unit, parse_proofs(value.get("proofs")), tuple(destroyed))
    except InvalidProof as error:
        raise InvalidWallet(f"the token event: {error}") from None


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _HEX64.fullmatch(value) is not None


def build_deletion(ids: Iterable[str], *, created_at: int) -> UnsignedEvent:
    """A NIP-09 deletion of spent token events; its k tag lets wallets find it."""
    tags: list[Tag] = [("e", id_) for id_ in ids]
    return UnsignedEvent(DELETION, created_at, (*tags, ("k", str(TOKEN))), "")


def build_entry(
    entry: Entry, *, cipher: Cipher, nonce: bytes, created_at: int, senders: Sequence[str] = ()
) -> UnsignedEvent:
    """A 7376. References to redeemed nutzaps stand in the open, with their `senders` (hex), for these to see."""
    hidden = [["direction", entry.direction.value], ["amount", str(entry.amount)], ["unit", entry.unit]]
    hidden += [["e", id_, "", mark.value] for id_, mark in entry.references if mark is not Marker.REDEEMED]
    tags: list[Tag] = [("e", id_, "", mark.value) for id_, mark in entry.references if mark is Marker.REDEEMED]
    tags += [("p", sender) for sender in dict.fromkeys(senders)]
    return UnsignedEvent(HISTORY, created_at, tuple(tags), _encrypted(cipher, hidden, nonce))


def parse_entry(event: VerifiedEvent, *, cipher: Cipher) -> Entry:
    """The line of history in a 7376 of ours. Raises InvalidWallet."""
    tags = _tags(_open(event, HISTORY, cipher))
    fields = {tag[0]: tag[1] for tag in tags if len(tag) > 1 and tag[0] != "e"}
    directions = {each.value: each for each in Direction}
    direction, amount, unit = directions.get(fields.get("direction", "")), fields.get("amount", ""), fields.get("unit")
    if direction is None or not _AMOUNT.fullmatch(amount) or int(amount) > MAX_AMOUNT:
        raise InvalidWallet("a history entry has a direction and an amount")
    if unit is not None and not is_unit(unit):
        raise InvalidWallet("the unit of a history entry is a name like sat")
    return Entry(direction, int(amount), unit or DEFAULT_UNIT, _references([*tags, *event.tags]))


def _references(tags: Sequence[Sequence[str]]) -> tuple[tuple[str, Marker], ...]:
    marks = {each.value: each for each in Marker}
    found = [
        (tag[1], marks[tag[3]]) for tag in tags if len(tag) > 3 and tag[0] == "e" and tag[3] in marks and _is_id(tag[1])
    ]
    return tuple(dict.fromkeys(found))[:MAX_REFERENCES]


def redeemed(event: Event) -> tuple[str, ...]:
    """The ids of the nutzaps that a 7376, anybody's, says in the open were redeemed. Raises InvalidWallet."""
    if event.kind != HISTORY:
        raise InvalidWallet(f"a history entry is of kind {HISTORY}, not {event.kind}")
    return tuple(id_ for id_, mark in _references(event.tags) if mark is Marker.REDEEMED)
