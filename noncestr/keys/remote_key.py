"""A key that lives elsewhere: each event is sent to a remote signer over relays and comes back signed (NIP-46)."""

import logging
import secrets
from typing import Final

import anyio
from anyio.abc import TaskStatus

from nips.errors import InvalidKey, NipError
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, make_filter
from nips.nip19 import encode_npub
from nips.nip44 import KeyCipher
from nips.nip46 import (
    NOSTR_CONNECT,
    AuthChallenge,
    Bunker,
    InvalidRemote,
    Method,
    RemoteRefused,
    Request,
    Response,
    build_request,
    check_connected,
    check_pubkey,
    check_signed,
    connect,
    parse_response,
    result_of,
    sign_event,
)
from noncestr.clock import WallClock
from noncestr.errors import NoncestrError
from noncestr.keys.files import BunkerFile
from noncestr.running import running
from relay_bridge.adapters.talk import Talk
from relay_bridge.errors import RelayBridgeError

logger = logging.getLogger("noncestr.remote_key")

# How long an answer is waited for: a person may have to press a button. Who waits then tries again later.
ANSWER_S: Final = 30.0
# How often a question is repeated meanwhile: what is said over relays is not kept by them.
REPEAT_S: Final = 5.0
# Nobody else's questions have an id of ours.
ID_BYTES: Final = 8


class RemoteKeyError(NoncestrError):
    """The remote signer did not answer, or refused."""


class Line:
    """Questions to one remote signer and its answers."""

    def __init__(self, signer: Bunker, own: SecretKey, clock: WallClock) -> None:
        self._signer = signer
        self._own = own
        self._cipher = KeyCipher(own)
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        # No `since`: the event is of a kind that relays do not keep.
        wanted = make_filter(kinds=[NOSTR_CONNECT], authors=[signer.signer], tags={"p": [own.pubkey]})
        self._talk = Talk(signer.relays, [wanted], self._hear, signer=own)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled."""
        await self._talk.run(task_status=task_status)

    async def ask(self, request: Request, *, timeout_s: float = ANSWER_S) -> str:
        """The result of a request. Raises RemoteKeyError."""
        waiting = self._waiting[request.id] = _Waiting()
        trouble = "it did not answer"
        try:
            with anyio.move_on_after(timeout_s):
                while waiting.response is None:
                    try:
                        await self._talk.say(self._own.sign(self._sealed(request)), timeout_s=timeout_s)
                    except RelayBridgeError as error:
                        trouble = str(error)
                    with anyio.move_on_after(REPEAT_S):
                        await waiting.arrived.wait()
        finally:
            del self._waiting[request.id]
        if waiting.response is None:
            raise RemoteKeyError(f"the remote signer {encode_npub(self._signer.signer)}: {trouble}")
        try:
            return result_of(waiting.response)
        except (RemoteRefused, InvalidRemote) as error:
            raise RemoteKeyError(str(error)) from None

    def _sealed(self, request: Request) -> UnsignedEvent:
        return build_request(
            request,
            signer=self._signer.signer,
            cipher=self._cipher,
            nonce=secrets.token_bytes(32),
            created_at=self._clock.now_ms() // 1000,
        )

    def _hear(self, event: VerifiedEvent) -> None:
        try:
            response = parse_response(event, signer=self._signer.signer, cipher=self._cipher)
        except (InvalidRemote, InvalidKey) as error:
            logger.warning("the remote signer: %s", error)
            return
        waiting = self._waiting.get(response.id)
        if waiting is None:
            return
        try:
            result_of(response)
        except AuthChallenge as challenge:
            # The answer follows under the same id, once its user has been there.
            logger.warning("the remote signer wants its user to open %s", challenge.url)
            return
        except NipError:
            pass  # who asked is told, and it is no reason to wait on
        waiting.response = response
        waiting.arrived.set()


class _Waiting:
    """A question under way."""

    __slots__ = ("arrived", "response")

    def __init__(self) -> None:
        self.response: Response | None = None
        self.arrived = anyio.Event()


class RemoteKey:
    """An AsyncSigner whose key is at a remote signer. Start `run` in a task group before it is asked to sign."""

    def __init__(self, file: BunkerFile, clock: WallClock) -> None:
        self._user = file.user
        self._line = Line(file.signer, file.own, clock)

    @property
    def pubkey(self) -> str:
        """The public key that the remote signer signs for, in hex."""
        return self._user

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep in touch until cancelled."""
        await self._line.run(task_status=task_status)

    async def sign(self, unsigned: UnsignedEvent) -> VerifiedEvent:
        """The signed event, checked to be the one that was asked for. Raises RemoteKeyError."""
        result = await self._line.ask(sign_event(secrets.token_hex(ID_BYTES), unsigned))
        try:
            return check_signed(result, unsigned=unsigned, user=self._user)
        except InvalidRemote as error:
            raise RemoteKeyError(str(error)) from None


async def make_acquaintance(signer: Bunker, own: SecretKey, clock: WallClock, *, name: str) -> BunkerFile:
    """Use a bunker's secret to be let in, and ask whose key it has. Raises RemoteKeyError."""
    line = Line(signer, own, clock)
    user, trouble = "", ""
    async with running(line.run):
        request = connect(secrets.token_hex(ID_BYTES), signer, permissions=["sign_event"], name=name)
        try:
            check_connected(await line.ask(request), signer)
            user = check_pubkey(await line.ask(Request(secrets.token_hex(ID_BYTES), Method.GET_PUBLIC_KEY.value, ())))
        except (InvalidRemote, RemoteKeyError) as error:
            # Raised in here it would come out in a group.
            trouble = str(error)
    if trouble:
        raise RemoteKeyError(trouble)
    return BunkerFile(signer, user, own)
