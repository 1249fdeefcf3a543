"""NIP-61: nutzaps (9321), ecash locked to a key that its receiver names in his 10019, at a mint he names there.

What an observer can tell offline is checked here; the mint's signature by `nips.nut12.check_dleq` with the mint's keys.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from nips.errors import NipError
from nips.keys import is_valid_xonly
from nips.nip01 import Event, Tag, UnsignedEvent, VerifiedEvent
from nips.nip65 import InvalidRelayUrl, normal_relay_url
from nips.nut00 import (
    MAX_PROOFS,
    InvalidMintUrl,
    InvalidProof,
    Proof,
    check_distinct,
    is_unit,
    normal_mint_url,
    parse_proof,
    total,
)
from nips.nut11 import InvalidLock, Lock, parse_secret

NUTZAP_INFO = 10019
NUTZAP = 9321
DEFAULT_UNIT = "sat"
# A person trusts some mints, not all of them; strfry lets an event have 2,000 tags.
MAX_MINTS = 20
MAX_RELAYS = 10
MAX_TAGS = 200
# A line from the sender.
MAX_COMMENT = 1000

_HEX64 = re.compile(r"[0-9a-f]{64}")


class InvalidNutzapInfo(NipError):
    """A 10019 does not say how its author can be nutzapped."""


class InvalidNutzap(NipError):
    """A 9321 is not for its receiver, or its receiver could not redeem it."""


@dataclass(frozen=True, slots=True)
class ListedMint:
    """A mint as its user wrote it; `units` empty means that none were named."""

    url: str
    units: frozenset[str] = frozenset()

    def takes(self, unit: str) -> bool:
        """Whether its user wants that unit of it."""
        return not self.units or unit in self.units


@dataclass(frozen=True, slots=True)
class NutzapInfo:
    """A 10019: `pubkey` (x-only hex) is for locking ecash only, `owner` the person it belongs to."""

    owner: str
    pubkey: str
    mints: tuple[ListedMint, ...]
    relays: tuple[str, ...]

    @property
    def lock_key(self) -> str:
        """The key to lock to: "Clients MUST prefix the public key they P2PK-lock with 02"."""
        return "02" + self.pubkey

    def listed(self, url: str) -> ListedMint | None:
        """The listed mint with that URL, however it is written; None for a mint its user has not named."""
        try:
            normal = normal_mint_url(url)
        except InvalidMintUrl:
            return None
        return next((mint for mint in self.mints if normal_mint_url(mint.url) == normal), None)


@dataclass(frozen=True, slots=True)
class Nutzap:
    """A 9321 that its receiver can redeem, if the mint is honest. `amount` is in `unit`; `lock` is every proof's."""

    id: str
    sender: str
    recipient: str
    mint: ListedMint
    unit: str
    proofs: tuple[Proof, ...]
    amount: int
    lock: Lock
    comment: str
    zapped: str | None


def build_info(*, pubkey: str, mints: Iterable[ListedMint], relays: Iterable[str], created_at: int) -> UnsignedEvent:
    """A 10019. `pubkey` is a wallet's key, not its author's. Raises InvalidMintUrl, InvalidRelayUrl; ValueError."""
    tags: list[Tag] = [("relay", normal_relay_url(relay)) for relay in relays]
    for mint in mints:
        normal_mint_url(mint.url)
        tags.append(("mint", mint.url, *sorted(mint.units)))
    if not any(tag[0] == "mint" for tag in tags) or not is_valid_xonly(pubkey):
        raise ValueError("a nutzap info names a public key and a mint at least")
    tags.append(("pubkey", pubkey))
    return UnsignedEvent(NUTZAP_INFO, created_at, tuple(tags), "")


def parse_info(event: Event) -> NutzapInfo:
    """How the author of a 10019 takes nutzaps; relays and mints that are none are passed over.

    Raises InvalidNutzapInfo, also for one that names its author's own key: "implementations MUST NOT".
    """
    if event.kind != NUTZAP_INFO:
        raise InvalidNutzapInfo(f"a nutzap info is of kind {NUTZAP_INFO}, not {event.kind}")
    keys = event.tag_values("pubkey")
    pubkey = keys[0] if len(keys) == 1 else ""
    # Some write the key as it is locked to, with its 02.
    if len(pubkey) == 66 and pubkey.startswith("02"):
        pubkey = pubkey[2:]
    if not is_valid_xonly(pubkey):
        raise InvalidNutzapInfo("a nutzap info names one public key to lock to")
    if pubkey == event.pubkey:
        raise InvalidNutzapInfo("the nutzap info names its author's own key, which NIP-61 forbids")
    mints: dict[str, ListedMint] = {}
    relays: dict[str, None] = {}
    for tag in event.tags[:MAX_TAGS]:
        try:
            if tag[0] == "mint" and len(tag) > 1:
                units = frozenset(unit.lower() for unit in tag[2:] if is_unit(unit.lower()))
                mints.setdefault(normal_mint_url(tag[1]), ListedMint(tag[1], units))
            elif tag[0] == "relay" and len(tag) > 1:
                relays[normal_relay_url(tag[1])] = None
        except (InvalidMintUrl, InvalidRelayUrl):
            continue
    if not mints:
        raise InvalidNutzapInfo("the nutzap info names no mint")
    return NutzapInfo(event.pubkey, pubkey, tuple(mints.values())[:MAX_MINTS], tuple(relays)[:MAX_RELAYS])


