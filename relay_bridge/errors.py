"""Errors of the relay side.

    RelayBridgeError
     +-- RelayUnavailable      none of the relays asked gave a whole answer
     +-- RelayGone             the connection ended, or never came up, while it was needed
     +-- RequestClosed         the relay ended a request with CLOSED
     +-- RelayMisbehaved       the relay broke NIP-01 in a way that makes its answer worthless
     +-- BridgeNotRunning      a RelayBridge was used outside of its `run`
     +-- StoreError            a database of ours failed
          +-- QueryTooSlow     a query of the event store passed its time bound
          +-- TooManyRecords   more events match than were allowed for

    nips.errors.InvalidMessage
     +-- InvalidEventMessage   an EVENT or AUTH whose event is malformed but whose id can be read
     +-- InvalidRequest        a REQ or COUNT whose id can be read and whose filters are wrong

The first tree is about doing, the second about what a peer wrote.
"""

from nips.errors import InvalidMessage


class RelayBridgeError(Exception):
    """Something on the way to or from a relay failed."""


class RelayUnavailable(RelayBridgeError):
    """None of the relays asked gave a whole answer; `reasons` maps each to why."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons

    def __str__(self) -> str:
        told = "; ".join(f"{url}: {reason}" for url, reason in self.reasons.items())
        return f"no relay answered ({told or 'none is configured'})"


class RelayGone(RelayBridgeError):
    """The connection to the relay ended, or could not be made."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection to {self.url} is gone: {self.reason}"


class RequestClosed(RelayBridgeError):
    """The relay ended our request with CLOSED and this message (NIP-01)."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.url} closed the request: {self.reason}"


class RelayMisbehaved(RelayBridgeError):
    """The relay's answer breaks NIP-01 so far that it is worth nothing."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.url} misbehaved: {self.reason}"


class BridgeNotRunning(RelayBridgeError):
    """The bridge is used before `run` started or after it ended."""

    def __str__(self) -> str:
        return "the relay bridge is not running: start RelayBridge.run in a task group first"


class StoreError(RelayBridgeError):
    """A database of ours failed; nothing of what was asked is promised to be on disk."""


class QueryTooSlow(StoreError):
    """A query of the event store passed its time bound."""


class TooManyRecords(StoreError):
    """More events match than were allowed for."""


class InvalidEventMessage(InvalidMessage):
    """The event in the message is malformed; its id could be read, so an OK can name it."""

    def __init__(self, event_id: str, reason: str) -> None:
        super().__init__(event_id, reason)
        self.event_id = event_id
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class InvalidRequest(InvalidMessage):
    """The filters of a REQ or COUNT are wrong; its id could be read, so a CLOSED can name it."""

    def __init__(self, sub_id: str, reason: str) -> None:
        super().__init__(sub_id, reason)
        self.sub_id = sub_id
        self.reason = reason

    def __str__(self) -> str:
        return self.reason
