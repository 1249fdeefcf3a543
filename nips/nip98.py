"""NIP-98: a signed event in an HTTP request's Authorization header says who asks."""

import base64
import binascii
import hashlib
import hmac

from nips.errors import InvalidEvent, NipError
from nips.nip01 import Tag, UnsignedEvent, VerifiedEvent, decode_event, encode_event, verify

HTTP_AUTH = 27235
SCHEME = "Nostr"
# "The created_at timestamp MUST be within a reasonable time window (suggestion 60 seconds)."
WINDOW_S = 60
# Servers take header lines of 8 KB; an event with a long URL has some 3.
MAX_HEADER = 8192


class InvalidHttpAuth(NipError):
    """An Authorization header does not prove who asks for this."""


def build_http_auth(url: str, method: str, *, created_at: int, body: bytes = b"") -> UnsignedEvent:
    """The event for a request to an absolute URL, query included; a body is bound by its hash."""
    tags: list[Tag] = [("u", url), ("method", method.upper())]
    if body:
        tags.append(("payload", hashlib.sha256(body).hexdigest()))
    return UnsignedEvent(HTTP_AUTH, created_at, tuple(tags), "")


def authorization(event: VerifiedEvent) -> str:
    """The header's value."""
    return f"{SCHEME} {base64.b64encode(encode_event(event)).decode()}"


def check_http_auth(header: str, *, url: str, method: str, now_s: int, body: bytes = b"") -> str:
    """The public key (hex) that asks for this URL by this method, with this body. Raises InvalidHttpAuth.

    A header is good for WINDOW_S seconds and as often as it is sent: what may happen once only needs more.
    """
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != SCHEME.lower() or len(header) > MAX_HEADER:
        raise InvalidHttpAuth(f"the header starts with {SCHEME} and has at most {MAX_HEADER} characters")
    encoded = encoded.strip()
    # The NIP's own example leaves the padding out.
    padded = encoded + "=" * (-len(encoded) % 4)
    try:
        event = verify(decode_event(base64.b64decode(padded, validate=True)))
    except (binascii.Error, ValueError):
        raise InvalidHttpAuth("the header holds no base64") from None
    except InvalidEvent as error:
        raise InvalidHttpAuth(f"the header's event: {error}") from None
    if event.kind != HTTP_AUTH:
        raise InvalidHttpAuth(f"the header's event is of kind {HTTP_AUTH}, not {event.kind}")
    if abs(event.created_at - now_s) > WINDOW_S:
        raise InvalidHttpAuth(f"the header's event is more than {WINDOW_S} seconds off")
    # "The u tag MUST be exactly the same as the absolute request URL (including query parameters)."
    if event.tag_values("u") != (url,):
        raise InvalidHttpAuth("the header's event is for another URL")
    if event.tag_values("method") != (method.upper(),):
        raise InvalidHttpAuth("the header's event is for another method")
    told = event.tag_values("payload")
    # "servers MAY check this": a body that nobody signed for is nobody's.
    if body and (
        len(told) != 1 or not hmac.compare_digest(told[0].encode(), hashlib.sha256(body).hexdigest().encode())
    ):
        raise InvalidHttpAuth("the header's event is for another body")
    return event.pubkey
