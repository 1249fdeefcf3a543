"""What the zapper asks of the rest of the pool and of the world."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from nips.bolt11 import Invoice
from nips.nip01 import Filter, VerifiedEvent
from nips.pool.chain import Head
from zapper.payout import Intent, Step
from zapper.said import Move


@dataclass(frozen=True, slots=True)
class Paid:
    """The payment reached the payee. `preimage` in hex, "" where the method has none; a caller checks it against the
    payment hash. `evidence`: what else the payout record's proof is made of, as text.
    """

    preimage: str
    fee_msat: int
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The backend has not paid and will not. `ours`: for a reason that no payee can do anything about."""

    reason: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Unclear:
    """The backend may have paid, or may yet."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pending:
    """The payment is under way."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """The backend has never seen this payment."""


@dataclass(frozen=True, slots=True)
class FailedPayment:
    """The backend tried and gave up for good: no money left."""

    reason: str


class LightningBackend(Protocol):
    """A wallet that pays. Its methods may raise any Exception: that is taken as Unclear."""

    @property
    def name(self) -> str:
        """For people and logs."""

    async def pay(self, invoice: Invoice, *, max_fee_msat: int) -> Paid | Refused | Unclear:
        """Pay the invoice once: the same payment hash is never paid twice by a wallet."""

    async def lookup(self, payment_hash: str) -> Paid | Pending | NotFound | FailedPayment:
        """What became of a payment of ours."""

    async def balance_msat(self) -> int:
        """What can be spent."""


@dataclass(frozen=True, slots=True)
class Owed:
    """What the ledger says of one miner.

    `earned_msat`: matured, ever. `applied`: the payout records the ledger has seen, by payout_id, in msat (negative for
    money that came back). The ledger may lag behind the zapper: `zapper.plan.due_msat` makes that harmless.
    `statements`: ids of the newest statements with this miner, for the line people read. `active_ms`: when the miner
    last earned (Unix ms), None where that is not known.
    """

    miner: str
    earned_msat: int
    applied: Mapping[str, int] = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    active_ms: int | None = None


class OwedSource(Protocol):
    """The accounting, as the zapper sees it."""

    async def owed(self) -> Sequence[Owed] | None:
        """Every miner with matured earnings; None before the log is read whole: payouts could be missing in it."""


class Http(Protocol):
    """Asks servers nobody vouches for."""

    async def get_json(self, url: str) -> object:
        """The decoded JSON of a GET. Raises HttpFailed for all that is not a short, timely JSON answer."""


# A live question to the relays: an async context manager that gives an iterator once entered. Items with an `event`
# (VerifiedEvent), and one without once all that is stored was sent.
Subscription = AbstractAsyncContextManager[AsyncIterator[object]]


class EventFeed(Protocol):
    """The relays, verified and deduplicated."""

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Take the event over for good, in the order of its chain; the same id twice is one event."""

    def subscribe(self, filters: Sequence[Filter], *, name: str) -> Subscription:
        """What matches any of the filters, stored and live."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """What is stored and matches. Raises an Exception when no relay answered."""


class MinersRelays(Protocol):
    """Relays that miners name in their own relay lists (NIP-65): strangers' servers."""

    async def ask(self, urls: Sequence[str], filters: Sequence[Filter], *, timeout_s: float) -> list[VerifiedEvent]:
        """What these relays have stored that matches, verified; nothing of those that don't answer. Never raises."""


class ReceiptPublisher(Protocol):
    """Sends a wallet provider's zap receipts: for the demo's provider, which stands outside of the pool."""

    async def publish_receipt(self, event: VerifiedEvent, *, relays: Sequence[str]) -> None:
        """Bring the receipt to the relays its request named. Raises an Exception when none took it."""


