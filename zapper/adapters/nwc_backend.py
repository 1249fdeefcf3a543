"""A wallet behind Nostr Wallet Connect (NIP-47), over the relays of its connection.

Requests expire, so that a relay that was away does not bring the wallet an old order to pay. Answers are told apart by
their e tag; one to an order that comes after nobody waits for it any more is kept for the next question about it.
NIP-47 has no fee limit: what a payment may cost is for the wallet's own settings.
"""

import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from nips import nip47_commands as commands
from nips.bolt11 import Invoice
from nips.nip01 import Event, VerifiedEvent, make_filter
from nips.nip44 import KeyCipher
from nips.nip47 import (
    INFO,
    NIP44,
    RESPONSE,
    Connection,
    ErrorCode,
    InvalidNwc,
    Request,
    WalletError,
    WalletInfo,
    build_request,
    parse_info,
    parse_response,
)
from zapper.adapters.pay_once import PayOnce, WalletConfused, paid
from zapper.errors import ZapperError
from zapper.ports import EventFeed, FailedPayment, NotFound, Paid, Pending, Refused, Unclear

log = logging.getLogger("zapper")

# Less than the zapper's patience with a payment and with a question, so that its reason is this one.
PAY_TIMEOUT_S = 57.0
ASK_TIMEOUT_S = 9.0
# A wallet's clock may be behind ours; after this a request is not to be carried out any more.
REQUEST_LIFE_S = 90
# A wallet dates its answers by its own clock, which may be behind.
CLOCK_SKEW_S = 600
# How long after a broken subscription the next try.
RETRY_S = 1.0
# Orders nobody waits for whose answer may still come: far more than payments at a time.
MAX_FORGOTTEN = 1_000

_NEEDED = frozenset({commands.PAY_INVOICE, commands.LOOKUP_INVOICE, commands.GET_BALANCE})
# Codes by which a wallet says that it has not even begun. PAYMENT_FAILED is none: "may be due to a timeout".
_TURNED_DOWN = frozenset(
    {
        ErrorCode.INSUFFICIENT_BALANCE,
        ErrorCode.QUOTA_EXCEEDED,
        ErrorCode.RATE_LIMITED,
        ErrorCode.RESTRICTED,
        ErrorCode.UNAUTHORIZED,
        ErrorCode.NOT_IMPLEMENTED,
        ErrorCode.UNSUPPORTED_ENCRYPTION,
    }
)


class WalletSilent(ZapperError):
    """No answer of the wallet, or no way to it."""


class WalletUnfit(ZapperError):
    """The wallet cannot do what a payout needs."""


@dataclass(slots=True)
class _Asked:
    """A request on its way. `invoice_hash`: of an order to pay."""

    event: Event
    method: str
    invoice_hash: str | None
    answered: anyio.Event = field(default_factory=anyio.Event)
    result: Mapping[str, object] | None = None
    error: WalletError | None = None


def _now_s() -> int:
    return int(time.time())


def _nonce() -> bytes:
    return os.urandom(32)


