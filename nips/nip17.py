"""NIP-17: private messages (kind 14) in gift wraps, and where a person wants to get them (kind 10050)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nips.errors import NipError
from nips.nip01 import Event, Tag, UnsignedEvent
from nips.nip59 import Rumor, make_rumor
from nips.nip65 import InvalidRelayUrl, normal_relay_url

CHAT_MESSAGE = 14
DM_RELAYS = 10050
# "Group chats with more than 10 participants should find a more suitable messaging scheme."
MAX_RECIPIENTS = 10
# "Clients SHOULD guide users to keep kind:10050 lists small (1-3 relays)": we write that few and read some more.
MAX_RELAYS = 3
MAX_RELAYS_READ = 6
# Reading a URL takes time; strfry lets an event have 2,000 tags.
MAX_TAGS = 100
# A title stands in one line.
MAX_SUBJECT = 200

_HEX64 = re.compile(r"[0-9a-f]{64}")


class InvalidChat(NipError):
    """A rumor is no chat message, or an event no list of relays for messages."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message out of its rumor. `reply_to` is the id of the message that it answers."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    text: str
    created_at: int
    subject: str | None
    reply_to: str | None


def build_chat(
    *,
    sender: str,
    recipients: Sequence[str],
    text: str,
    created_at: int,
    subject: str | None = None,
    reply_to: str | None = None,
) -> Rumor:
    """The rumor of a message, to be wrapped for every recipient and, who wants a copy, for the sender."""
    if not 0 < len(recipients) <= MAX_RECIPIENTS:
        raise ValueError(f"a message has 1 to {MAX_RECIPIENTS} recipients, not {len(recipients)}")
    tags: list[Tag] = [("p", recipient) for recipient in recipients]
    if reply_to is not None:
        tags.append(("e", reply_to))
    if subject is not None:
        tags.append(("subject", subject))
    return make_rumor(sender, UnsignedEvent(CHAT_MESSAGE, created_at, tuple(tags), text))


def parse_chat(rumor: Rumor) -> ChatMessage:
    """The message in a rumor that `nips.nip59.unwrap` gave. Raises InvalidChat for other kinds and for a crowd."""
    if rumor.kind != CHAT_MESSAGE:
        raise InvalidChat(f"a chat message is of kind {CHAT_MESSAGE}, not {rumor.kind}")
    recipients = tuple(dict.fromkeys(_values(rumor.tags, "p")))
    if not 0 < len(recipients) <= MAX_RECIPIENTS:
        raise InvalidChat(f"a message has 1 to {MAX_RECIPIENTS} recipients, not {len(recipients)}")
    parents = _values(rumor.tags, "e")
    subjects = [tag[1][:MAX_SUBJECT] for tag in rumor.tags if tag[0] == "subject" and len(tag) > 1]
    return ChatMessage(
        id=rumor.id,
        sender=rumor.pubkey,
        recipients=recipients,
        text=rumor.content,
        created_at=rumor.created_at,
        subject=subjects[0] if subjects else None,
        reply_to=parents[0] if parents else None,
    )


def _values(tags: Iterable[Tag], name: str) -> list[str]:
    return [tag[1] for tag in tags if tag[0] == name and len(tag) > 1 and _HEX64.fullmatch(tag[1])]


def build_dm_relays(urls: Iterable[str], *, created_at: int) -> UnsignedEvent:
    """A 10050: where its author looks for gift wraps. Raises InvalidRelayUrl; ValueError for none or too many."""
    relays = tuple(dict.fromkeys(normal_relay_url(url) for url in urls))
    if not 0 < len(relays) <= MAX_RELAYS:
        raise ValueError(f"a list of relays for messages has 1 to {MAX_RELAYS} of them, not {len(relays)}")
    return UnsignedEvent(DM_RELAYS, created_at, tuple(("relay", relay) for relay in relays), "")


def parse_dm_relays(event: Event) -> tuple[str, ...]:
    """The first MAX_RELAYS_READ relays of a 10050, with normal URLs; what is no relay is passed over. None at all:
    "the user is not ready to receive messages and clients shouldn't try". Raises InvalidChat for another kind.
    """
    if event.kind != DM_RELAYS:
        raise InvalidChat(f"a list of relays for messages is of kind {DM_RELAYS}, not {event.kind}")
    relays: dict[str, None] = {}
    for tag in event.tags[:MAX_TAGS]:
        if tag[0] == "relay" and len(tag) > 1:
            try:
                relays[normal_relay_url(tag[1])] = None
            except InvalidRelayUrl:
                continue
    return tuple(relays)[:MAX_RELAYS_READ]
