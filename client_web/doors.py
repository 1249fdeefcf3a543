"""Who may hold how many of the web server's connections: all together, and one address.

Behind a reverse proxy a connection is the proxy's; there each question counts, for the address that the proxy names.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec

from client_web.api.limits import Network, address_of, is_within

# Connections at once. Each is a file, of which a process has 1024 where nobody raised that.
MAX_CONNECTIONS: Final = 512
# Of one address (IPv6: one /64), or questions at once that a proxy brings from it: a browser takes six connections and
# two that last (the relay, the live numbers), so that a household or a small office has room, and it takes eight
# addresses to fill the server.
MAX_PER_ADDRESS: Final = 64
# When to come again: connections come free as fast as pages are read.
RETRY_S: Final = 5
REASONS: Final = {429: b"Too Many Requests", 503: b"Service Unavailable", 408: b"Request Timeout",
                  431: b"Request Header Fields Too Large"}  # fmt: skip


@dataclass(slots=True)
class DoorTally:
    """What the doors count: connections that are open, and by reason what was refused or cut off since the start."""

    open: int = 0
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection or a question is not taken: an HTTP status and a sentence."""

    status: int
    error: str

    def headers(self) -> dict[str, str]:
        """The answer's headers, but for its length."""
        told = {"content-type": "application/json", "access-control-allow-origin": "*"}
        return {**told, "retry-after": str(RETRY_S)} if self.status in (429, 503) else told

    def body(self) -> bytes:
        """The answer's body."""
        return msgspec.json.encode({"error": self.error})

    def response(self) -> bytes:
        """The whole answer of a connection that ends with it."""
        body = self.body()
        lines = [b"HTTP/1.1 %d %s" % (self.status, REASONS[self.status])]
        headers = {**self.headers(), "content-length": str(len(body)), "connection": "close"}
        lines += [f"{name}: {value}".encode() for name, value in headers.items()]
        return b"\r\n".join([*lines, b"", body])


FULL: Final = Refusal(503, "the pool's web server has no connection free; come again in some seconds")
TOO_MANY: Final = Refusal(429, "your address has as many connections open as it may; close one, then come again")
SLOW: Final = Refusal(408, "the request did not come in time")
LONG: Final = Refusal(431, "the request's headers are too long")
# What the tally calls them; `rate` is who asks too often, `unread` who does not take its answers, `pipelined` who sends
# many requests ahead of them.
NAMES: Final = {FULL: "full", TOO_MANY: "address", SLOW: "slow", LONG: "long"}
COUNTED: Final = (*NAMES.values(), "rate", "unread", "pipelined")


class Doors:
    """The doors of one server. Who entered leaves once, by the same name."""

    def __init__(
        self,
        tally: DoorTally | None = None,
        proxies: tuple[Network, ...] = (),
        *,
        most: int = MAX_CONNECTIONS,
        most_of_one: int = MAX_PER_ADDRESS,
    ) -> None:
        """`proxies`: whose connections are not their own; they are bounded by `most` alone."""
        self.tally = DoorTally() if tally is None else tally
        self.proxies = proxies
        self._most = most
        self._most_of_one = most_of_one
        self._of: Counter[str] = Counter()

    def enter(self, peer: str) -> Refusal | None:
        """A connection of a peer (its IP address); why it is not taken, or None if it is."""
        if self.tally.open >= self._most:
            return self.refuse(FULL)
        if not is_within(peer, self.proxies):
            refusal = self.admit(address_of(peer, "", ()))
            if refusal is not None:
                return refusal
        self.tally.open += 1
        return None

    def leave(self, peer: str) -> None:
        """The connection is gone."""
        self.tally.open -= 1
        if not is_within(peer, self.proxies):
            self.dismiss(address_of(peer, "", ()))

    def admit(self, address: str) -> Refusal | None:
        """One more of an address, as `address_of` names it."""
        if self._of[address] >= self._most_of_one:
            return self.refuse(TOO_MANY)
        self._of[address] += 1
        return None

    def dismiss(self, address: str) -> None:
        """One less of an address; who has none left is forgotten."""
        self._of[address] -= 1
        if self._of[address] <= 0:
            del self._of[address]

    def held(self, address: str) -> int:
        """How many an address holds."""
        return self._of.get(address, 0)

    def refuse(self, refusal: Refusal) -> Refusal:
        """Count a refusal."""
        self.tally.refused[NAMES[refusal]] += 1
        return refusal
