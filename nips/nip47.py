"""NIP-47, Nostr Wallet Connect: the connection, and the events between a client and its wallet service.

What is asked and answered (pay_invoice, ...) is in nips.nip47_commands. Only NIP-44 is spoken: NIP-04 is deprecated,
its payloads are not authenticated, and who would read old wallets would have to write to them in it too.
"""

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from nips.errors import InvalidKey, NipError
from nips.keys import SecretKey, is_valid_xonly
from nips.nip01 import Event, Tag, UnsignedEvent, VerifiedEvent
from nips.nip44 import Cipher, InvalidPayload
from nips.nip65 import InvalidRelayUrl, normal_relay_url

INFO = 13194
REQUEST = 23194
RESPONSE = 23195
NOTIFICATION = 23197
NIP04_NOTIFICATION = 23196
NIP44 = "nip44_v2"
# A connection with two or three relays is common; each costs a connection kept open.
MAX_RELAYS = 5
# Three relays with long names and a key.
MAX_URI = 2048
# The names of some hundred methods.
MAX_WORDS = 2048
# What a wallet says goes into our log and to people: a line, not a page.
MAX_MESSAGE = 300

_HEX64 = re.compile(r"[0-9a-f]{64}")
_SCHEME = re.compile(r"nostr\+?walletconnect:(?://)?", re.IGNORECASE)
_WORD = re.compile(r"[a-z0-9_]{1,40}")


class InvalidConnection(NipError):
    """A text is no connection URI. It is never quoted, since it holds a secret."""


class InvalidNwc(NipError):
    """An event is no message of NIP-47, or not the one waited for."""


class ErrorCode(enum.Enum):
    """Why a wallet has not done what it was asked."""

    RATE_LIMITED = "RATE_LIMITED"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
    INSUFFICIENT_BALANCE = "INSUFFICIENT_BALANCE"
    PAYMENT_FAILED = "PAYMENT_FAILED"
    NOT_FOUND = "NOT_FOUND"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    RESTRICTED = "RESTRICTED"
    UNAUTHORIZED = "UNAUTHORIZED"
    INTERNAL = "INTERNAL"
    UNSUPPORTED_ENCRYPTION = "UNSUPPORTED_ENCRYPTION"
    OTHER = "OTHER"


