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
EVENT_STREAM: Final = {
    **PUBLIC,
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}
# A number and a SHA-256 or key in hex.
CURSOR: Final = r"^(0|[1-9][0-9]{0,15})-[0-9a-f]{64}$"
# A field that says when an answer was made is no change of it; nor is how long ago that makes something else.
_MADE_AT: Final = "ms"
_AGES: Final = frozenset({_MADE_AT, "age_ms", "quiet_ms"})
_HEX_KEY: Final = re.compile("[0-9a-fA-F]+")
_KEY_DIGITS: Final = 64


class Refused(Exception):
    """A question the API answers with an error: the status, and the reason for the asker to read. `retry_s`: when it
    may be asked again, seconds; 0 where that changes nothing.
    """

    def __init__(self, status: int, reason: str, retry_s: int = 0) -> None:
        super().__init__(status, reason, retry_s)
        self.status = status
        self.reason = reason
        self.retry_s = retry_s


def answer(
    request: Request, value: Any, status: int = 200, headers: Mapping[str, str] | None = None, *, ages: bool = False
) -> Response:
    """`value` as JSON with a weak ETag of what it says; 304 if the asker has that. `ages`: it has ages within."""
    body = msgspec.json.encode(value)
    said = body
    if ages:
        said = msgspec.json.encode(_ageless(value))
    elif isinstance(value, dict) and _MADE_AT in value:
        said = msgspec.json.encode({name: each for name, each in value.items() if name != _MADE_AT})
    etag = f'W/"{hashlib.sha256(said).hexdigest()[:32]}"'
    answered = {**PUBLIC, "etag": etag, **(headers or {})}
    # RFC 9110, 13.1.2: compared weakly, since a proxy on the way may have taken the mark off.
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if status == 200 and (etag.removeprefix("W/") in known or "*" in known):
        return Response(status_code=304, headers=answered)
    return Response(body, status_code=status, media_type="application/json", headers=answered)


def _ageless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ageless(each) for name, each in value.items() if name not in _AGES}
    return [_ageless(each) for each in value] if isinstance(value, list) else value


def refusal(request: Request, reason: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An error: `{"error": reason}`."""
    return answer(request, {"error": reason}, status, headers)


def headless(response: Response) -> Response:
    """The answer to a HEAD whose body is not made: of what length it would be is left unsaid (RFC 9110, 8.6)."""
    del response.headers["content-length"]
    return response


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
        if _HEX_KEY.fullmatch(npub):
            wrong = f"has {len(npub)}" if len(npub) != _KEY_DIGITS else "is none: no point of the curve has this x"
            raise Refused(400, f"a key in hex has {_KEY_DIGITS} digits, this {wrong}") from None
        raise Refused(400, f"{error}; a miner is named by its npub or {_KEY_DIGITS} hex digits") from None
