"""Wallets behind Nostr Wallet Connect over a scripted ledger: one of our own making in memory, and @getalby/sdk's."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from nips.bolt11 import decode_invoice
from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent, make_filter
from nips.nip44 import KeyCipher
from nips.nip47 import (
    REQUEST,
    Connection,
    ErrorCode,
    InvalidNwc,
    WalletError,
    build_info,
    build_response,
    parse_request,
)
from noncestr.feed import BridgeFeed
from noncestr.running import running
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy
from relay_bridge.service import RelayBridge
from tests.relay_bridge.conftest import installed_npm
from tests.zapper.backends.rigs import IMPATIENT_S, RigClock, ScriptedRig
from tests.zapper.backends.scripted_ledger import Entry, ScriptedLedger
from zapper.adapters.nwc_backend import open_nwc_backend
from zapper.ports import EventFeed, LightningBackend

WALLET, CLIENT, STRANGER = (SecretKey(bytes([n]) * 32) for n in (0x21, 0x22, 0x23))
METHODS = ("pay_invoice", "lookup_invoice", "get_balance", "list_transactions")
NPM = Path(__file__).parent / "npm"
FAULTS = ("internal", "garbage", "other", "slow", "lost")


class NwcAnswers:
    """What a wallet says, whatever brings it the requests: {"result": ...}, {"error": ...}, or None for silence."""

    def __init__(self, ledger: ScriptedLedger) -> None:
        self.ledger = ledger
        self.mode = ""
        self.only_orders = False
        # The methods asked for, in order.
        self.asked: list[str] = []

    async def answer(self, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
        self.asked.append(method)
        match self.mode if method == "pay_invoice" or not self.only_orders else "":
            case "internal":
                return error("INTERNAL", "the database is locked")
            case "garbage":
                return {"result": {"preimage": 7, "balance": "much", "payment_hash": []}}
            case "other":
                return {"result": {"other": True}}
            case "slow":
                return None
            case "lost":
                await self._carry_out(method, params)
                return None
            case "lie":
                told = await self._carry_out(method, params)
                told["result"]["preimage"] = "11" * 32
                return told
        return await self._carry_out(method, params)

    async def _carry_out(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "get_balance":
                return {"result": {"balance": self.ledger.balance_msat}}
            case "lookup_invoice":
                entry = self.ledger.payments.get(params["payment_hash"])
                if entry is None:
                    return error("NOT_FOUND", "no such transaction")
                return {"result": self._transaction(params["payment_hash"], entry)}
            case "list_transactions":
                rows = [self._transaction(*row) for row in reversed(self.ledger.payments.items())]
                settled = [row for row in rows if params.get("unpaid") or row["state"] == "settled"]
                return {"result": {"transactions": settled[: params.get("limit", 20)]}}
            case "pay_invoice":
                return await self._pay(params["invoice"])
        return error("NOT_IMPLEMENTED", method)

    async def _pay(self, text: str) -> dict[str, Any]:
        key = decode_invoice(text).payment_hash
        match await self.ledger.pay(text):
            case "exists":
                return error("PAYMENT_FAILED", "this invoice has already been paid")
            case "abandoned":
                return error("PAYMENT_FAILED", "timeout")
            case "poor":
                return error("INSUFFICIENT_BALANCE", "not enough")
            case "invalid":
                self.ledger.payments[key] = Entry(0, 0, self.ledger.clock(), "failed", "no route")
                return error("PAYMENT_FAILED", "no route")
            case Entry(state="failed", reason=reason):
                return error("PAYMENT_FAILED", reason)
            case Entry() as entry:
                return {"result": {"preimage": self.ledger.preimages[key], "fees_paid": entry.fee_msat}}
        raise AssertionError

    def _transaction(self, key: str, entry: Entry) -> dict[str, Any]:
        row: dict[str, Any] = {
            "type": "outgoing",
            "state": {"pending": "pending", "paid": "settled", "failed": "failed"}[entry.state],
            "payment_hash": key,
            "amount": entry.amount_msat,
            "fees_paid": entry.fee_msat,
            "created_at": entry.created_at,
        }
        if entry.state == "paid":
            row |= {"preimage": self.ledger.preimages[key], "settled_at": entry.created_at}
        return row


def error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


class NwcRig(ScriptedRig):
    """A backend and a wallet over relays."""

    faults = FAULTS
    silent = ("slow", "lost")

    def __init__(self, answers: NwcAnswers, clock: RigClock) -> None:
        super().__init__(answers.ledger, clock)
        self.answers = answers
        self.secrets = (CLIENT.secret_bytes().hex(),)

    def fault(self, mode: str, *, only_orders: bool = False) -> None:
        self.answers.mode, self.answers.only_orders = mode, only_orders

    def feed(self) -> AbstractAsyncContextManager[tuple[EventFeed, str]]:
        """A way to the wallet's relay, and its URL."""
        raise NotImplementedError

    @asynccontextmanager
    async def open(self, *, good: bool = True, impatient: bool = False) -> AsyncIterator[LightningBackend]:
        patience: dict[str, Any] = {"ask_timeout_s": IMPATIENT_S, "pay_timeout_s": IMPATIENT_S} if impatient else {}
        async with self.feed() as (feed, url):
            connection = Connection(WALLET.pubkey, (url,), CLIENT if good else STRANGER)
            async with open_nwc_backend(feed, connection, **self.backend_clock(), **patience) as backend:
                yield backend

    def backend_clock(self) -> dict[str, Any]:
        return {}


