"""Who is mining: the user name of `mining.authorize`, `npub1...[.worker]`."""

import re
from typing import NamedTuple
from urllib.parse import unquote

from nips.errors import InvalidKey
from nips.nip19 import parse_pubkey
from nips.pool.receipt import worker_name

# An nprofile with relays stays under this; longer text is not a name.
MAX_USER = 1024

_GET_AN_NPUB = "make one in any Nostr app (Damus, Amethyst, primal.net) and mine as npub1....worker"
_BITCOIN = re.compile(r"(?:bc1|tb1|bcrt1)[0-9a-z]{20,}|[13mn2][1-9A-HJ-NP-Za-km-z]{25,39}", re.IGNORECASE)
_LIGHTNING = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|lnurl1[0-9a-z]+|ln(?:bc|tb|bcrt)[0-9a-z]+", re.IGNORECASE)


class Name(NamedTuple):
    """A miner and one of its workers: the x-only public key in hex, and the name as receipts write it."""

    miner: str
    worker: str


def parse_user(text: str) -> Name:
    """The miner and worker a user name means; %-encoding is undone first. Raises InvalidKey with advice."""
    if len(text) > MAX_USER:
        raise InvalidKey(f"a user name has at most {MAX_USER} characters")
    text = unquote(text).strip()
    if not text:
        raise InvalidKey(f"the user name is empty: this pool pays npubs, {_GET_AN_NPUB}")
    if _LIGHTNING.fullmatch(text):
        raise InvalidKey(
            f"this is a lightning address: put it in your Nostr profile and mine with your npub; {_GET_AN_NPUB}"
        )
    key, _, worker = text.partition(".")
    if _BITCOIN.fullmatch(key):
        raise InvalidKey(f"this is a bitcoin address: this pool pays npubs, {_GET_AN_NPUB}")
    return Name(parse_pubkey(key), worker_name(worker))