class WalletError(NipError):
    """The wallet answered with an error. A code the NIP does not know counts as OTHER."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"the wallet answered {self.code.value}: {self.message}"


@dataclass(frozen=True, slots=True)
class Connection:
    """What a client needs to reach its wallet: the wallet service's key, its relays, and the client's own key."""

    wallet: str
    relays: tuple[str, ...]
    secret: SecretKey
    lud16: str | None = None

    def uri(self) -> str:
        """The connection as text: a secret."""
        query = [("relay", relay) for relay in self.relays]
        query.append(("secret", self.secret.secret_bytes().hex()))
        if self.lud16 is not None:
            query.append(("lud16", self.lud16))
        return f"nostr+walletconnect://{self.wallet}?{urlencode(query, quote_via=quote, safe='')}"


def parse_connection(text: str) -> Connection:
    """The connection under a `nostr+walletconnect://` URI. Raises InvalidConnection."""
    text = text.strip()
    scheme = _SCHEME.match(text)
    if scheme is None or len(text) > MAX_URI:
        raise InvalidConnection(f"a connection starts with nostr+walletconnect:// and has at most {MAX_URI} characters")
    wallet, _, query = text[scheme.end() :].partition("?")
    wallet = wallet.rstrip("/").lower()
    if not is_valid_xonly(wallet):
        raise InvalidConnection("a connection names the wallet's public key in hex before its question mark")
    # In a query a plus would mean a space; no relay, key or address has a space in it, an address may have a plus.
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(query.replace("+", "%2B")):
        found.setdefault(name, []).append(value)
    secrets = found.get("secret", [])
    if len(secrets) != 1:
        raise InvalidConnection("a connection has one secret")
    try:
        secret = SecretKey.from_hex(secrets[0].lower())
        relays = tuple(dict.fromkeys(normal_relay_url(relay) for relay in found.get("relay", [])))
    except (InvalidKey, InvalidRelayUrl) as error:
        raise InvalidConnection(f"the connection: {error}") from None
    if not 0 < len(relays) <= MAX_RELAYS:
        raise InvalidConnection(f"a connection names 1 to {MAX_RELAYS} relays, not {len(relays)}")
    lud16 = found.get("lud16", [None])[0]
    return Connection(wallet, relays, secret, lud16 or None)


@dataclass(frozen=True, slots=True)
class WalletInfo:
    """What a wallet service can do, by the names of NIP-47."""

    methods: frozenset[str]
    notifications: frozenset[str]
    encryptions: frozenset[str]

    @property
    def speaks_nip44(self) -> bool:
        """Whether we can talk to it."""
        return NIP44 in self.encryptions


def build_info(methods: Iterable[str], *, notifications: Iterable[str] = (), created_at: int) -> UnsignedEvent:
    """A 13194 of a wallet service."""
    tags: list[Tag] = [("encryption", NIP44)]
    told = " ".join(sorted(notifications))
    if told:
        tags.append(("notifications", told))
    return UnsignedEvent(INFO, created_at, tuple(tags), " ".join(sorted(methods)))


def parse_info(event: Event) -> WalletInfo:
    """What a 13194 says. Raises InvalidNwc."""
    if event.kind != INFO:
        raise InvalidNwc(f"a wallet's info is of kind {INFO}, not {event.kind}")
    # "Absence of this tag implies that the wallet only supports nip04."
    return WalletInfo(
        methods=_words(event.content),
        notifications=_words(event.tag_value("notifications") or ""),
        encryptions=_words(event.tag_value("encryption") or "nip04"),
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in text[:MAX_WORDS].split() if _WORD.fullmatch(word))


@dataclass(frozen=True, slots=True)
class Request:
    """A method and its parameters, as JSON has them."""

    method: str
    params: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Notification:
    """Something that happened in the wallet."""

    type: str
    content: Mapping[str, object]


def _object(cipher: Cipher, author: str, content: str) -> Mapping[str, object]:
    try:
        value = msgspec.json.decode(cipher.decrypt(author, content))
    except (InvalidPayload, InvalidKey) as error:
        raise InvalidNwc(f"the message: {error}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidNwc("the message is not JSON") from None
    if not isinstance(value, dict):
        raise InvalidNwc("the message is not a JSON object")
    return value


def _encrypted(cipher: Cipher, recipient: str, value: Mapping[str, object], nonce: bytes) -> str:
    return cipher.encrypt(recipient, msgspec.json.encode(value).decode(), nonce)


def build_request(
    request: Request, *, wallet: str, cipher: Cipher, nonce: bytes, created_at: int, expires_at: int
) -> UnsignedEvent:
    """A 23194, to be signed with the connection's secret. After `expires_at` (Unix seconds) the wallet ignores it."""
    content = _encrypted(cipher, wallet, {"method": request.method, "params": request.params}, nonce)
    tags = (("p", wallet), ("encryption", NIP44), ("expiration", str(expires_at)))
    return UnsignedEvent(REQUEST, created_at, tags, content)


