"""What a miner wants to be told, and where: the words of its settings, and what their private part names."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from nips.pool.receipt import is_worker_name
from nips.pool.settings import MAX_WORKERS

EMAIL: Final = "email"
NTFY: Final = "ntfy"
OFFLINE: Final = "offline"
HASHRATE: Final = "hashrate"
# Each notice goes to every channel; a person reads in fewer places than this.
MAX_CHANNELS: Final = 5
# RFC 5321: 64 octets before the @, 256 for the whole path with its brackets.
MAX_ADDRESS: Final = 254

# What mail servers take unquoted, without what has a meaning in the URL that the address is put into.
_MAIL: Final = re.compile(r"[A-Za-z0-9._+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")
# ntfy: topics are "-_A-Za-z0-9{1,64}".
_TOPIC: Final = re.compile(r"/[A-Za-z0-9_-]{1,64}")
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


class InvalidPrivate(ValueError):
    """The private part of settings breaks its form."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A place besides Nostr. `code`: what the miner says the pool sent there, "" before it came."""

    kind: str
    address: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Private:
    """The private part. `watch`: worker -> of OFFLINE and HASHRATE."""

    channels: tuple[Channel, ...] = ()
    watch: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wishes:
    """A miner's `notify` words and its private part."""

    words: frozenset[str]
    private: Private = field(default_factory=Private)

    @property
    def watches_some(self) -> bool:
        """Whether any worker, or the hashrate, is watched at all."""
        return bool(self.private.watch) or not self.words.isdisjoint({"worker", "hashrate"})

    def watches(self, worker: str) -> bool:
        """Whether this worker's going offline is told: that of those named, or of all when none is."""
        if self.private.watch:
            return OFFLINE in self.private.watch.get(worker, ())
        return "worker" in self.words

    def measures(self, worker: str) -> bool:
        """Whether this worker's hashrate is watched by itself; "" is all of them together."""
        if not worker:
            return "hashrate" in self.words
        return HASHRATE in self.private.watch.get(worker, ())


def is_address(kind: str, address: str) -> bool:
    """Whether anything can be sent there: an e-mail address, or a topic at a public ntfy server as https://host/topic.

    Where the host's name leads is judged when it is asked.
    """
    if len(address) > MAX_ADDRESS or not address.isascii():
        return False
    if kind == EMAIL:
        return _MAIL.fullmatch(address) is not None
    if kind != NTFY:
        return False
    try:
        parts = urlsplit(address)
        plain = f"https://{parts.hostname}{parts.path}" == address
    except ValueError:
        return False
    return plain and _HOST.fullmatch(parts.hostname or "") is not None and _TOPIC.fullmatch(parts.path) is not None


def parse_private(text: str) -> Private:
    """What a decrypted private part says; channels of kinds or addresses nobody here can reach are passed over.

    Raises InvalidPrivate.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidPrivate("it is no JSON") from None
    if not isinstance(fields, dict) or fields.get("v") != 1:
        raise InvalidPrivate('it is no object with "v": 1')
    channels, watch = fields.get("channels", []), fields.get("watch", {})
    if not isinstance(channels, list) or not isinstance(watch, dict) or len(watch) > MAX_WORKERS:
        raise InvalidPrivate("channels is a list, watch an object")
    return Private(_channels(channels), {worker: _events(worker, events) for worker, events in watch.items()})


def _channels(values: list[Any]) -> tuple[Channel, ...]:
    found: dict[tuple[str, str], Channel] = {}
    for value in values:
        if not isinstance(value, list) or len(value) != 3 or not all(isinstance(part, str) for part in value):
            raise InvalidPrivate("a channel is [kind, address, code]")
        kind, address, code = value
        if is_address(kind, address):
            found.setdefault((kind, address), Channel(kind, address, code.strip().upper()))
    return tuple(found.values())[:MAX_CHANNELS]


def _events(worker: str, events: object) -> frozenset[str]:
    if not is_worker_name(worker) or not isinstance(events, list) or not all(isinstance(word, str) for word in events):
        raise InvalidPrivate("watch maps names of workers to lists of words")
    return frozenset(events) & {OFFLINE, HASHRATE}
