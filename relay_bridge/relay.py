"""The embedded relay's core: what a connection's messages ask for, and what they are answered (NIP-01, 40, 42, 45, 70,
77).

A `RelaySession` is one connection. `receive` takes a message and returns actions; the server carries them out and
reports what the store said through `stored`. Nothing here waits or does I/O.
"""

from collections import Counter
from dataclasses import dataclass

from nips.errors import InvalidEvent, InvalidMessage
from nips.nip01 import Filter, VerifiedEvent, verify
from nips.nip42 import KIND_CLIENT_AUTH, check_client_auth
from nips.nip77 import NegClose, NegError, NegMessage, NegOpen
from relay_bridge.errors import InvalidEventMessage, InvalidRequest
from relay_bridge.messages import (
    ClientAuth,
    ClientClose,
    ClientCount,
    ClientEvent,
    ClientReq,
    RelayAuth,
    RelayClosed,
    RelayCount,
    RelayNotice,
    RelayOk,
    encode_relay_message,
    event_json,
    parse_client_message,
)
from relay_bridge.ports import Outcome, Policy
from relay_bridge.refusal import Refusal


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What one connection may ask of the relay."""

    # JSON text in bytes: an event of 65,536 bytes in its envelope, or a REQ with some 900 hex values.
    message_bytes: int = 128 * 1024
    # A web client holds about ten, a `RelayBridge` about as many; strfry allows 200.
    subscriptions: int = 64
    # Filters of one REQ; each is a query of its own.
    filters: int = 16
    # Values in one filter: a filter is answered by one merge of (author, kind) ranges.
    filter_values: int = 1_000
    # strfry's default.
    default_results: int = 500
    max_results: int = 5_000
    # Messages that break the protocol before the connection is ended: more is no accident.
    bad_messages: int = 100


@dataclass(frozen=True, slots=True)
class Send:
    """Send this frame."""

    frame: str


@dataclass(frozen=True, slots=True)
class Store:
    """Put this event into the store, then call `stored`. An ephemeral one is only passed on."""

    event: VerifiedEvent
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """Register the subscription, send what is stored, then EOSE, then what comes."""

    sub_id: str
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """Count what is stored and answer COUNT."""

    sub_id: str
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Forget the subscription."""

    sub_id: str


@dataclass(frozen=True, slots=True)
class Hangup:
    """End the connection, giving this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Begin, go on with or end a reconciliation (NIP-77)."""

    message: NegOpen | NegMessage | NegClose


Action = Send | Store | Query | Count | Unsubscribe | Reconcile | Hangup


def expiration(event: VerifiedEvent) -> int | None:
    """The Unix second at which the event expires (NIP-40), None if it does not or the tag is malformed."""
    value = event.tag_value("expiration")
    # Sixteen digits hold every second that a double holds exactly; longer ones are no time.
    if value is None or not (value.isascii() and value.isdigit()) or len(value) > 16:
        return None
    return int(value)


