"""NIP-42: a client proves to a relay which key it holds, by signing the relay's challenge."""

from urllib.parse import urlsplit

from nips.errors import InvalidEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent

KIND_CLIENT_AUTH = 22242
# "the created_at is close (e.g. within ~10 minutes) of the current time"
MAX_AGE_S = 600


def client_auth(relay: str, challenge: str, now_s: int) -> UnsignedEvent:
    """The answer to a challenge, to be signed with the key that is to be proven."""
    return UnsignedEvent(
        kind=KIND_CLIENT_AUTH,
        created_at=now_s,
        tags=(("relay", relay), ("challenge", challenge)),
        content="",
    )


def check_client_auth(event: VerifiedEvent, *, challenge: str, hosts: frozenset[str], now_s: int) -> str:
    """The public key that the event proves.

    `hosts`: the names under which the relay is reached, lowercase, without port. "For most cases just checking if the
    domain name is correct should be enough."
    Raises InvalidEvent with what is wrong.
    """
    if event.kind != KIND_CLIENT_AUTH:
        raise InvalidEvent(f"an answer to a challenge has kind {KIND_CLIENT_AUTH}, not {event.kind}")
    if abs(event.created_at - now_s) > MAX_AGE_S:
        raise InvalidEvent(f"created_at is more than {MAX_AGE_S} seconds off")
    if event.tag_value("challenge") != challenge:
        raise InvalidEvent("the challenge is not the one this connection was given")
    try:
        host = urlsplit(event.tag_value("relay") or "").hostname
    except ValueError:
        host = None
    if host not in hosts:
        raise InvalidEvent("the relay tag names another relay")
    return event.pubkey
