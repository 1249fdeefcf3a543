"""`noncestr signer run`: a remote signer (NIP-46) of one key, so that pool and accounting keys can live elsewhere."""

import json
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectSendStream

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent, make_filter
from nips.nip44 import KeyCipher
from nips.nip46 import NOSTR_CONNECT, Bunker, InvalidRemote, build_response, parse_request
from nips.nip46_signer import RemoteSigner
from nips.pool import kinds
from noncestr.clock import WallClock
from noncestr.errors import NoncestrError
from noncestr.whole_file import write_whole
from relay_bridge.adapters.talk import Talk
from relay_bridge.errors import RelayBridgeError

logger = logging.getLogger("noncestr.signer")

# What pool and accounting keys sign: profile, notes, relay lists, status, handler, and their kinds of the log.
KINDS: Final = tuple(
    sorted(
        {0, 1, 10002, 10050, 30315, 31990, kinds.TERMS, kinds.STATEMENT, kinds.STATEMENT_PART, kinds.STATUS}
        | {kinds.ARCHIVE, kinds.SUMMARY, kinds.ANNOUNCEMENT, kinds.BALANCE, kinds.STATISTICS}
    )
)
SECRET_BYTES: Final = 16
# Requests waiting for their turn; a pool asks for one at a time. More is a flood, and those are asked again.
MAX_WAITING: Final = 100
# Of those so many may be strangers', who only ask to be let in: a flood of theirs leaves our clients' turns.
MAX_STRANGERS: Final = 10
# So much of what a stranger calls a method stands in the log.
SHOWN: Final = 32
# How long a relay may be away when an answer is ready; the question comes again.
SAY_S: Final = 5.0


class SignerRun:
    """Answers whoever came with a secret it gave out. Who was let in is kept in `state` (JSON)."""

    def __init__(self, key: SecretKey, relays: Sequence[str], state: Path, clock: WallClock) -> None:
        self._key = key
        self._cipher = KeyCipher(key)
        self._relays = tuple(relays)
        self._state = state
        self._clock = clock
        self._signer = RemoteSigner(key, self._cipher, clients=_load(state))
        self._known = self._signer.clients()
        self._queue: MemoryObjectSendStream[VerifiedEvent] | None = None
        wanted = make_filter(kinds=[NOSTR_CONNECT], tags={"p": [key.pubkey]})
        self._talk = Talk(self._relays, [wanted], self._hear, signer=key)

    def offer(self) -> str:
        """A bunker:// token that lets one client in, once: a secret."""
        secret = secrets.token_hex(SECRET_BYTES)
        self._signer.offer(secret, ",".join(f"sign_event:{kind}" for kind in KINDS))
        return Bunker(self._key.pubkey, self._relays, secret).uri()

    async def listening(self) -> None:
        """Wait until a relay brings us requests: those made before are lost, since nobody keeps them."""
        await self._talk.listening()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled."""
        self._queue, waiting = anyio.create_memory_object_stream[VerifiedEvent](MAX_WAITING)
        with self._queue, waiting:
            async with anyio.create_task_group() as tasks:
                await tasks.start(self._talk.run)
                task_status.started()
                async for event in waiting:
                    await self._answer(event)

    def _hear(self, event: VerifiedEvent) -> None:
        assert self._queue is not None  # relays are read while `run` runs
        waiting = self._queue.statistics().current_buffer_used
        if waiting >= MAX_STRANGERS and event.pubkey not in {client for client, _ in self._known}:
            logger.debug("%d requests wait: one of the stranger %s is passed over", waiting, event.pubkey)
            return
        try:
            self._queue.send_nowait(event)
        except anyio.WouldBlock:
            logger.warning("more than %d requests wait: one of %s is passed over", MAX_WAITING, event.pubkey)

    async def _answer(self, event: VerifiedEvent) -> None:
        try:
            request = parse_request(event, cipher=self._cipher)
        except InvalidRemote as error:
            logger.warning("a request of %s: %s", event.pubkey, error)
            return
        response = self._signer.answer(event.pubkey, request, nonce=secrets.token_bytes(32))
        clients = self._signer.clients()
        if clients != self._known:
            # On disk before the client hears that it is in: its secret is used up.
            try:
                await anyio.to_thread.run_sync(_save, self._state, clients)
            except OSError as error:
                logger.error("who is let in can't be kept in %s, and nobody is answered: %s", self._state, error)
                return
            self._known = clients
        outcome = f"refused: {response.error}" if response.error else "done"
        logger.info("%s asked for %s: %s", event.pubkey, request.method[:SHOWN], outcome)
        told = build_response(
            response,
            client=event.pubkey,
            cipher=self._cipher,
            nonce=secrets.token_bytes(32),
            created_at=self._clock.now_ms() // 1000,
        )
        try:
            await self._talk.say(self._key.sign(told), timeout_s=SAY_S)
        except RelayBridgeError as error:
            logger.warning("an answer did not go out: %s", error)


async def run_signer(
    key: SecretKey,
    relays: Sequence[str],
    state: Path,
    *,
    offer: bool,
    say: Callable[[str], None],
    clock: WallClock,
) -> None:
    """Run a remote signer until cancelled. `offer`: give out a token for a new client."""
    signer = SignerRun(key, relays, state, clock)
    async with anyio.create_task_group() as tasks:
        await tasks.start(signer.run)
        with anyio.move_on_after(SAY_S) as patience:
            await signer.listening()
        if patience.cancelled_caught:
            say(f"none of {', '.join(relays)} can be reached yet; waiting")
            await signer.listening()
        if offer:
            say("A token for one client; whoever has it can have the pool's events signed:")
            say(f"  {signer.offer()}")
        say(f"signing for {len(_load(state))} known clients over {', '.join(relays)}; Ctrl-C stops it")


def _load(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    try:
        return [(str(client), str(granted)) for client, granted in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise NoncestrError(f"cannot read who is let in from {path}: {error}") from None


def _save(path: Path, clients: Sequence[tuple[str, str]]) -> None:
    write_whole(path, json.dumps([list(client) for client in clients]).encode())
