"""DEMO ONLY: a wallet provider for demo miners, on this machine.

It serves LNURL-pay (LUD-06, LUD-16) over plain HTTP on a loopback address, checks zap requests as NIP-57's appendix D
asks, issues invoices of the fake Lightning, and publishes a zap receipt (9735) of its own key for each zap paid.
"""

import contextlib
import hashlib
import json
import logging
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from nips.errors import NipError
from nips.keys import Signer
from nips.nip01 import VerifiedEvent, decode_event, encode_event, verify
from nips.nip19 import decode_npub
from nips.nip57 import build_zap_receipt, check_zap_request
from zapper.adapters.fake_backend import FakeLightning, SettledZap
from zapper.ports import ReceiptPublisher

log = logging.getLogger("zapper.demo")

MIN_SENDABLE_MSAT = 1_000
MAX_SENDABLE_MSAT = 10**11
# A receipt no relay took is tried again.
RETRY_S = 5.0

_NAME = re.compile(r"[a-z0-9._-]{1,64}")
_AMOUNT = re.compile(r"[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the provider answers: `alice@127.0.0.1:3338` for a user alice."""

    host: str
    port: int

    def address(self, name: str) -> str:
        """The lightning address (LUD-16) of a user."""
        return f"{name}@{self.host}:{self.port}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell."""
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the program's business, not one server's."""
        yield


def _error(reason: str) -> JSONResponse:
    # LUD-06: {"status": "ERROR", "reason": ...}
    return JSONResponse({"status": "ERROR", "reason": reason})


class DemoLightning:
    """The provider. `users` maps names to the npubs (hex) they belong to; `add_user` adds to it.

    Every npub is a name besides, its own: whoever tries the demo with a miner has an address to be paid at.
    """

    def __init__(
        self,
        *,
        node: FakeLightning,
        signer: Signer,
        publisher: ReceiptPublisher,
        network: str,
        users: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        listener: socket.socket | None = None,
    ) -> None:
        """`listener`: a socket at `host`:`port` that listens already, taken over by `run`.

        Raises ValueError on any network but regtest, and for a host that is not this machine alone.
        """
        if network != "regtest":
            raise ValueError(f"demo Lightning is for regtest, not for {network}")
        if host not in ("127.0.0.1", "localhost"):
            raise ValueError("demo Lightning serves this machine only: it speaks plain HTTP")
        self._node = node
        self._signer = signer
        self._publisher = publisher
        self._host = host
        self._port = port
        self._listener = listener
        self._users: dict[str, str] = {}
        for name, pubkey in (users or {}).items():
            self.add_user(name, pubkey)

    def add_user(self, name: str, pubkey: str) -> None:
        """Take zaps for `name`. Raises ValueError for a name no lightning address can have."""
        if not _NAME.fullmatch(name):
            raise ValueError("a user's name has a-z, 0-9, '-', '_' and '.'")
        self._users[name] = pubkey

    def _owner(self, name: str) -> str | None:
        """The npub (hex) that a name belongs to; None: there is no such user."""
        if name in self._users:
            return self._users[name]
        try:
            return decode_npub(name)
        except NipError:
            return None

    async def run(self, *, task_status: TaskStatus[Listening] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; reports where it listens once it does. Raises OSError when the port is taken."""
        listener = self._listener or socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if self._listener is None:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self._host, self._port))
            port = int(listener.getsockname()[1])
            server = _Server(
                uvicorn.Config(
                    self._application(port),
                    http="httptools",
                    ws="none",
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    timeout_graceful_shutdown=1,
                )
            )
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_serve, server, listener)
                try:
                    await server.ready.wait()
                    task_status.started(Listening(self._host, port))
                    await self._send_receipts()
                finally:
                    server.should_exit = True
        finally:
            listener.close()

    def _application(self, port: int) -> Starlette:
        async def params(request: Request) -> JSONResponse:
            return self._params(request.path_params["name"], port)

        async def callback(request: Request) -> JSONResponse:
            query = request.query_params
            return await self._invoice(request.path_params["name"], port, query.get("amount"), query.get("nostr"))

        return Starlette(
            routes=[
                Route("/.well-known/lnurlp/{name}", params),
                Route("/lnurlp/{name}/callback", callback),
            ]
        )

    def _metadata(self, name: str, port: int) -> str:
        address = Listening(self._host, port).address(name)
        return json.dumps([["text/plain", f"Mining payouts of {name} (demo)"], ["text/identifier", address]])

    def _params(self, name: str, port: int) -> JSONResponse:
        if self._owner(name) is None:
            return _error("no such user")
        return JSONResponse(
            {
                "tag": "payRequest",
                "callback": f"http://{self._host}:{port}/lnurlp/{name}/callback",
                "minSendable": MIN_SENDABLE_MSAT,
                "maxSendable": MAX_SENDABLE_MSAT,
                "metadata": self._metadata(name, port),
                "allowsNostr": True,
                "nostrPubkey": self._signer.pubkey,
            }
        )

    async def _invoice(self, name: str, port: int, amount: str | None, zap_request: str | None) -> JSONResponse:
        owner = self._owner(name)
        if owner is None:
            return _error("no such user")
        if amount is None or not _AMOUNT.fullmatch(amount):
            return _error("amount is a positive integer of msat")
        amount_msat = int(amount)
        if not MIN_SENDABLE_MSAT <= amount_msat <= MAX_SENDABLE_MSAT:
            return _error("the amount is out of bounds")
        if zap_request is not None:
            try:
                request = check_zap_request(zap_request, amount_msat=amount_msat)
            except NipError as error:
                return _error(f"the zap request does not hold: {error}")
            if request.recipient != owner:
                return _error("the zap request is for another npub")
        described = zap_request if zap_request is not None else self._metadata(name, port)
        text = await self._node.create_invoice(
            amount_msat=amount_msat,
            description_hash=hashlib.sha256(described.encode()).hexdigest(),
            account=name,
            zap_request=zap_request,
        )
        return JSONResponse({"pr": text, "routes": []})

    async def _send_receipts(self) -> None:
        """Publish what is owed, at start too, and after each payment."""
        while True:
            failed = False
            settled = self._node.next_settled()
            for zap in await self._node.settled_zaps():
                try:
                    await self._send_receipt(zap)
                except Exception as error:  # the publisher's own errors; the receipt is kept and tried again
                    log.warning("a zap receipt did not go out: %s", error)
                    failed = True
            with anyio.move_on_after(RETRY_S if failed else None):
                await settled.wait()

    async def _send_receipt(self, zap: SettledZap) -> None:
        request = check_zap_request(zap.zap_request)
        receipt: VerifiedEvent
        if zap.receipt is None:
            receipt = self._signer.sign(
                build_zap_receipt(request, bolt11=zap.text, preimage=zap.preimage, paid_at=zap.paid_at)
            )
            await self._node.keep_receipt(zap.payment_hash, encode_event(receipt))
        else:
            receipt = verify(decode_event(zap.receipt))
        await self._publisher.publish_receipt(receipt, relays=request.relays)
        await self._node.mark_receipt_sent(zap.payment_hash)


async def _serve(server: _Server, listener: socket.socket) -> None:
    # Shielded: told by should_exit to end, it closes its connections itself.
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[listener])
