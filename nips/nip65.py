"""NIP-65: relay lists (kind 10002), where a person writes and where he reads what others say to him.

A list is another's text: a line that makes no sense is passed over, so that one typing error does not hide the rest.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Flag
from urllib.parse import urlsplit

from nips.errors import NipError
from nips.nip01 import Event, Tag, UnsignedEvent

RELAY_LIST = 10002
# strfry refuses longer values of tags that it indexes, and `r` is one.
MAX_URL = 255
# "Clients SHOULD guide users to keep kind:10002 lists small (2-4 relays of each category)": this is twice both.
MAX_RELAYS = 16
# Reading a URL takes time; strfry lets an event have 2,000 tags.
MAX_TAGS = 100

_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\.?")
_IPV6 = re.compile(r"[0-9a-f:.]{2,45}")
_DEFAULT_PORTS = {"ws": 80, "wss": 443}


class InvalidRelayUrl(NipError):
    """A text is not the URL of a relay."""


class InvalidRelayList(NipError):
    """An event is no relay list."""


class Use(Flag):
    """What a relay is for: WRITE, where the author publishes; READ, where he looks for what mentions him."""

    READ = 1
    WRITE = 2


BOTH = Use.READ | Use.WRITE
_MARKERS = {"read": Use.READ, "write": Use.WRITE, "": BOTH}


@dataclass(frozen=True, slots=True)
class RelayList:
    """Relays in the order of the list, each once, with normal URLs."""

    relays: tuple[tuple[str, Use], ...]

    @property
    def read(self) -> tuple[str, ...]:
        """Where to send what tags this person."""
        return tuple(url for url, use in self.relays if Use.READ in use)

    @property
    def write(self) -> tuple[str, ...]:
        """Where to look for what this person publishes."""
        return tuple(url for url, use in self.relays if Use.WRITE in use)


def normal_relay_url(text: str) -> str:
    """A relay's URL in the form in which equal relays are equal text: scheme and host in lower case, no default port,
    no slash alone at the end. A longer path and a query stay as they are. Raises InvalidRelayUrl.
    """
    text = text.strip()
    if not text.isascii() or any(ord(char) <= 32 or ord(char) == 127 for char in text):
        raise InvalidRelayUrl("a relay's URL is ASCII without spaces")
    if len(text) > MAX_URL:
        raise InvalidRelayUrl(f"a relay's URL has at most {MAX_URL} characters")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidRelayUrl("this is not a URL") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise InvalidRelayUrl("a relay's URL starts with wss:// or ws://")
    if "@" in parts.netloc or "#" in text or "\\" in text:
        raise InvalidRelayUrl("a relay's URL carries neither a login nor a fragment")
    if ":" in host:
        if not _IPV6.fullmatch(host):
            raise InvalidRelayUrl("the address of this relay is not one of IPv6")
        host = f"[{host}]"
    elif not _NAME.fullmatch(host) or len(host) > 253:
        raise InvalidRelayUrl("a relay's URL names a host")
    if port == 0:
        raise InvalidRelayUrl("no relay listens on port 0")
    where = host if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"
    path = "" if parts.path == "/" else parts.path
    return f"{parts.scheme}://{where}{path}{'?' + parts.query if parts.query else ''}"


def build_relay_list(relays: Iterable[tuple[str, Use]], *, created_at: int) -> UnsignedEvent:
    """A 10002 of relays, each once. Raises InvalidRelayUrl; ValueError for none or more than MAX_RELAYS of them."""
    uses: dict[str, Use] = {}
    for text, use in relays:
        if not use:
            raise ValueError("a listed relay is for reading, for writing or for both")
        url = normal_relay_url(text)
        uses[url] = uses.get(url, use) | use
    if not 0 < len(uses) <= MAX_RELAYS:
        raise ValueError(f"a relay list has 1 to {MAX_RELAYS} relays, not {len(uses)}")
    tags: list[Tag] = [
        # "If the marker is omitted, the relay is both read and write."
        ("r", url) if use == BOTH else ("r", url, "read" if use == Use.READ else "write")
        for url, use in uses.items()
    ]
    return UnsignedEvent(RELAY_LIST, created_at, tuple(tags), "")


def parse_relay_list(event: Event) -> RelayList:
    """The relays of a 10002: at most MAX_RELAYS out of its first MAX_TAGS tags; what is no relay, or carries a marker
    that NIP-65 does not know, is passed over. The list may be empty. Raises InvalidRelayList for another kind.
    """
    if event.kind != RELAY_LIST:
        raise InvalidRelayList(f"a relay list is of kind {RELAY_LIST}, not {event.kind}")
    uses: dict[str, Use] = {}
    for tag in event.tags[:MAX_TAGS]:
        if tag[0] != "r" or len(tag) < 2:
            continue
        use = _MARKERS.get(tag[2].lower() if len(tag) > 2 else "")
        try:
            url = normal_relay_url(tag[1])
        except InvalidRelayUrl:
            continue
        if use is not None and (url in uses or len(uses) < MAX_RELAYS):
            uses[url] = uses.get(url, use) | use
    return RelayList(tuple(uses.items()))
