"""Errors of the protocol layer.

    NipError
     +-- InvalidEvent          not an event by NIP-01's form
     |    +-- BadId            the id is not the hash of the event
     |    +-- BadSignature     the signature is not the author's
     +-- InvalidFilter         not a filter by NIP-01's form
     +-- InvalidMessage        not a relay or client message by NIP-01's form
     +-- InvalidKey            not a key, or not of the kind asked for (NIP-19)
     +-- InvalidInvoice        not a BOLT 11 invoice, or not the one asked for
     +-- InvalidPoolEvent      an event of the pool protocol whose content breaks SPEC.md

Every one of them means that what the other side sent is wrong; our own mistakes are ValueError and TypeError.
"""


class NipError(Exception):
    """What was read breaks a NIP."""


class InvalidEvent(NipError):
    """The value is not an event of NIP-01's form."""


class BadId(InvalidEvent):
    """The event's id is not the SHA-256 of its serialisation."""

    def __init__(self, claimed: str, computed: str) -> None:
        super().__init__(claimed, computed)
        self.claimed = claimed
        self.computed = computed

    def __str__(self) -> str:
        return f"event id {self.claimed} is not the event's hash {self.computed}"


class BadSignature(InvalidEvent):
    """The event's signature does not verify under its pubkey (BIP-340)."""

    def __init__(self, event_id: str, pubkey: str) -> None:
        super().__init__(event_id, pubkey)
        self.event_id = event_id
        self.pubkey = pubkey

    def __str__(self) -> str:
        return f"event {self.event_id} is not signed by {self.pubkey}"


class InvalidFilter(NipError):
    """The value is not a filter of NIP-01's form."""


class InvalidMessage(NipError):
    """The value is not a message of NIP-01's form."""


class InvalidKey(NipError):
    """The text is not a key of the kind asked for."""


class InvalidInvoice(NipError):
    """The text is not a BOLT 11 invoice, or not the invoice that was asked for."""


class InvalidPoolEvent(NipError):
    """An event of the pool protocol whose tags or content break SPEC.md."""
