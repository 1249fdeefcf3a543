"""NIP-46: remote signing. A client sends requests (24133) to a remote signer, which holds the user's key.

Here are the connection texts and the messages of both sides; what a signer does with a request is in nips.nip46_signer.
"""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from nips.errors import InvalidEvent, InvalidKey, NipError
from nips.keys import is_valid_xonly
from nips.nip01 import UnsignedEvent, VerifiedEvent, decode_event, verify
from nips.nip44 import Cipher, InvalidPayload
from nips.nip65 import InvalidRelayUrl, normal_relay_url

NOSTR_CONNECT = 24133
# Three relays with long names, permissions and a picture's address.
MAX_URI = 4096
MAX_RELAYS = 5
# Ids and secrets are short random texts; longer ones would only be kept and sent back at our cost.
MAX_ID = 128
MAX_SECRET = 256
# What a signer says goes into our log and to people: a line, not a page.
MAX_ERROR = 300
# The command with the most parameters, connect, has four.
MAX_PARAMS = 8

_SCHEME = re.compile(r"(bunker|nostrconnect)://", re.IGNORECASE)
_PERMISSION = re.compile(r"[a-z0-9_]{1,40}(:[0-9]{1,5})?")


class InvalidConnect(NipError):
    """A text is no bunker:// or nostrconnect:// URI. It is never quoted, since it may hold a secret."""


class InvalidRemote(NipError):
    """An event is no message of NIP-46, or not the one waited for, or its result is not what was asked for."""


class RemoteRefused(NipError):
    """The remote signer answered with an error."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the remote signer refused: {self.reason}"


class AuthChallenge(NipError):
    """The remote signer wants its user to open `url`; the real answer comes later, under the same id."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url

    def __str__(self) -> str:
        return f"the remote signer asks its user to open {self.url}"


class Method(enum.Enum):
    """What can be asked. NIP-04 is deprecated and not among it."""

    CONNECT = "connect"
    GET_PUBLIC_KEY = "get_public_key"
    SIGN_EVENT = "sign_event"
    NIP44_ENCRYPT = "nip44_encrypt"
    NIP44_DECRYPT = "nip44_decrypt"
    PING = "ping"
    SWITCH_RELAYS = "switch_relays"
    LOGOUT = "logout"


@dataclass(frozen=True, slots=True)
class Bunker:
    """bunker://: where a remote signer listens, and a secret (used once) that lets a client in."""

    signer: str
    relays: tuple[str, ...]
    secret: str | None

    def __repr__(self) -> str:
        return f"Bunker(signer={self.signer}, relays={self.relays})"

    def uri(self) -> str:
        """The token as text: a secret when it holds one."""
        query = [("relay", relay) for relay in self.relays]
        query += [("secret", self.secret)] if self.secret else []
        return f"bunker://{self.signer}?{urlencode(query, quote_via=quote, safe='')}"


@dataclass(frozen=True, slots=True)
class NostrConnect:
    """nostrconnect://: where a client listens for a remote signer, which has to repeat the secret."""

    client: str
    relays: tuple[str, ...]
    secret: str
    permissions: tuple[str, ...] = ()
    name: str | None = None

    def __repr__(self) -> str:
        return f"NostrConnect(client={self.client}, relays={self.relays})"

    def uri(self) -> str:
        """The token as text: a secret."""
        query = [("relay", relay) for relay in self.relays]
        query.append(("secret", self.secret))
        query += [("perms", ",".join(self.permissions))] if self.permissions else []
        query += [("name", self.name)] if self.name else []
        return f"nostrconnect://{self.client}?{urlencode(query, quote_via=quote, safe='')}"


def _parse_uri(text: str, scheme: str) -> tuple[str, tuple[str, ...], dict[str, str]]:
    """Key, relays and the other fields (the first of each name) of a token."""
    text = text.strip()
    found = _SCHEME.match(text)
    if found is None or found[1].lower() != scheme or len(text) > MAX_URI:
        raise InvalidConnect(f"this starts with {scheme}:// and has at most {MAX_URI} characters")
    pubkey, _, query = text[found.end() :].partition("?")
    pubkey = pubkey.rstrip("/").lower()
    if not is_valid_xonly(pubkey):
        raise InvalidConnect(f"a {scheme}:// names a public key in hex before its question mark")
    fields: dict[str, str] = {}
    relays: dict[str, None] = {}
    for name, value in parse_qsl(query):
        if name == "relay":
            try:
                relays[normal_relay_url(value)] = None
            except InvalidRelayUrl as error:
                raise InvalidConnect(f"the token: {error}") from None
        else:
            fields.setdefault(name, value)
    if not 0 < len(relays) <= MAX_RELAYS:
        raise InvalidConnect(f"a {scheme}:// names 1 to {MAX_RELAYS} relays, not {len(relays)}")
    if len(fields.get("secret", "")) > MAX_SECRET:
        raise InvalidConnect(f"a secret has at most {MAX_SECRET} characters")
    return pubkey, tuple(relays), fields


def parse_bunker(text: str) -> Bunker:
    """The token a remote signer gave out. Raises InvalidConnect."""
    signer, relays, fields = _parse_uri(text, "bunker")
    return Bunker(signer, relays, fields.get("secret") or None)


def parse_nostrconnect(text: str) -> NostrConnect:
    """The token a client gave out. Raises InvalidConnect."""
    client, relays, fields = _parse_uri(text, "nostrconnect")
    if not fields.get("secret"):
        raise InvalidConnect("a nostrconnect:// has a secret")
    return NostrConnect(
        client, relays, fields["secret"], parse_permissions(fields.get("perms", "")), fields.get("name") or None
    )