class NwcBackend:
    """See `zapper.ports.LightningBackend`. Made by `open_nwc_backend`."""

    def __init__(
        self,
        feed: EventFeed,
        connection: Connection,
        *,
        clock: Callable[[], int] = _now_s,
        nonce: Callable[[], bytes] = _nonce,
        pay_timeout_s: float = PAY_TIMEOUT_S,
        ask_timeout_s: float = ASK_TIMEOUT_S,
    ) -> None:
        self._feed = feed
        self._connection = connection
        self._cipher = KeyCipher(connection.secret)
        self._clock = clock
        self._nonce = nonce
        self._pay_timeout_s = pay_timeout_s
        self._ask_timeout_s = ask_timeout_s
        self._once = PayOnce(self.lookup, before=self._before)
        self._listening = anyio.Event()
        self._asked: dict[str, _Asked] = {}
        # Orders to pay whose answer nobody waits for, oldest first, and what late answers to such proved.
        self._forgotten: dict[str, None] = {}
        self._late: dict[str, Paid] = {}
        # Invoices the wallet said it has not begun to pay, oldest first.
        self._turned_down: dict[str, None] = {}
        self._info: WalletInfo | None = None
        self._finds_payments = False

    @property
    def name(self) -> str:
        """For people and logs."""
        return f"NWC wallet {self._connection.wallet[:8]}"

    # The port

    async def pay(self, invoice: Invoice, *, max_fee_msat: int) -> Paid | Refused | Unclear:
        """Pay the invoice once. Raises WalletSilent, WalletUnfit, WalletConfused, WalletError, InvalidNwc."""
        return await self._once.pay(invoice, lambda: self._send(invoice, max_fee_msat))

    async def _send(self, invoice: Invoice, max_fee_msat: int) -> Paid | Refused | Unclear:
        try:
            done = await self._pay(invoice)
        except WalletError as error:
            if error.code in _TURNED_DOWN:
                _remember(self._turned_down, invoice.payment_hash)
                return Refused(str(error), ours=True)
            return Refused(str(error)) if error.code is ErrorCode.PAYMENT_FAILED else Unclear(str(error))
        if done.fee_msat > max_fee_msat:
            log.warning("%s took %d msat for a payment that may cost %d", self.name, done.fee_msat, max_fee_msat)
        return done

    async def _pay(self, invoice: Invoice) -> Paid:
        request = commands.pay_invoice(invoice.text)
        result = await self._ask(request, self._pay_timeout_s, invoice_hash=invoice.payment_hash)
        return _proof(result, invoice.payment_hash)

    async def lookup(self, payment_hash: str) -> Paid | Pending | NotFound | FailedPayment:
        """What became of a payment of ours. Raises as `pay`.

        "Not found" is believed of a wallet that has shown that it finds payments it made: some look among their
        invoices alone. Until then only of what it said it has not begun.
        """
        if payment_hash in self._late:
            return self._late[payment_hash]
        found = await self._find(payment_hash)
        if found is not None:
            return _state(found, payment_hash)
        if payment_hash in self._turned_down or await self._finds_own_payments():
            return NotFound()
        raise WalletConfused("the wallet does not know this payment, nor has it shown that it knows those it made")

    async def _before(self, payment_hash: str) -> Paid | Pending | NotFound | FailedPayment:
        """Before an order less will do: the wallet is taken at its word, and may have issued the invoice itself, for
        another of its users.
        """
        if payment_hash in self._late:
            return self._late[payment_hash]
        found = await self._find(payment_hash)
        if found is None or found.direction is commands.Direction.INCOMING:
            return NotFound()
        return _state(found, payment_hash)

    async def _find(self, payment_hash: str) -> commands.Transaction | None:
        try:
            result = await self._ask(commands.lookup_invoice(payment_hash=payment_hash), self._ask_timeout_s)
        except WalletError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return None
            raise
        found = commands.parse_transaction(result)
        if found.payment_hash != payment_hash:
            raise WalletConfused("the wallet tells of another payment than it was asked about")
        if found.direction is commands.Direction.OUTGOING:
            self._finds_payments = True
        return found

    async def _finds_own_payments(self) -> bool:
        """Whether it finds the newest of the payments that it lists."""
        info = await self._fit()
        if not self._finds_payments and commands.LIST_TRANSACTIONS in info.methods:
            listing = commands.list_transactions(limit=1, direction=commands.Direction.OUTGOING)
            listed = commands.parse_transactions(await self._ask(listing, self._ask_timeout_s))
            if listed and listed[0].direction is commands.Direction.OUTGOING:
                await self._find(listed[0].payment_hash)
        return self._finds_payments

    async def balance_msat(self) -> int:
        """What can be spent. Raises as `pay`."""
        return commands.parse_balance(await self._ask(commands.get_balance(), self._ask_timeout_s))

    async def check(self) -> None:
        """Raises WalletUnfit when the wallet says that it will not do, WalletSilent when it is not reached."""
        await self._fit()

    # Requests and answers

    async def _fit(self) -> WalletInfo:
        if self._info is not None:
            return self._info
        wanted = make_filter(authors=[self._connection.wallet], kinds=[INFO])
        try:
            events = await self._feed.fetch([wanted], timeout_s=self._ask_timeout_s)
        except Exception as error:  # each bridge has its own; all mean that no relay answered
            raise WalletSilent(f"no relay of the wallet answered ({error})") from None
        if not events:
            raise WalletSilent("the wallet has not told the relays what it can do (no 13194)")
        info = parse_info(max(events, key=lambda event: event.created_at))
        if not info.speaks_nip44:
            raise WalletUnfit(f"the wallet speaks no {NIP44}, and nothing older is spoken here: update it")
        missing = _NEEDED - info.methods
        if missing:
            raise WalletUnfit(f"this connection does not permit {', '.join(sorted(missing))}: make one that does")
        self._info = info
        return info

    async def _ask(
        self, request: Request, timeout_s: float, *, invoice_hash: str | None = None
    ) -> Mapping[str, object]:
        """The wallet's result. Raises WalletError for its error, WalletSilent."""
        await self._fit()
        asked: _Asked | None = None
        try:
            with anyio.fail_after(timeout_s):
                # Before that an answer would be missed: relays do not store them.
                await self._listening.wait()
                asked = await self._publish(request, invoice_hash)
                await asked.answered.wait()
        except TimeoutError:
            what = "its relays are not reached" if asked is None else f"no answer to {request.method}"
            raise WalletSilent(f"{what} within {timeout_s:g} s") from None
        finally:
            if asked is not None:
                self._forget(asked)
        if asked.error is not None:
            raise asked.error
        return asked.result or {}

    async def _publish(self, request: Request, invoice_hash: str | None) -> _Asked:
        now_s = self._clock()
        event = self._connection.secret.sign(
            build_request(
                request,
                wallet=self._connection.wallet,
                cipher=self._cipher,
                nonce=self._nonce(),
                created_at=now_s,
                expires_at=now_s + REQUEST_LIFE_S,
            )
        )
        asked = _Asked(event, request.method, invoice_hash)
        self._asked[event.id] = asked
        try:
            await self._feed.publish(event)
        except BaseException:
            # Cancelled or failed, it may be out: its answer is listened for all the same.
            self._forget(asked)
            raise
        return asked

    def _forget(self, asked: _Asked) -> None:
        if asked.invoice_hash is None or asked.answered.is_set():
            self._asked.pop(asked.event.id, None)
            return
        oldest = _remember(self._forgotten, asked.event.id)
        if oldest is not None:
            self._asked.pop(oldest, None)

    async def listen(self) -> None:
        """Take answers until cancelled."""
        wanted = make_filter(
            authors=[self._connection.wallet],
            kinds=[RESPONSE],
            tags={"p": [self._cipher.pubkey]},
            since=max(0, self._clock() - CLOCK_SKEW_S),
        )
        while True:
            try:
                async with self._feed.subscribe([wanted], name="nwc") as items:
                    async for item in items:
                        event = getattr(item, "event", None)
                        if isinstance(event, VerifiedEvent):
                            self._take(event)
                        else:
                            self._listening.set()
            except Exception as error:  # relays come and go, each bridge in its own words
                log.warning("%s is not listened to: %s", self.name, error)
            if self._listening.is_set():
                self._listening = anyio.Event()
            await anyio.sleep(RETRY_S)

    def _take(self, event: VerifiedEvent) -> None:
        asked = self._asked.get(event.tag_value("e") or "")
        if asked is None or asked.answered.is_set():
            return
        try:
            asked.result = parse_response(event, asked=asked.event, method=asked.method, cipher=self._cipher)
        except WalletError as error:
            asked.error = error
        except InvalidNwc as error:
            # Somebody else's, or nonsense: the wallet's own answer may still come.
            log.warning("%s sent an answer that is none: %s", self.name, error)
            return
        asked.answered.set()
        if asked.event.id in self._forgotten:
            self._take_late(asked)

    def _take_late(self, asked: _Asked) -> None:
        del self._forgotten[asked.event.id]
        self._asked.pop(asked.event.id, None)
        if asked.result is None or asked.invoice_hash is None:
            # That it failed, it shall say when it is asked.
            return
        try:
            self._late[asked.invoice_hash] = _proof(asked.result, asked.invoice_hash)
        except (WalletConfused, InvalidNwc) as error:
            log.warning("%s answered late, and not well: %s", self.name, error)
        if len(self._late) > MAX_FORGOTTEN:
            del self._late[next(iter(self._late))]


