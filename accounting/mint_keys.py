"""Keys of Cashu mints as somebody asked for them, and the file that keeps them for audits that ask nobody."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from accounting.ecash_proof import LISTED, MintKeys
from nips.errors import NipError
from nips.nip61 import DEFAULT_UNIT
from nips.nut00 import normal_mint_url
from nips.nut02 import Keyset, parse_keys, parse_keysets

FORM = 1
# A mint that rotates each week for ten years has 500 keysets of 64 keys, 5 KB each.
MAX_FILE = 16 * 1024 * 1024


class InvalidMintKeys(Exception):
    """A file of mints' keys is out of form, or its keys are not those of its keysets' ids."""


@dataclass(frozen=True, slots=True)
class ShownKeyset:
    """A keyset as its mint showed it: `url` in the normal form, keys (33 bytes in hex) by amount."""

    url: str
    keyset: Keyset
    keys: Mapping[int, str]


def mint_keys(shown: Iterable[ShownKeyset]) -> MintKeys:
    """What payouts are compared with: the keysets in sat alone. `shown`: all that each of the mints lists."""
    known: dict[tuple[str, str], Mapping[int, str]] = {}
    for each in shown:
        known[each.url, LISTED] = {}
        if each.keyset.unit == DEFAULT_UNIT:
            known[each.url, each.keyset.id] = each.keys
    return known


def write_mint_keys(shown: Iterable[ShownKeyset]) -> str:
    """The file's text: the mints' own words (NUT-01, NUT-02), by mint."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for each in shown:
        row: dict[str, Any] = {"id": each.keyset.id, "unit": each.keyset.unit, "active": each.keyset.active}
        row["input_fee_ppk"] = each.keyset.fee_ppk
        if each.keyset.final_expiry is not None:
            row["final_expiry"] = each.keyset.final_expiry
        row["keys"] = {str(amount): key for amount, key in sorted(each.keys.items())}
        rows.setdefault(each.url, []).append(row)
    mints = [{"mint": url, "keysets": keysets} for url, keysets in rows.items()]
    return json.dumps({"v": FORM, "mints": mints}, indent=1)


def read_mint_keys(text: str) -> tuple[ShownKeyset, ...]:
    """The keysets of a file, each id computed again from its keys. Raises InvalidMintKeys."""
    try:
        value = json.loads(text) if len(text) <= MAX_FILE else None
    except (ValueError, RecursionError):
        value = None
    mints = value.get("mints") if isinstance(value, dict) and value.get("v") == FORM else None
    if not isinstance(mints, list):
        raise InvalidMintKeys("this is no file of mints' keys")
    shown = []
    for mint in mints:
        if not isinstance(mint, dict) or not isinstance(mint.get("mint"), str):
            raise InvalidMintKeys("a mint has a URL")
        try:
            url = normal_mint_url(mint["mint"])
            keysets = parse_keysets(mint)
            shown += [ShownKeyset(url, keyset, parse_keys(mint, keyset)) for keyset in keysets]
        except NipError as error:
            raise InvalidMintKeys(f"{mint['mint'][:100]}: {error}") from None
    return tuple(shown)
