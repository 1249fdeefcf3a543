"""NIP-46, the remote signer's side: who is let in, and what is done for him. It keeps its clients in memory."""

import hmac
from collections.abc import Iterable

import msgspec

from nips.errors import InvalidKey
from nips.keys import Signer
from nips.nip01 import MAX_KIND, MAX_SAFE_INTEGER, Tags, UnsignedEvent, encode_event
from nips.nip44 import Cipher, InvalidPayload
from nips.nip46 import Method, Request, Response, parse_permissions

# Clients are services of one pool; who connects a thousand times has lost its keys.
MAX_CLIENTS = 1000


class _ToSign(msgspec.Struct, frozen=True):
    """sign_event's parameter. Clients may name a pubkey too; the user's key signs in any case."""

    kind: int
    content: str
    tags: Tags
    created_at: int


class RemoteSigner:
    """Answers requests with the user's key, each client within the permissions its secret stands for."""

    def __init__(self, signer: Signer, cipher: Cipher, *, clients: Iterable[tuple[str, str]] = ()) -> None:
        """`signer` and `cipher` are the user's; `clients`: public keys let in before, each with its permissions."""
        self._signer = signer
        self._cipher = cipher
        self._secrets: dict[str, frozenset[str]] = {}
        self._clients = {pubkey: frozenset(parse_permissions(permissions)) for pubkey, permissions in clients}

    def offer(self, secret: str, permissions: str) -> None:
        """Let in the one client that comes with this secret. Permissions as in `sign_event:1,nip44_encrypt`; what the
        client asks for is not looked at.
        """
        if not secret:
            raise ValueError("who offers no secret lets everybody in")
        self._secrets[secret] = frozenset(parse_permissions(permissions))

    def clients(self) -> tuple[tuple[str, str], ...]:
        """Who is let in, with what permissions: to be kept for the next start."""
        return tuple((client, ",".join(sorted(granted))) for client, granted in sorted(self._clients.items()))

    def answer(self, client: str, request: Request, *, nonce: bytes) -> Response:
        """What the client (the hex key that signed the request) gets. `nonce`: 32 fresh bytes, for nip44_encrypt."""
        try:
            return Response(request.id, result=self._perform(client, request, nonce))
        except _Refused as refusal:
            return Response(request.id, error=str(refusal))

    def _perform(self, client: str, request: Request, nonce: bytes) -> str:
        try:
            method = Method(request.method)
        except ValueError:
            raise _Refused("this remote signer does not know that method") from None
        if method is Method.CONNECT:
            return self._connect(client, request.params)
        granted = self._clients.get(client)
        if granted is None:
            raise _Refused("connect first")
        if method is Method.PING:
            return "pong"
        if method is Method.GET_PUBLIC_KEY:
            return self._signer.pubkey
        if method is Method.SWITCH_RELAYS:
            # "null if there is nothing to be changed", as text like every result.
            return "null"
        if method is Method.LOGOUT:
            del self._clients[client]
            return "ack"
        if method is Method.SIGN_EVENT:
            return self._sign(request.params, granted)
        if method.value not in granted:
            raise _Refused(f"{method.value} is not permitted to this client")
        return self._crypt(method, request.params, nonce)

    def _connect(self, client: str, params: tuple[str, ...]) -> str:
        secret = params[1] if len(params) > 1 else ""
        # In constant time, and once: "SHOULD ignore new attempts to establish connection with old secret".
        offered = next((each for each in self._secrets if hmac.compare_digest(each.encode(), secret.encode())), None)
        if offered is not None and len(self._clients) < MAX_CLIENTS:
            self._clients[client] = self._secrets.pop(offered)
        elif client not in self._clients:
            raise _Refused("this secret lets nobody in")
        return "ack"

    def _sign(self, params: tuple[str, ...], granted: frozenset[str]) -> str:
        try:
            asked = msgspec.json.decode(params[0] if params else "", type=_ToSign)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise _Refused("what is to be signed is not an event") from None
        if not 0 <= asked.kind <= MAX_KIND or not 0 <= asked.created_at <= MAX_SAFE_INTEGER or () in asked.tags:
            raise _Refused("what is to be signed is not an event")
        if f"sign_event:{asked.kind}" not in granted and "sign_event" not in granted:
            raise _Refused(f"signing kind {asked.kind} is not permitted to this client")
        event = self._signer.sign(UnsignedEvent(asked.kind, asked.created_at, asked.tags, asked.content))
        return encode_event(event).decode()

    def _crypt(self, method: Method, params: tuple[str, ...], nonce: bytes) -> str:
        if len(params) != 2:
            raise _Refused(f"{method.value} takes a public key and a text")
        try:
            if method is Method.NIP44_ENCRYPT:
                return self._cipher.encrypt(params[0], params[1], nonce)
            return self._cipher.decrypt(params[0], params[1])
        except (InvalidKey, InvalidPayload, ValueError) as error:
            raise _Refused(str(error)) from None


class _Refused(Exception):
    """Why a request is not done, in the words the client gets."""
