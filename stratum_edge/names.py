"""Who is mining: the user name of `mining.authorize`.

    npub1...[.worker]     nprofile1...[.worker]     64 hex digits[.worker]     name@domain[/worker]     @domain[/worker]

Miners send it %-encoded or not, and some firmware cuts it: stock Avalons at 63 characters, Whatsminers at 127,
NerdMiners at about 80. An npub has exactly 63, so that only the worker is lost; a longer name that was cut is told so.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from nips.errors import InvalidKey
from nips.nip05 import InvalidIdentifier, parse_identifier
from nips.nip19 import parse_pubkey
from nips.pool.receipt import worker_name

# An nprofile with relays stays under this; longer text is not a name.
MAX_USER: Final = 1024
NPUB_LENGTH: Final = 63

GET_AN_NPUB: Final = "make an npub in any Nostr app (Damus, Amethyst, primal.net) and mine as npub1....worker"
_BITCOIN: Final = re.compile(r"(?:bc1|tb1|bcrt1)[0-9a-z]{20,}|[13mn2][1-9A-HJ-NP-Za-km-z]{25,39}", re.IGNORECASE)
_LIGHTNING: Final = re.compile(r"(?:lightning:)?(?:lnurl1|lnbc|lntb|lnbcrt|lno1)[0-9a-z]+", re.IGNORECASE)
# Wherever it stands: as a worker's name it would go into the public log.
_SECRET: Final = re.compile(r"n(?:crypt)?sec1", re.IGNORECASE)
_HALF_AN_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]?\Z")
_KEY_END: Final = re.compile(r"[./]")
_HEX: Final = re.compile(r"[0-9a-fA-F]{32,}")


class Name(NamedTuple):
    """A miner and one of its workers: the x-only public key in hex, and the name as receipts write it."""

    miner: str
    worker: str


class Address(NamedTuple):
    """A miner known by a NIP-05 address still to be resolved (`name@domain`, lower case), and one of its workers."""

    address: str
    worker: str


def parse_login(text: str) -> Name | Address:
    """Whom a user name means; %-encoding is undone first. Raises InvalidKey with advice, which never repeats the text
    but for the length it has.
    """
    if len(text) > MAX_USER:
        raise InvalidKey(f"a user name has at most {MAX_USER} characters")
    text = unquote(_HALF_AN_ESCAPE.sub("", text)).strip()
    if not text:
        raise InvalidKey(f"the user name is empty: this pool pays npubs, {GET_AN_NPUB}")
    if _SECRET.search(text):
        raise InvalidKey(
            "this holds an nsec, a SECRET key, and it has just crossed the network unencrypted: "
            "take it for stolen, make a new key and mine with its npub"
        )
    if text.lower().startswith("nostr:"):
        text = text[len("nostr:") :]
    if "@" in text:
        return _address(text)
    if _LIGHTNING.fullmatch(text.partition(".")[0]):
        raise InvalidKey(
            f"this is a lightning invoice or LNURL: put your lightning address into your Nostr profile; {GET_AN_NPUB}"
        )
    key, *rest = _KEY_END.split(text, maxsplit=1)
    if _BITCOIN.fullmatch(key):
        raise InvalidKey(f"this is a bitcoin address: this pool pays npubs, {GET_AN_NPUB}")
    return Name(_pubkey(key), worker_name("".join(rest)))


def _address(text: str) -> Address:
    """`name@domain/worker`: a slash parts the worker, since names and domains hold dots."""
    address, _, worker = text.partition("/")
    if address.startswith("@"):
        # NIP-05 shows `_@domain` as the domain alone; without the @ it could be any worker's name.
        address = address[1:]
    try:
        identifier = parse_identifier(address)
    except InvalidIdentifier as error:
        raise InvalidKey(
            f"this is no Nostr address: {error}; if it is a lightning address, put it into your Nostr profile; "
            f"{GET_AN_NPUB}"
        ) from None
    return Address(str(identifier), worker_name(worker))


def _pubkey(key: str) -> str:
    """A key in any of its forms; a cut one hears that it was cut. Raises InvalidKey."""
    try:
        return parse_pubkey(key)
    except InvalidKey as error:
        size = len(key)
        if key.lower().startswith("nprofile1"):
            raise InvalidKey(
                f"{error}; it has {size} characters here: miners cut long names (Avalon at {NPUB_LENGTH}), "
                f"use your npub, which has {NPUB_LENGTH}"
            ) from None
        if key.lower().startswith("npub1"):
            if size == NPUB_LENGTH:
                raise
            raise InvalidKey(
                f"an npub has {NPUB_LENGTH} characters, this one {size}: its checksum can't match"
            ) from None
        if _HEX.fullmatch(key) and size != 64:
            raise InvalidKey(
                f"a key in hex has 64 digits, this one {size}: miners cut long names (Avalon at {NPUB_LENGTH}), "
                f"use your npub, which has {NPUB_LENGTH}"
            ) from None
        raise InvalidKey(f"{error}; {GET_AN_NPUB}") from None


def parse_user(text: str) -> Name:
    """As `parse_login`, for who can't resolve a NIP-05 address: raises InvalidKey for one, too."""
    found = parse_login(text)
    if isinstance(found, Address):
        raise InvalidKey(
            f"names at a domain can't be looked up here; if this is your lightning address, put it in your Nostr "
            f"profile; {GET_AN_NPUB}"
        )
    return found
