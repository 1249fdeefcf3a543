"""How far a Stratum connection has come, and which request moves it where."""

from enum import Enum
from typing import Final


class State(Enum):
    """How far a connection has come."""

    CONNECTED = "connected"
    SUBSCRIBED = "subscribed"
    AUTHORIZED = "authorized"
    MINING = "mining"
    CLOSED = "closed"


SUBSCRIBE: Final = "subscribe"
AUTHORIZE: Final = "authorize"
CLOSE: Final = "close"

# The order of subscribe and authorize varies by firmware; both may come again.
TRANSITIONS: Final[dict[tuple[State, str], State]] = {
    (State.CONNECTED, SUBSCRIBE): State.SUBSCRIBED,
    (State.CONNECTED, AUTHORIZE): State.AUTHORIZED,
    (State.SUBSCRIBED, SUBSCRIBE): State.SUBSCRIBED,
    (State.SUBSCRIBED, AUTHORIZE): State.MINING,
    (State.AUTHORIZED, SUBSCRIBE): State.MINING,
    (State.AUTHORIZED, AUTHORIZE): State.AUTHORIZED,
    (State.MINING, SUBSCRIBE): State.MINING,
    (State.MINING, AUTHORIZE): State.MINING,
    (State.CONNECTED, CLOSE): State.CLOSED,
    (State.SUBSCRIBED, CLOSE): State.CLOSED,
    (State.AUTHORIZED, CLOSE): State.CLOSED,
    (State.MINING, CLOSE): State.CLOSED,
}