class RelaySession:
    """One connection of the embedded relay."""

    def __init__(
        self,
        *,
        policy: Policy,
        challenge: str,
        hosts: frozenset[str],
        source: str,
        stats: Counter[str],
        limits: RelayLimits,
    ) -> None:
        """`hosts` are the names this relay is reached under (NIP-42), `source` is the peer's address."""
        self._policy = policy
        self._challenge = challenge
        self._hosts = hosts
        self._source = source
        self._stats = stats
        self._limits = limits
        self._authed: set[str] = set()
        self._subs: set[str] = set()
        self._bad = 0

    @property
    def subscriptions(self) -> frozenset[str]:
        """The ids of the subscriptions that are open."""
        return frozenset(self._subs)

    def greeting(self) -> Send:
        """The challenge, offered at once; answering it is up to the client (NIP-42)."""
        return Send(encode_relay_message(RelayAuth(self._challenge)))

    def receive(self, text: str, now_ms: int) -> list[Action]:
        """Judge one message."""
        try:
            message = parse_client_message(text)
        except InvalidEventMessage as error:
            return self._misuse(RelayOk(error.event_id, False, f"invalid: {error}"))
        except InvalidRequest as error:
            self._subs.discard(error.sub_id)
            actions = self._misuse(RelayClosed(error.sub_id, f"invalid: {error}"))
            return [Unsubscribe(error.sub_id), *actions]
        except InvalidMessage as error:
            return self._misuse(RelayNotice(f"invalid: {error}"))
        match message:
            case ClientEvent():
                return self._event(message, now_ms)
            case ClientReq(sub_id, filters):
                return self._request(sub_id, filters)
            case ClientCount(sub_id, filters):
                wrong = self._check_filters(filters)
                if wrong is not None:
                    return [Send(encode_relay_message(RelayClosed(sub_id, str(wrong))))]
                return [Count(sub_id, filters)]
            case ClientClose(sub_id):
                self._subs.discard(sub_id)
                return [Unsubscribe(sub_id)]
            case ClientAuth():
                return [Send(encode_relay_message(self._auth(message, now_ms)))]
            case NegOpen(sub_id, asked):
                wrong = self._check_filters((asked,))
                if wrong is not None:
                    return [Send(encode_relay_message(NegError(sub_id, str(wrong))))]
                return [Reconcile(message)]
            case NegMessage() | NegClose():
                return [Reconcile(message)]

    def binary(self) -> list[Action]:
        """A binary frame came, which NIP-01 does not know."""
        return self._misuse(RelayNotice("invalid: messages are text, not binary"))

    def stored(self, event: VerifiedEvent, outcome: Outcome) -> tuple[Send, bool]:
        """The answer to the author, and whether the event is to be fanned out."""
        self._stats[f"events_{outcome.value}"] += 1
        match outcome:
            case Outcome.STORED:
                ok = RelayOk(event.id, True, "")
            case Outcome.DUPLICATE:
                ok = RelayOk(event.id, True, "duplicate: already have this event")
            case Outcome.SUPERSEDED:
                ok = RelayOk(event.id, True, "duplicate: have a newer event of this address")
            case Outcome.DELETED:
                ok = RelayOk(event.id, False, "blocked: its author asked for its deletion")
            case Outcome.FAILED:
                ok = RelayOk(event.id, False, "error: could not be stored, try again later")
        return Send(encode_relay_message(ok)), outcome is Outcome.STORED

    def counted(self, sub_id: str, count: int) -> Send:
        """The answer to a COUNT (NIP-45)."""
        return Send(encode_relay_message(RelayCount(sub_id, count)))

    def closed(self, sub_id: str, reason: str) -> Send:
        """End a subscription from our side."""
        self._subs.discard(sub_id)
        return Send(encode_relay_message(RelayClosed(sub_id, reason)))

    def _misuse(self, answer: RelayOk | RelayClosed | RelayNotice) -> list[Action]:
        self._stats["bad_messages"] += 1
        self._bad += 1
        actions: list[Action] = [Send(encode_relay_message(answer))]
        if self._bad >= self._limits.bad_messages:
            actions.append(Hangup("too many messages that break the protocol"))
        return actions

    def _refuse(self, event_id: str, refusal: Refusal) -> list[Action]:
        self._stats["events_refused"] += 1
        self._stats[f"refused_{refusal.prefix}"] += 1
        return [Send(encode_relay_message(RelayOk(event_id, False, str(refusal))))]

    def _event(self, message: ClientEvent, now_ms: int) -> list[Action]:
        event = message.event
        if event.kind == KIND_CLIENT_AUTH:
            return self._refuse(event.id, Refusal("invalid", "kind 22242 goes into an AUTH message"))
        text = event_json(event)
        refusal = self._policy.screen(event, size=len(text.encode()), now_ms=now_ms)
        if refusal is not None:
            return self._refuse(event.id, refusal)
        try:
            verified = verify(event)
        except InvalidEvent as error:
            return self._misuse(RelayOk(event.id, False, f"invalid: {error}"))
        expires_at = expiration(verified)
        if expires_at is not None and expires_at * 1000 <= now_ms:
            return self._refuse(event.id, Refusal("invalid", "the event has expired"))
        if ("-",) in event.tags and event.pubkey not in self._authed:
            # NIP-70: protected events are taken from their authenticated author only.
            reason = "this event may only be published by its author"
            return self._refuse(event.id, Refusal("restricted" if self._authed else "auth-required", reason))
        refusal = self._policy.charge(verified, source=self._source, now_ms=now_ms)
        if refusal is not None:
            return self._refuse(event.id, refusal)
        return [Store(verified, text)]

    def passed_on(self, event: VerifiedEvent) -> Send:
        """The answer for an ephemeral event, which is fanned out and not stored."""
        self._stats["events_ephemeral"] += 1
        return Send(encode_relay_message(RelayOk(event.id, True, "")))

    def _request(self, sub_id: str, filters: tuple[Filter, ...]) -> list[Action]:
        wrong = self._check_filters(filters)
        if wrong is None and sub_id not in self._subs and len(self._subs) >= self._limits.subscriptions:
            wrong = Refusal("error", f"a connection may hold {self._limits.subscriptions} subscriptions")
        if wrong is not None:
            self._stats["requests_refused"] += 1
            self._subs.discard(sub_id)
            return [Unsubscribe(sub_id), Send(encode_relay_message(RelayClosed(sub_id, str(wrong))))]
        self._subs.add(sub_id)
        self._stats["requests"] += 1
        return [Query(sub_id, filters)]

    def _check_filters(self, filters: tuple[Filter, ...]) -> Refusal | None:
        if len(filters) > self._limits.filters:
            return Refusal("invalid", f"a request may hold {self._limits.filters} filters")
        for asked in filters:
            values = sum(len(part) for part in (asked.ids, asked.authors, asked.kinds) if part is not None)
            values += sum(len(wanted) for _, wanted in asked.tags)
            if values > self._limits.filter_values:
                return Refusal("invalid", f"a filter may hold {self._limits.filter_values} values")
        return None

    def _auth(self, message: ClientAuth, now_ms: int) -> RelayOk:
        event = message.event
        try:
            proven = check_client_auth(
                verify(event), challenge=self._challenge, hosts=self._hosts, now_s=now_ms // 1000
            )
        except InvalidEvent as error:
            self._stats["bad_messages"] += 1
            self._bad += 1
            return RelayOk(event.id, False, f"invalid: {error}")
        self._authed.add(proven)
        return RelayOk(event.id, True, "")