def parse_permissions(text: str) -> tuple[str, ...]:
    """The permissions of a comma-separated list (`nip44_encrypt,sign_event:4`); what is none is passed over."""
    return tuple(dict.fromkeys(each for each in text[:MAX_URI].split(",") if _PERMISSION.fullmatch(each)))


class Request(msgspec.Struct, frozen=True):
    """A command to a remote signer. `method` is text, since a signer has to answer to unknown ones too."""

    id: str
    method: str
    params: tuple[str, ...]


class Response(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer: an error, when there is one, else the result."""

    id: str
    result: str | None = None
    error: str | None = None


def _event(value: Request | Response, *, to: str, cipher: Cipher, nonce: bytes, created_at: int) -> UnsignedEvent:
    content = cipher.encrypt(to, msgspec.json.encode(value).decode(), nonce)
    return UnsignedEvent(NOSTR_CONNECT, created_at, (("p", to),), content)


_Message = TypeVar("_Message", Request, Response)


def _open(event: VerifiedEvent, cipher: Cipher, form: type[_Message]) -> _Message:
    if event.kind != NOSTR_CONNECT or event.tag_value("p") != cipher.pubkey:
        raise InvalidRemote(f"a message of remote signing is of kind {NOSTR_CONNECT} and names us in its p tag")
    try:
        message = msgspec.json.decode(cipher.decrypt(event.pubkey, event.content), type=form)
    except (InvalidPayload, InvalidKey) as error:
        raise InvalidRemote(f"the message: {error}") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidRemote(f"the message is not of NIP-46's form: {error}") from None
    if not 0 < len(message.id) <= MAX_ID:
        raise InvalidRemote(f"a message has an id of 1 to {MAX_ID} characters")
    return message


def build_request(request: Request, *, signer: str, cipher: Cipher, nonce: bytes, created_at: int) -> UnsignedEvent:
    """A 24133 of the client for the remote signer (its own key, which need not be the user's)."""
    return _event(request, to=signer, cipher=cipher, nonce=nonce, created_at=created_at)


def parse_request(event: VerifiedEvent, *, cipher: Cipher) -> Request:
    """What a client asks a remote signer. Raises InvalidRemote."""
    request = _open(event, cipher, Request)
    if len(request.params) > MAX_PARAMS:
        raise InvalidRemote(f"a request has at most {MAX_PARAMS} parameters")
    return request


def build_response(response: Response, *, client: str, cipher: Cipher, nonce: bytes, created_at: int) -> UnsignedEvent:
    """A 24133 of the remote signer for a client."""
    return _event(response, to=client, cipher=cipher, nonce=nonce, created_at=created_at)


def parse_response(event: VerifiedEvent, *, signer: str, cipher: Cipher) -> Response:
    """What the remote signer `signer` answers; whose request it is for says its id. Raises InvalidRemote."""
    if event.pubkey != signer:
        raise InvalidRemote("this answer is not by the remote signer that was asked")
    return _open(event, cipher, Response)


def parse_first_response(event: VerifiedEvent, *, offered: NostrConnect, cipher: Cipher) -> str:
    """The key of the remote signer that took a nostrconnect:// up. Raises InvalidRemote for whoever does not know its
    secret: "client MUST validate the secret returned by connect response".
    """
    if _open(event, cipher, Response).result != offered.secret:
        raise InvalidRemote("whoever answered does not know the secret")
    return event.pubkey


def result_of(response: Response) -> str:
    """The result. Raises AuthChallenge, RemoteRefused; InvalidRemote when there is neither."""
    if response.result == "auth_url":
        url = response.error or ""
        if not url.startswith("https://") or len(url) > MAX_URI or not url.isprintable():
            raise InvalidRemote("the remote signer's address for its user is not https")
        raise AuthChallenge(url)
    if response.error:
        line = "".join(char if char.isprintable() else " " for char in response.error[:MAX_ERROR])
        raise RemoteRefused(line)
    if response.result is None:
        raise InvalidRemote("an answer has a result or an error")
    return response.result


def connect(id_: str, bunker: Bunker, *, permissions: Sequence[str] = (), name: str | None = None) -> Request:
    """A client's first request to a bunker. The result is checked by `check_connected`."""
    params = [bunker.signer, bunker.secret or "", ",".join(permissions)]
    if name is not None:
        params.append(msgspec.json.encode({"name": name}).decode())
    return Request(id_, Method.CONNECT.value, tuple(params))


def check_connected(result: str, bunker: Bunker) -> None:
    """Whether connect's result lets us in. Raises InvalidRemote."""
    if result != "ack" and (bunker.secret is None or result != bunker.secret):
        raise InvalidRemote("the remote signer's answer to connect is neither ack nor the secret")


def sign_event(id_: str, unsigned: UnsignedEvent) -> Request:
    """A request to sign. The result is checked by `check_signed`."""
    return Request(id_, Method.SIGN_EVENT.value, (msgspec.json.encode(unsigned).decode(),))


def check_signed(result: str, *, unsigned: UnsignedEvent, user: str) -> VerifiedEvent:
    """The signed event, if it is the one that was to be signed, by `user` (hex). Raises InvalidRemote."""
    try:
        event = verify(decode_event(result))
    except InvalidEvent as error:
        raise InvalidRemote(f"what the remote signer signed: {error}") from None
    asked = (unsigned.kind, unsigned.created_at, tuple(map(tuple, unsigned.tags)), unsigned.content)
    if event.pubkey != user or (event.kind, event.created_at, event.tags, event.content) != asked:
        raise InvalidRemote("the remote signer signed something else, or with another key")
    return event


def check_pubkey(result: str) -> str:
    """get_public_key's result: the user's key in hex. Raises InvalidRemote."""
    if not is_valid_xonly(result):
        raise InvalidRemote("what the remote signer gives for its user is no public key")
    return result
