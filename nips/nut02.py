"""Cashu, NUT-01 and NUT-02: a mint's keysets, whether their keys are what their ids say, and the fees of spending."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nips.errors import NipError
from nips.nut00 import MAX_AMOUNT, Proof, is_unit

# Mints have 64 keys, one for each power of two.
MAX_KEYS = 256
# A mint that rotates each week for ten years has some 500.
MAX_KEYSETS = 1000
# Thousandths of a unit for each proof spent: none takes more than a whole unit.
MAX_FEE_PPK = 100_000
_POINT = re.compile(r"0[23][0-9a-f]{64}")
_ID = re.compile(r"00[0-9a-f]{14}|01[0-9a-f]{64}")


class InvalidKeyset(NipError):
    """What a mint says of its keys is out of form, or does not fit the keyset's id."""


@dataclass(frozen=True, slots=True)
class Keyset:
    """A keyset without its keys. `fee_ppk`: what spending each of its proofs costs, in thousandths of `unit`."""

    id: str
    unit: str
    active: bool
    fee_ppk: int
    final_expiry: int | None = None


def parse_keysets(value: object) -> tuple[Keyset, ...]:
    """The answer to GET /v1/keysets; those of forms we do not know are passed over. Raises InvalidKeyset."""
    rows = value.get("keysets") if isinstance(value, dict) else None
    if not isinstance(rows, list) or len(rows) > MAX_KEYSETS:
        raise InvalidKeyset(f"a mint lists at most {MAX_KEYSETS} keysets")
    return tuple(keyset for keyset in (_parse_keyset(row) for row in rows) if keyset is not None)


def _parse_keyset(row: Any) -> Keyset | None:
    if not isinstance(row, dict):
        return None
    identity, unit, active = row.get("id"), row.get("unit"), row.get("active")
    fee, expiry = row.get("input_fee_ppk") or 0, row.get("final_expiry")
    if not isinstance(identity, str) or not _ID.fullmatch(identity) or not isinstance(unit, str) or not is_unit(unit):
        return None
    if type(active) is not bool or type(fee) is not int or not 0 <= fee <= MAX_FEE_PPK:
        raise InvalidKeyset("a keyset is active or not, and its fee is a small whole number")
    return Keyset(identity, unit, active, fee, expiry if type(expiry) is int else None)


def parse_keys(value: object, keyset: Keyset) -> dict[int, str]:
    """The keys (33 bytes in hex, by amount) out of the answer to GET /v1/keys/{id}, if they are the keyset's own: its
    id is their hash. Raises InvalidKeyset.
    """
    rows = value.get("keysets") if isinstance(value, dict) else None
    found = (
        [row for row in rows if isinstance(row, dict) and row.get("id") == keyset.id] if isinstance(rows, list) else []
    )
    keys = found[0].get("keys") if len(found) == 1 else None
    if not isinstance(keys, dict) or not 0 < len(keys) <= MAX_KEYS:
        raise InvalidKeyset(f"the mint shows no keys of keyset {keyset.id}")
    by_amount: dict[int, str] = {}
    for amount, key in keys.items():
        if not isinstance(amount, str) or not re.fullmatch(r"[1-9][0-9]{0,19}", amount):
            raise InvalidKeyset("a key stands for a whole amount")
        if not isinstance(key, str) or not _POINT.fullmatch(key):
            raise InvalidKeyset("a mint's key is a compressed point in hex")
        if int(amount) <= MAX_AMOUNT:
            by_amount[int(amount)] = key
    if keyset_id(by_amount, keyset) != keyset.id:
        raise InvalidKeyset(f"the keys that the mint shows are not those of keyset {keyset.id}")
    return by_amount


def keyset_id(keys: Mapping[int, str], keyset: Keyset) -> str:
    """The id that these keys make, of the version that the keyset's own id has."""
    ordered = sorted(keys.items())
    if keyset.id.startswith("00"):
        return "00" + hashlib.sha256(b"".join(bytes.fromhex(key) for _, key in ordered)).hexdigest()[:14]
    text = ",".join(f"{amount}:{key}" for amount, key in ordered) + f"|unit:{keyset.unit}"
    if keyset.fee_ppk:
        text += f"|input_fee_ppk:{keyset.fee_ppk}"
    if keyset.final_expiry is not None:
        text += f"|final_expiry:{keyset.final_expiry}"
    return "01" + hashlib.sha256(text.encode()).hexdigest()


def input_fee(proofs: Iterable[Proof], keysets: Mapping[str, Keyset]) -> int:
    """What the mint keeps of these proofs when they are spent, in their unit: the sum, rounded up once."""
    return -(-sum(keysets[proof.id].fee_ppk for proof in proofs) // 1000)


def split(amount: int, amounts: Iterable[int]) -> list[int]:
    """An amount in as few of the keyset's amounts as possible, smallest first. Raises InvalidKeyset."""
    parts: list[int] = []
    rest = amount
    for size in sorted(amounts, reverse=True):
        count, rest = divmod(rest, size)
        parts += [size] * count
    if rest:
        raise InvalidKeyset(f"the mint has no keys for an amount of {amount}")
    return parts[::-1]
