"""A client's side of the dialogue with one relay (NIP-01): what may come back, and what is dropped and counted.

A request moves by this table; what it does not list is unexpected, dropped and counted.

    asked --EVENT--> asked    asked --EOSE--> live    live --EVENT--> live    asked, live --CLOSED or CLOSE--> ended
"""

import enum
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence

from nips.errors import InvalidMessage
from nips.nip01 import Filter
from nips.nip77 import NegClose, NegError, NegMessage, NegOpen
from relay_bridge.messages import (
    ClientClose,
    ClientCount,
    ClientReq,
    RelayClosed,
    RelayCount,
    RelayEose,
    RelayEvent,
    RelayMessage,
    RelayOk,
    encode_client_message,
    parse_relay_message,
)

# Requests ended a moment ago, whose last events may still be under way: those are no fault of the relay's.
_RECENTLY_ENDED = 256


class RequestState(enum.Enum):
    """Where a request stands."""

    ASKED = "asked"
    LIVE = "live"
    ENDED = "ended"


class Step(enum.Enum):
    """What moves a request."""

    EVENT = "EVENT"
    EOSE = "EOSE"
    CLOSED = "CLOSED"
    CLOSE = "CLOSE"


TABLE: dict[tuple[RequestState, Step], RequestState] = {
    (RequestState.ASKED, Step.EVENT): RequestState.ASKED,
    (RequestState.ASKED, Step.EOSE): RequestState.LIVE,
    (RequestState.ASKED, Step.CLOSED): RequestState.ENDED,
    (RequestState.ASKED, Step.CLOSE): RequestState.ENDED,
    (RequestState.LIVE, Step.EVENT): RequestState.LIVE,
    (RequestState.LIVE, Step.CLOSED): RequestState.ENDED,
    (RequestState.LIVE, Step.CLOSE): RequestState.ENDED,
}


class RelayDialogue:
    """One connection. `counts` has, by reason, how many frames were dropped; `report` is told each reason in words."""

    def __init__(self, counts: Counter[str], report: Callable[[str], None] | None = None) -> None:
        self._counts = counts
        self._report = report
        self._requests: dict[str, tuple[RequestState, tuple[Filter, ...]]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._awaited: set[str] = set()
        # Questions with one answer at a time (COUNT, NEG-OPEN, NEG-MSG) that wait for it.
        self._questions: set[str] = set()

    def ask(self, sub_id: str, filters: Sequence[Filter]) -> str:
        """The REQ frame. An open request of that id is replaced, as NIP-01 has it."""
        self._requests[sub_id] = (RequestState.ASKED, tuple(filters))
        self._ended.pop(sub_id, None)
        return encode_client_message(ClientReq(sub_id, tuple(filters)))

    def close(self, sub_id: str) -> str | None:
        """The CLOSE frame, None if there is no such request (the relay may have ended it)."""
        if not self._move(sub_id, Step.CLOSE):
            return None
        return encode_client_message(ClientClose(sub_id))

    def count(self, sub_id: str, asked: Filter) -> str:
        """The COUNT frame (NIP-45); one answer is awaited."""
        self._questions.add(sub_id)
        return encode_client_message(ClientCount(sub_id, (asked,)))

    def reconcile(self, message: NegOpen | NegMessage) -> str:
        """A frame of a reconciliation (NIP-77); one answer is awaited."""
        self._questions.add(message.sub_id)
        return encode_client_message(message)

    def end_question(self, sub_id: str) -> str:
        """The NEG-CLOSE frame; no answer is awaited any more, one that is under way is ignored."""
        self._questions.discard(sub_id)
        self._remember_ended(sub_id)
        return encode_client_message(NegClose(sub_id))

    def publish(self, event_id: str, text: str) -> str:
        """The EVENT frame around an event's JSON text; its OK is awaited from now on."""
        self.expect_ok(event_id)
        return f'["EVENT",{text}]'

    def expect_ok(self, event_id: str) -> None:
        """An event of that id was sent, an EVENT or the answer to a challenge: its OK is awaited."""
        self._awaited.add(event_id)

    def state(self, sub_id: str) -> RequestState:
        """Where the request stands; one never made has ended."""
        return self._requests[sub_id][0] if sub_id in self._requests else RequestState.ENDED

    def receive(self, data: str | bytes) -> RelayMessage | None:
        """What the relay said, if it is an answer to something asked; None if the frame is to be ignored.

        Events are well formed and match a filter of their request; they are not verified.
        """
        try:
            if isinstance(data, bytes):
                raise InvalidMessage("a binary frame")
            message = parse_relay_message(data)
        except InvalidMessage as error:
            self._drop("garbage", str(error))
            return None
        match message:
            case RelayEvent():
                expected = self._expects_event(message)
            case RelayEose(sub_id):
                expected = self._expects_step(sub_id, Step.EOSE)
            case RelayClosed(sub_id) if sub_id in self._questions:
                # NIP-45: a relay that won't count answers CLOSED.
                self._questions.discard(sub_id)
                expected = True
            case RelayCount(sub_id) | NegMessage(sub_id) | NegError(sub_id):
                expected = sub_id in self._questions or self._drop_unknown(sub_id)
                self._questions.discard(sub_id)
            case RelayClosed(sub_id):
                expected = self._expects_step(sub_id, Step.CLOSED)
            case RelayOk():
                expected = self._expects_ok(message)
            case _:
                expected = True
        return message if expected else None

    def _expects_event(self, message: RelayEvent) -> bool:
        request = self._requests.get(message.sub_id)
        if request is None:
            return self._drop_unknown(message.sub_id)
        if not any(asked.matches(message.event) for asked in request[1]):
            return self._drop("unasked_event", f"event {message.event.id} does not match the request")
        return self._move(message.sub_id, Step.EVENT)

    def _expects_step(self, sub_id: str, step: Step) -> bool:
        if sub_id not in self._requests:
            return self._drop_unknown(sub_id)
        return self._move(sub_id, step) or self._drop("out_of_turn", f"{step.value} out of turn")

    def _expects_ok(self, message: RelayOk) -> bool:
        if message.event_id not in self._awaited:
            return self._drop("unasked_ok", f"an OK for {message.event_id}, which was not sent")
        self._awaited.discard(message.event_id)
        return True

    def _move(self, sub_id: str, step: Step) -> bool:
        request = self._requests.get(sub_id)
        if request is None:
            return False
        state = TABLE.get((request[0], step))
        if state is None:
            return False
        if state is RequestState.ENDED:
            del self._requests[sub_id]
            self._remember_ended(sub_id)
        elif state is not request[0]:
            self._requests[sub_id] = (state, request[1])
        return True

    def _remember_ended(self, sub_id: str) -> None:
        self._ended[sub_id] = None
        if len(self._ended) > _RECENTLY_ENDED:
            self._ended.popitem(last=False)

    def _drop_unknown(self, sub_id: str) -> bool:
        if sub_id in self._ended:
            return False
        return self._drop("unknown_subscription", f"a message for subscription {sub_id!r}, which does not exist")

    def _drop(self, kind: str, reason: str) -> bool:
        """Count a frame that is not expected: always False."""
        self._counts[kind] += 1
        if self._report is not None:
            self._report(reason)
        return False
