"""How the API answers: JSON with an ETag, one shape of errors, cursors."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from client_web.ports import Page, Place
from nips.errors import InvalidKey
from nips.nip19 import parse_pubkey

PUBLIC: Final = {"access-control-allow-origin": "*", "access-control-expose-headers": "ETag, Retry-After"}
# A number and a SHA-256 or key in hex.
CURSOR: Final = r"^(0|[1-9][0-9]{0,15})-[0-9a-f]{64}$"
# A field that says when an answer was made is no change of it.
_MADE_AT: Final = "ms"


class Refused(Exception):
    """A question the API answers with an error: the status, and the reason for the asker to read."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


def answer(request: Request, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as JSON with a weak ETag of what it says; 304 if the asker has that."""
    body = msgspec.json.encode(value)
    said = body
    if isinstance(value, dict) and _MADE_AT in value:
        said = msgspec.json.encode({name: each for name, each in value.items() if name != _MADE_AT})
    etag = f'W/"{hashlib.sha256(said).hexdigest()[:32]}"'
    answered = {**PUBLIC, "etag": etag, **(headers or {})}
    # RFC 9110, 13.1.2: compared weakly, since a proxy on the way may have taken the mark off.
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if status == 200 and (etag.removeprefix("W/") in known or "*" in known):
        return Response(status_code=304, headers=answered)
    return Response(body, status_code=status, media_type="application/json", headers=answered)


def refusal(request: Request, reason: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An error: `{"error": reason}`."""
    return answer(request, {"error": reason}, status, headers)


def page(request: Request, found: Page) -> Response:
    """A page of a list, with the cursor of the next one."""
    cursor = None if found.next is None else f"{found.next[0]}-{found.next[1]}"
    return answer(request, {"items": found.items, "next": cursor})


def read_cursor(cursor: str | None) -> Place | None:
    """The place a cursor names. Raises Refused."""
    if cursor is None:
        return None
    if not re.fullmatch(CURSOR, cursor):
        raise Refused(400, "a cursor is the `next` of an earlier answer")
    number, _, name = cursor.partition("-")
    return int(number), name


def read_key(npub: str) -> str:
    """A miner's key in hex, of an npub, nprofile or hex. Raises Refused."""
    try:
        return parse_pubkey(npub)
    except InvalidKey as error:
        raise Refused(400, str(error)) from None
