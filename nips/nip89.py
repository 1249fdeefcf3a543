"""NIP-89: which application shows a kind of event (31990), and who recommends it (31989)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nips.errors import NipError
from nips.nip01 import MAX_KIND, Event, Tag, UnsignedEvent
from nips.nip24 import InvalidMetadata, Metadata, parse_metadata_text

HANDLER = 31990
RECOMMENDATION = 31989
# "`bech32` in a URL MUST be replaced by clients with the NIP-19-encoded entity"; the NIP's examples put it in brackets.
PLACEHOLDER = "<bech32>"
PLATFORMS = frozenset({"web", "ios", "android"})
# Our own protocol has some twenty kinds; strfry lets an event have 2,000 tags.
MAX_TAGS = 200
MAX_URL = 2048

_KIND = re.compile(r"0|[1-9][0-9]{0,4}")
_ADDRESS = re.compile(r"31990:([0-9a-f]{64}):(.*)", re.DOTALL)


class InvalidHandler(NipError):
    """An event is no handler information, or no recommendation of one."""


@dataclass(frozen=True, slots=True)
class Handler:
    """An application: `kinds` it shows and, by platform and NIP-19 entity ("" for any other), URL templates."""

    identifier: str
    kinds: frozenset[int]
    urls: Mapping[tuple[str, str], str]
    metadata: Metadata | None

    def url(self, bech32: str, *, platform: str = "web") -> str | None:
        """Where the application shows an npub, nevent, naddr, ...; None if it does not."""
        entity = bech32.partition("1")[0]
        template = self.urls.get((platform, entity)) or self.urls.get((platform, ""))
        return None if template is None else template.replace(PLACEHOLDER, bech32)


@dataclass(frozen=True, slots=True)
class Recommended:
    """A handler somebody recommends: its author and `d`, a relay to find it at, the platform it is meant for."""

    pubkey: str
    identifier: str
    relay: str | None
    platform: str | None

    @property
    def address(self) -> str:
        """`31990:pubkey:d`."""
        return f"{HANDLER}:{self.pubkey}:{self.identifier}"


def build_handler(
    *,
    identifier: str,
    kinds: Iterable[int],
    urls: Mapping[tuple[str, str], str],
    created_at: int,
    metadata: Metadata | None = None,
) -> UnsignedEvent:
    """A 31990; `urls` as in Handler. Without metadata the author's own profile stands for the application."""
    for (platform, _), template in urls.items():
        if platform not in PLATFORMS or PLACEHOLDER not in template:
            raise ValueError(f"a handler's URL is for web, ios or android and has {PLACEHOLDER} in it")
    tags: list[Tag] = [("d", identifier)]
    tags += [("k", str(kind)) for kind in sorted(set(kinds))]
    tags += [(platform, url, entity) if entity else (platform, url) for (platform, entity), url in urls.items()]
    return UnsignedEvent(HANDLER, created_at, tuple(tags), "" if metadata is None else metadata.to_text())


def parse_handler(event: Event) -> Handler:
    """The application in a 31990; tags that make no sense are passed over, and so is metadata that is none.

    Raises InvalidHandler.
    """
    if event.kind != HANDLER:
        raise InvalidHandler(f"handler information is of kind {HANDLER}, not {event.kind}")
    identifier = event.tag_value("d")
    if identifier is None:
        raise InvalidHandler("handler information has a d tag")
    kinds: set[int] = set()
    urls: dict[tuple[str, str], str] = {}
    for tag in event.tags[:MAX_TAGS]:
        if len(tag) < 2:
            continue
        if tag[0] == "k" and _KIND.fullmatch(tag[1]) and int(tag[1]) <= MAX_KIND:
            kinds.add(int(tag[1]))
        elif tag[0] in PLATFORMS and PLACEHOLDER in tag[1] and len(tag[1]) <= MAX_URL:
            urls.setdefault((tag[0], tag[2] if len(tag) > 2 else ""), tag[1])
    try:
        metadata = parse_metadata_text(event.content) if event.content else None
    except InvalidMetadata:
        metadata = None
    return Handler(identifier, frozenset(kinds), urls, metadata)


def build_recommendation(kind: int, handlers: Iterable[Recommended], *, created_at: int) -> UnsignedEvent:
    """A 31989: with what its author shows events of that kind."""
    tags: list[Tag] = [("d", str(kind))]
    tags += [("a", each.address, each.relay or "", each.platform or "") for each in handlers]
    return UnsignedEvent(RECOMMENDATION, created_at, tuple(tags), "")


def parse_recommendation(event: Event) -> tuple[int, tuple[Recommended, ...]]:
    """The kind and the handlers of a 31989; what names no handler is passed over. Raises InvalidHandler."""
    if event.kind != RECOMMENDATION:
        raise InvalidHandler(f"a recommendation is of kind {RECOMMENDATION}, not {event.kind}")
    kind = event.tag_value("d") or ""
    if not _KIND.fullmatch(kind) or int(kind) > MAX_KIND:
        raise InvalidHandler("a recommendation names the kind it is for in its d tag")
    found = []
    for tag in event.tags[:MAX_TAGS]:
        match = _ADDRESS.fullmatch(tag[1]) if tag[0] == "a" and len(tag) > 1 else None
        if match:
            relay, platform = (*tag[2:4], "", "")[:2]
            found.append(Recommended(match[1], match[2], relay or None, platform or None))
    return int(kind), tuple(found)