def _check_proofs(proofs: Sequence[Proof], info: NutzapInfo) -> Lock:
    """The lock that all proofs share, if it is the receiver's. Raises InvalidNutzap."""
    if not 0 < len(proofs) <= MAX_PROOFS:
        raise InvalidNutzap(f"a nutzap has 1 to {MAX_PROOFS} proofs, not {len(proofs)}")
    try:
        check_distinct(proofs)
        locks = {parse_secret(proof.secret) for proof in proofs}
    except (InvalidLock, InvalidProof) as error:
        raise InvalidNutzap(f"the nutzap's proofs: {error}") from None
    if len(locks) != 1:
        raise InvalidNutzap("the proofs of the nutzap are locked in different ways")
    lock = locks.pop()
    if lock.pubkey != info.lock_key:
        raise InvalidNutzap("the nutzap is locked to another key than its receiver's 10019 names")
    if any(proof.dleq is None for proof in proofs):
        raise InvalidNutzap(
            "a proof of the nutzap comes without a DLEQ: nobody but the mint could tell what it is worth"
        )
    return lock


def build_nutzap(
    *,
    info: NutzapInfo,
    mint: ListedMint,
    unit: str,
    proofs: Sequence[Proof],
    comment: str,
    created_at: int,
    zapped: tuple[str, int] | None = None,
) -> UnsignedEvent:
    """A 9321 to the owner of `info` at one of its mints; `zapped`: id and kind of an event it is for. It goes to the
    info's relays. Raises InvalidNutzap for proofs its receiver could not redeem.
    """
    if mint not in info.mints or not mint.takes(unit):
        raise InvalidNutzap("the receiver's 10019 does not name that mint with that unit")
    _check_proofs(proofs, info)
    tags: list[Tag] = [("proof", msgspec.json.encode(proof).decode()) for proof in proofs]
    # "`u` is the mint the URL of the mint EXACTLY as specified by the recipient's kind:10019."
    tags += [("unit", unit), ("u", mint.url), ("p", info.owner)]
    if zapped is not None:
        tags += [("e", zapped[0]), ("k", str(zapped[1]))]
    return UnsignedEvent(NUTZAP, created_at, tuple(tags), comment)


def _one(event: Event, name: str) -> str | None:
    values = event.tag_values(name)
    if len(values) > 1:
        raise InvalidNutzap(f"the nutzap has {len(values)} {name} tags")
    return values[0] if values else None


def parse_nutzap(event: VerifiedEvent, info: NutzapInfo) -> Nutzap:
    """What a 9321 brings the owner of `info`, if he can redeem it by his 10019. Raises InvalidNutzap."""
    if event.kind != NUTZAP:
        raise InvalidNutzap(f"a nutzap is of kind {NUTZAP}, not {event.kind}")
    if _one(event, "p") != info.owner:
        raise InvalidNutzap("the nutzap is for somebody else")
    url = _one(event, "u")
    mint = None if url is None else info.listed(url)
    if mint is None:
        raise InvalidNutzap("the nutzap is from a mint that its receiver's 10019 does not name")
    unit = _one(event, "unit") or DEFAULT_UNIT
    if not mint.takes(unit):
        raise InvalidNutzap("the nutzap is in a unit that its receiver's 10019 does not name for that mint")
    texts = event.tag_values("proof")
    if len(texts) > MAX_PROOFS:
        raise InvalidNutzap(f"a nutzap has 1 to {MAX_PROOFS} proofs, not {len(texts)}")
    proofs = tuple(_parse_proof(text) for text in texts)
    lock = _check_proofs(proofs, info)
    zapped = event.tag_value("e")
    return Nutzap(
        id=event.id,
        sender=event.pubkey,
        recipient=info.owner,
        mint=mint,
        unit=unit,
        proofs=proofs,
        amount=total(proofs),
        lock=lock,
        comment=event.content[:MAX_COMMENT],
        zapped=zapped if zapped is not None and _HEX64.fullmatch(zapped) else None,
    )


def _parse_proof(text: str) -> Proof:
    try:
        return parse_proof(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidNutzap("a proof of the nutzap is not JSON") from None
    except InvalidProof as error:
        raise InvalidNutzap(f"a proof of the nutzap: {error}") from None