@dataclass(frozen=True, slots=True)
class Payee:
    """How a miner's payouts went lately. `failures` in a row; no try before `not_before_ms`; why, for people.

    `since_ms`: when the first of them was; `dead_ms`: since when nothing more is tried, 0 while it is. `named`: the ids
    of the events that said how to pay it; others make a dead letter live again.
    """

    miner: str
    failures: int
    not_before_ms: int
    reason: str
    since_ms: int = 0
    dead_ms: int = 0
    named: str = ""


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The newest of our payout records."""

    head: Head
    created_at: int


@dataclass(frozen=True, slots=True)
class RoundDone:
    """The newest moment whose round of payouts has ended, Unix ms, by which schedule ("" for the interval).

    `ended_ms`: when a round ended last; None before the first, when the moment is since when the schedule is followed.
    """

    schedule: str
    moment_ms: int
    ended_ms: int | None


class IntentStore(Protocol):
    """The zapper's memory: what it says is on disk when the call returns, before money moves.

    It upholds on its own, whatever its caller does: one open payout a miner; no reference twice; steps only along
    the table, from the state the caller saw; one record a payout; the chain of records without gaps.
    """

    async def create(self, intent: Intent, *, per_day_msat: int | None = None) -> None:
        """A new payout in state INTENT. Raises Conflict; DayFull when more than `per_day_msat` would leave in the 24
        hours up to its creation, which is judged with the payout written, so that no two fit into one gap.
        """

    async def advance(self, seen: Intent, step: Step, now_ms: int, **changes: object) -> Intent:
        """The payout one step on, if it is still as seen. Raises IllegalStep, Conflict."""

    async def advance_all(self, seen: Sequence[tuple[Intent, Mapping[str, object]]], step: Step, now_ms: int) -> None:
        """These payouts one step on with their changes, all or none. Raises IllegalStep, Conflict."""

    async def set_receipt(self, payout_id: str, receipt: str) -> None:
        """Remember the id of the zap receipt."""

    async def get(self, payout_id: str) -> Intent | None:
        """One payout."""

    async def open_intents(self) -> list[Intent]:
        """Every payout that is not final, oldest first."""

    async def cancelled(self) -> list[Intent]:
        """Payouts whose batch was cancelled, oldest first."""

    async def note_sent(self, txid: str, now_ms: int) -> None:
        """A cancelled batch was found sent. The first time counts."""

    async def sent_all_the_same(self) -> list[str]:
        """The txids that `note_sent` was given, oldest first."""

    async def revive(self, seen: Intent, payload: str, reason: str, now_ms: int) -> bool:
        """A cancelled payout that was sent is under way again; False if another payout was settled by the same output.
        Raises Conflict: its miner has another one open.
        """

    async def holds(self, miner: str) -> dict[str, int]:
        """What this miner's payouts hold, by payout_id, in msat."""

    async def payee(self, miner: str) -> Payee | None:
        """How the miner's payouts went lately."""

    async def payees(self) -> list[Payee]:
        """Every payee whose last payouts failed, longest first."""

    async def set_payee(self, payee: Payee) -> None:
        """Remember it."""

    async def unrecorded(self) -> list[Intent]:
        """Settled payouts without a payout record, and returned ones without their reversal's, oldest first."""

    async def served(self) -> dict[str, str]:
        """The withdrawal requests that have been acted on for good, and why one failed ("" where not)."""

    async def sent_since(self, since_ms: int) -> int:
        """What payouts created since then (Unix ms) hold, in msat: all miners' together."""

    async def returnable(self, methods: Collection[str]) -> list[Intent]:
        """Settled and recorded payouts by these methods that are not known to be kept, oldest first."""

    async def set_kept(self, payout_id: str, now_ms: int) -> None:
        """The payee has it for good."""

    async def said(self, miner: str) -> list[VerifiedEvent]:
        """What `keep_said` was given last of this miner, one event a kind."""

    async def keep_said(self, events: Sequence[VerifiedEvent], moves: Sequence[Move] = ()) -> None:
        """Remember these replaceable events in place of those that their authors signed before, of the same kinds, and
        with them for good what they changed.
        """

    async def moves(self, since_ms: int) -> list[Move]:
        """What was changed since then (Unix ms), oldest first."""

    async def last_round(self) -> RoundDone | None:
        """What `set_last_round` was given last."""

    async def set_last_round(self, done: RoundDone) -> None:
        """Remember it."""

    async def signers(self) -> list[str]:
        """The keys (hex) that have signed payout records, in the order of their first."""

    async def chain_head(self, signer: str) -> ChainHead | None:
        """The newest payout record of that key (hex)."""

    async def append_record(self, payout_id: str, seq: int, event: VerifiedEvent) -> None:
        """The signed record of a settled payout, or of its return, as the next of its signer's. Raises Conflict."""

    async def unpublished(self) -> list[VerifiedEvent]:
        """Payout records not yet handed to the relays, oldest first."""

    async def mark_published(self, event_id: str) -> None:
        """The relay bridge has taken this record over."""