def _remember(known: dict[str, None], key: str) -> str | None:
    """Add to what is remembered in order; the oldest, if it is too much and must go."""
    known[key] = None
    if len(known) <= MAX_FORGOTTEN:
        return None
    oldest = next(iter(known))
    del known[oldest]
    return oldest


def _proof(result: Mapping[str, object], payment_hash: str) -> Paid:
    done = commands.parse_paid(result)
    return paid(done.preimage, payment_hash, done.fee_msat or 0)


def _state(found: commands.Transaction, payment_hash: str) -> Paid | Pending | FailedPayment:
    if found.direction is not commands.Direction.OUTGOING:
        raise WalletConfused("the wallet tells of an invoice of its own, not of a payment")
    if found.is_settled:
        return paid(found.preimage or "", payment_hash, found.fee_msat or 0)
    if found.state is commands.State.FAILED:
        return FailedPayment("the wallet says that it failed")
    # EXPIRED is said of invoices; of a payment it tells nothing for sure.
    return Pending()


@asynccontextmanager
async def open_nwc_backend(
    feed: EventFeed,
    connection: Connection,
    *,
    clock: Callable[[], int] = _now_s,
    pay_timeout_s: float = PAY_TIMEOUT_S,
    ask_timeout_s: float = ASK_TIMEOUT_S,
) -> AsyncIterator[NwcBackend]:
    """`feed`: to the connection's relays; `clock` gives Unix seconds.

    Raises WalletUnfit when the wallet says that it cannot do what payouts need; one that is away may yet come.
    """
    backend = NwcBackend(feed, connection, clock=clock, pay_timeout_s=pay_timeout_s, ask_timeout_s=ask_timeout_s)
    try:
        await backend.check()
    except (WalletSilent, InvalidNwc) as error:
        log.warning("%s is not reached yet: %s", backend.name, error)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend.listen)
        try:
            yield backend
        finally:
            tasks.cancel_scope.cancel()