class MemoryRig(NwcRig):
    """Over a relay in memory (`Feed` of tests/zapper/conftest.py), with a wallet made of nips.nip47."""

    def __init__(self, feed: Any, answers: NwcAnswers, clock: RigClock) -> None:
        super().__init__(answers, clock)
        self.relay = feed

    @asynccontextmanager
    async def feed(self) -> AsyncIterator[tuple[EventFeed, str]]:
        yield self.relay, "ws://127.0.0.1:7777"

    def backend_clock(self) -> dict[str, Any]:
        return {"clock": self.clock}

    def tell_methods(self, methods: tuple[str, ...] = METHODS) -> None:
        self.relay.add(WALLET.sign(build_info(methods, created_at=self.clock())))

    async def serve(self) -> None:
        wanted = make_filter(kinds=[REQUEST], tags={"p": [WALLET.pubkey]})
        async with (
            anyio.create_task_group() as tasks,
            self.relay.subscribe([wanted], name="wallet") as items,
        ):
            async for item in items:
                if hasattr(item, "event"):
                    tasks.start_soon(self.respond, item.event)

    async def respond(self, event: VerifiedEvent) -> None:
        cipher = KeyCipher(WALLET)
        try:
            request = parse_request(event, cipher=cipher, now_s=self.clock())
        except InvalidNwc:
            return
        if event.pubkey != CLIENT.pubkey:
            told: dict[str, Any] | None = error("UNAUTHORIZED", "no such connection")
        else:
            told = await self.answers.answer(request.method, dict(request.params))
        if told is None:
            return
        answer = told.get("result")
        if "error" in told:
            answer = WalletError(ErrorCode(told["error"]["code"]), told["error"]["message"])
        assert answer is not None
        unsigned = build_response(
            event, request.method, answer, cipher=cipher, nonce=os.urandom(32), created_at=self.clock()
        )
        self.relay.add(WALLET.sign(unsigned))


@asynccontextmanager
async def memory_rig(feed: Any, ledger: ScriptedLedger, clock: RigClock) -> AsyncIterator[MemoryRig]:
    rig = MemoryRig(feed, NwcAnswers(ledger), clock)
    rig.tell_methods()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rig.serve)
        yield rig
        tasks.cancel_scope.cancel()


class SdkRig(NwcRig):
    """Over our relay and our relay bridge, with @getalby/sdk's NWCWalletService in a Node.js process."""

    def __init__(self, url: str, folder: Path, answers: NwcAnswers, clock: RigClock) -> None:
        super().__init__(answers, clock)
        self.url, self._folder, self._opened = url, folder, 0

    @asynccontextmanager
    async def feed(self) -> AsyncIterator[tuple[EventFeed, str]]:
        self._opened += 1
        bridge = RelayBridge([self.url], outbox_path=self._folder / f"outbox-{self._opened}.sqlite", signer=CLIENT)
        async with running(bridge.run):
            yield BridgeFeed(bridge), self.url


@asynccontextmanager
async def sdk_rig(folder: Path, ledger: ScriptedLedger, clock: RigClock) -> AsyncIterator[SdkRig]:
    reason = await anyio.to_thread.run_sync(installed_npm, NPM)
    if reason:
        pytest.skip(reason)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    async with (
        SqliteEventStore(folder / "events.db") as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy()) as relay,
    ):
        process = await asyncio.create_subprocess_exec(
            str(shutil.which("node", path=path)),
            str(NPM / "wallet.mjs"),
            relay.url,
            WALLET.secret_bytes().hex(),
            CLIENT.pubkey,
            ",".join(METHODS),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        answers = NwcAnswers(ledger)
        ready = anyio.Event()

        async def respond(asked: dict[str, Any]) -> None:
            told = await answers.answer(asked["method"], asked["params"])
            if told is not None:
                process.stdin.write(json.dumps({"id": asked["id"], "answer": told}).encode() + b"\n")

        async def read(tasks: anyio.abc.TaskGroup) -> None:
            async for line in process.stdout:
                asked = json.loads(line)
                if "ready" in asked:
                    ready.set()
                else:
                    tasks.start_soon(respond, asked)

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, tasks)
                with anyio.fail_after(60):
                    await ready.wait()
                yield SdkRig(relay.url, folder, answers, clock)
                tasks.cancel_scope.cancel()
        finally:
            process.kill()
            with anyio.CancelScope(shield=True):
                await process.wait()
            # asyncio has no other way to close its pipes.
            process._transport.close()
