"""34216 miner settings: how a miner wants to be paid, named and told (SPEC.md, "Miners' events").

The miner's own signature is the login. The event is addressable: the newest valid one wins, of two with one date that
of the lower id (NIP-01); none counts that is dated more than MAX_AHEAD_S ahead.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nips.errors import InvalidPoolEvent
from nips.nip01 import MAX_SAFE_INTEGER, UnsignedEvent, VerifiedEvent
from nips.pool.content import (
    decode_content,
    encode_content,
    one_tag,
    parse_id,
    read_dict,
    read_int,
    read_str,
    require_kind,
)
from nips.pool.kinds import SETTINGS
from nips.pool.receipt import is_worker_name
from nips.pool.terms import PPM

# How a miner can ask to be paid, in any order. A zap to a wallet that takes none becomes a plain LNURL payment.
METHODS = ("zap", "nutzap", "cashu", "onchain")
# What a miner can ask to be told of.
NOTICES = ("paid", "failed", "destination", "worker", "hashrate", "block")
# A clock that is wrong by more than this would shut its owner out of changing anything for as long.
MAX_AHEAD_S = 900
# What a person reads in a table.
MAX_ALIAS = 64
# Longer ones are no addresses; URLs of mints are the longest that make sense.
MAX_DESTINATION = 512
# A farm of one npub; more than this is a second npub's work.
MAX_WORKERS = 1000
# The private part's ciphertext, base64: some 20 channels and every worker.
MAX_PRIVATE = 40_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """One worker: the name to show, and whether its name in the log is to be a pseudonym."""

    alias: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class SettingsBody:
    """What a miner asks for; what is empty or None is left to the pool.

    `methods`: how to be paid, best first. `lightning`: an address (LUD-16) that replaces the profile's. `onchain`: a
    bitcoin address of the pool's network. `mint`: the URL of the mint for tokens. `minimum_msat`: no payout below this;
    the pool's own minimum still holds. `donation_ppm`: of each row, to the terms' `donate_to`. `workers`: by name.
    `hide_workers`: all names become pseudonyms. `notify`: of NOTICES. `private`: NIP-44 to the zapper's key (SPEC.md).
    """

    methods: tuple[str, ...] = ()
    lightning: str = ""
    onchain: str = ""
    mint: str = ""
    minimum_msat: int = 0
    donation_ppm: int = 0
    hide_workers: bool = False
    workers: Mapping[str, WorkerSettings] = field(default_factory=dict)
    notify: tuple[str, ...] = ()
    private: str = ""

    def hides(self, worker: str) -> bool:
        """Whether the log shall have a pseudonym in the place of this worker's name."""
        named = self.workers.get(worker)
        return self.hide_workers or (named is not None and named.hidden)


@dataclass(frozen=True, slots=True)
class Settings:
    """A 34216 event of a miner for the pool with that key."""

    id: str
    miner: str
    pool: str
    created_at: int
    body: SettingsBody


def build_settings(pool: str, body: SettingsBody, created_at: int) -> UnsignedEvent:
    """The event the miner signs; `pool` is the pool's public key in hex. What is left to the pool is left out."""
    fields: dict[str, Any] = {
        "methods": list(body.methods),
        "lightning": body.lightning,
        "onchain": body.onchain,
        "mint": body.mint,
        "minimum_msat": body.minimum_msat,
        "donation_ppm": body.donation_ppm,
        "hide_workers": body.hide_workers,
        "workers": {
            name: {"alias": worker.alias, "hidden": worker.hidden} for name, worker in sorted(body.workers.items())
        },
        "notify": list(body.notify),
        "private": body.private,
    }
    tags = (("d", pool), ("alt", "A miner's settings at a mining pool"))
    return UnsignedEvent(
        SETTINGS, created_at, tags, encode_content({name: value for name, value in fields.items() if value})
    )


def _words(fields: dict[str, Any], name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """A list of known words, none twice. A word of a later version is passed over: the rest is still meant."""
    values = fields.get(name, [])
    if type(values) is not list or not all(type(value) is str for value in values):
        raise InvalidPoolEvent(f"{name} must be an array of strings")
    found = [value for value in values if value in known]
    if len(found) != len(set(found)):
        raise InvalidPoolEvent(f"{name} has a word twice")
    return tuple(found)


def _text(fields: dict[str, Any], name: str, highest: int) -> str:
    if name not in fields:
        return ""
    value = read_str(fields, name)
    if len(value) > highest or _CONTROL.search(value):
        raise InvalidPoolEvent(f"{name} must be one line of at most {highest} characters")
    return value


def _flag(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if type(value) is not bool:
        raise InvalidPoolEvent(f"{name} must be true or false")
    return value


def _workers(fields: dict[str, Any]) -> dict[str, WorkerSettings]:
    values = read_dict(fields, "workers") if "workers" in fields else {}
    if len(values) > MAX_WORKERS:
        raise InvalidPoolEvent(f"at most {MAX_WORKERS} workers have settings")
    found = {}
    for name, value in values.items():
        if not is_worker_name(name) or type(value) is not dict:
            raise InvalidPoolEvent("workers must map names of workers to objects")
        found[name] = WorkerSettings(_text(value, "alias", MAX_ALIAS), _flag(value, "hidden"))
    return found


def parse_settings(event: VerifiedEvent) -> Settings:
    """Raises InvalidPoolEvent. Whether a destination can be paid is found out when it is."""
    require_kind(event, SETTINGS)
    pool = parse_id(one_tag(event, "d")[1], "the d tag")
    fields = decode_content(event.content)
    body = SettingsBody(
        methods=_words(fields, "methods", METHODS),
        lightning=_text(fields, "lightning", MAX_DESTINATION),
        onchain=_text(fields, "onchain", MAX_DESTINATION),
        mint=_text(fields, "mint", MAX_DESTINATION),
        minimum_msat=read_int(fields, "minimum_msat", 0, MAX_SAFE_INTEGER) if "minimum_msat" in fields else 0,
        donation_ppm=read_int(fields, "donation_ppm", 0, PPM) if "donation_ppm" in fields else 0,
        hide_workers=_flag(fields, "hide_workers"),
        workers=_workers(fields),
        notify=_words(fields, "notify", NOTICES),
        private=_text(fields, "private", MAX_PRIVATE),
    )
    return Settings(event.id, event.pubkey, pool, event.created_at, body)


def newest_settings(events: Iterable[VerifiedEvent], *, miner: str, pool: str, now_s: int) -> Settings | None:
    """The settings in force at `now_s` (Unix s): this miner's newest valid ones for this pool; None without any."""
    newest: Settings | None = None
    for event in events:
        if event.pubkey != miner or event.kind != SETTINGS or event.created_at > now_s + MAX_AHEAD_S:
            continue
        try:
            settings = parse_settings(event)
        except InvalidPoolEvent:
            continue
        if settings.pool == pool and (newest is None or _rank(settings) > _rank(newest)):
            newest = settings
    return newest


def _rank(settings: Settings) -> tuple[int, int]:
    # Of two with one date the lower id wins.
    return settings.created_at, -int(settings.id, 16)
