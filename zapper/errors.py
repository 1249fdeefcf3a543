"""Errors of the zapper.

    ZapperError
     +-- HttpFailed            a server could not be asked, or answered with what we do not read
     |    +-- AddressRefused   the URL leads where we do not go (a private address, plain http)
     +-- PaymentBlocked        a payee cannot be paid now; the reason is shown to the miner
     |    +-- PoolFault        by no fault of the payee's, who is not given up for it
     +-- MintError             a Cashu mint
     |    +-- MintFailed       it could not be asked, or its answer is not what we read: the outcome is not known
     |    +-- MintRefused      it says no
     +-- IllegalStep           an event that the payout's state does not know
     +-- StoreError            the intent store
          +-- StoreInUse       another process has it
          +-- StoreDamaged     its file is damaged
          +-- Conflict         what was to be stored contradicts what is stored
          +-- DayFull          the pool has paid out what it pays in a day
          +-- StoreBehind      our own payout records on the relays are newer than the store

The first three are others' doing and wait for another try; the rest is ours, and stops the payout at hand.
"""

from pathlib import Path


class ZapperError(Exception):
    """Something of the zapper went wrong."""


class HttpFailed(ZapperError):
    """A server could not be asked, or its answer is not what we read."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(host, reason)
        self.host = host
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.host}: {self.reason}"


class AddressRefused(HttpFailed):
    """The URL leads to where the zapper does not go."""


class PaymentBlocked(ZapperError):
    """This payee cannot be paid now."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class PoolFault(PaymentBlocked):
    """This payee cannot be paid now, and can do nothing about it."""


class MintError(ZapperError):
    """A Cashu mint did not do what it was asked."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"mint {self.url}: {self.reason}"


class MintFailed(MintError):
    """The mint could not be asked, or did not answer as the NUTs have it. Whether it acted is not known."""


class MintRefused(MintError):
    """The mint says no. `code` is the NUTs' error code, 0 when it gave none: then it may be any fault of its own."""

    def __init__(self, url: str, reason: str, code: int) -> None:
        super().__init__(url, reason)
        self.args = (url, reason, code)
        self.code = code


class IllegalStep(ZapperError):
    """A payout in this state knows no such event."""

    def __init__(self, state: str, event: str) -> None:
        super().__init__(state, event)
        self.state = state
        self.event = event

    def __str__(self) -> str:
        return f"a payout that is {self.state} knows no {self.event}"


class StoreError(ZapperError):
    """The intent store could not do what it was asked."""


class StoreInUse(StoreError):
    """Another process works on this intent store."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"another zapper works on {self.path}: two would pay twice"


class StoreDamaged(StoreError):
    """The file of a store is damaged; nothing in it was changed."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(path, reason, remedy)
        self.path = path
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.path}: the file is damaged: {self.reason}; {self.remedy}"


class Conflict(StoreError):
    """What was to be stored contradicts what is stored; nothing was changed."""


class DayFull(StoreError):
    """What leaves in any 24 hours would be more than the published terms allow; nothing was changed."""

    def __str__(self) -> str:
        return "the pool has paid out what it pays in a day"


class StoreBehind(StoreError):
    """The relays hold payout records of our key that the intent store does not know: it is an old copy, or lost."""

    def __init__(self, stored: int, seen: int) -> None:
        super().__init__(stored, seen)
        self.stored = stored
        self.seen = seen

    def __str__(self) -> str:
        return (
            f"the relays hold our payout record {self.seen}, the intent store ends at {self.stored}: "
            "restore the newest intent store, since paying from an old one could pay twice"
        )