def parse_request(event: VerifiedEvent, *, cipher: Cipher, now_s: int) -> Request:
    """What a client asks a wallet service. Raises InvalidNwc, also for an expired request; WalletError
    (UNSUPPORTED_ENCRYPTION) for one that is to be answered with that error.
    """
    if event.kind != REQUEST or event.tag_value("p") != cipher.pubkey:
        raise InvalidNwc(f"a request is of kind {REQUEST} and names the wallet service in its p tag")
    expires = event.tag_value("expiration")
    if expires is not None and (not re.fullmatch(r"[0-9]{1,11}", expires) or int(expires) < now_s):
        raise InvalidNwc("the request has expired")
    if event.tag_value("encryption") != NIP44:
        raise WalletError(ErrorCode.UNSUPPORTED_ENCRYPTION, f"this wallet speaks {NIP44} only")
    value = _object(cipher, event.pubkey, event.content)
    method, params = value.get("method"), value.get("params", {})
    if not isinstance(method, str) or not _WORD.fullmatch(method) or not isinstance(params, dict):
        raise InvalidNwc("a request has a method and an object of params")
    return Request(method, params)


def build_response(
    asked: Event,
    method: str,
    answer: Mapping[str, object] | WalletError,
    *,
    cipher: Cipher,
    nonce: bytes,
    created_at: int,
) -> UnsignedEvent:
    """A 23195 of the wallet service to the request `asked`."""
    value: dict[str, object]
    if isinstance(answer, WalletError):
        error = {"code": answer.code.value, "message": answer.message}
        value = {"result_type": method, "error": error, "result": None}
    else:
        value = {"result_type": method, "error": None, "result": answer}
    content = _encrypted(cipher, asked.pubkey, value, nonce)
    return UnsignedEvent(RESPONSE, created_at, (("p", asked.pubkey), ("e", asked.id)), content)


def parse_response(event: VerifiedEvent, *, asked: Event, method: str, cipher: Cipher) -> Mapping[str, object]:
    """The result in a 23195, if it is the wallet's answer to the request `asked`.

    Raises WalletError with what the wallet said; InvalidNwc for anything else: of such an answer nothing is known.
    """
    if event.kind != RESPONSE or event.pubkey != asked.tag_value("p"):
        raise InvalidNwc(f"an answer is of kind {RESPONSE} and by the wallet that was asked")
    if event.tag_value("e") != asked.id or event.tag_value("p") not in (None, cipher.pubkey):
        raise InvalidNwc("this answers another request")
    value = _object(cipher, event.pubkey, event.content)
    error = value.get("error")
    if error is not None:
        raise _wallet_error(error)
    if value.get("result_type") != method:
        raise InvalidNwc(f"this answers something else than {method}")
    result = value.get("result")
    if not isinstance(result, dict):
        raise InvalidNwc("an answer without an error has a result, an object")
    return result


def _wallet_error(error: object) -> WalletError:
    if not isinstance(error, dict):
        raise InvalidNwc("an error is an object with a code and a message")
    code, message = error.get("code"), error.get("message")
    text = message if isinstance(message, str) else "no message"
    line = "".join(char if char.isprintable() else " " for char in text[:MAX_MESSAGE])
    known = {each.value: each for each in ErrorCode}
    return WalletError(known.get(code, ErrorCode.OTHER) if isinstance(code, str) else ErrorCode.OTHER, line)


def build_notification(
    notification: Notification, *, client: str, cipher: Cipher, nonce: bytes, created_at: int
) -> UnsignedEvent:
    """A 23197 of the wallet service."""
    value = {"notification_type": notification.type, "notification": notification.content}
    return UnsignedEvent(NOTIFICATION, created_at, (("p", client),), _encrypted(cipher, client, value, nonce))


def parse_notification(event: VerifiedEvent, *, wallet: str, cipher: Cipher) -> Notification:
    """What a 23197 of `wallet` tells. Its twin in NIP-04 (23196) is not read. Raises InvalidNwc."""
    if event.kind != NOTIFICATION or event.pubkey != wallet:
        raise InvalidNwc(f"a notification is of kind {NOTIFICATION} and by the wallet")
    value = _object(cipher, event.pubkey, event.content)
    type_, content = value.get("notification_type"), value.get("notification")
    if not isinstance(type_, str) or not _WORD.fullmatch(type_) or not isinstance(content, dict):
        raise InvalidNwc("a notification has a type and an object of what happened")
    return Notification(type_, content)
