"""Workers' names that are to stay out of the public log, because their miner's settings (34216) say so.

A pseudonym is "#" and 8 hex digits (SPEC.md, "4212 share receipt"), always the same for the same worker. It comes of a
secret of the edge: names are short, so that anybody could try them against a plain hash.
"""

import hmac
from collections.abc import Mapping
from typing import NamedTuple

# One worker of a farm of 1,000 shares its pseudonym with another with a probability of 1 in 8,000.
DIGITS = 8
SALT_SIZE = 32


class Hidden(NamedTuple):
    """What one miner asks to hide: every name, or those of some workers."""

    everything: bool
    workers: frozenset[str]

    @property
    def asks(self) -> bool:
        """Whether there is anything to hide."""
        return self.everything or bool(self.workers)

    def hides(self, worker: str) -> bool:
        """Whether this worker's name stays out of the log."""
        return self.everything or worker in self.workers


class HiddenNames:
    """A `stratum_edge.ports.Privacy`: who hides what."""

    def __init__(self, salt: bytes) -> None:
        """`salt`: SALT_SIZE secret bytes that stay the same."""
        self.salt = salt
        self._hidden: dict[str, Hidden] = {}

    @property
    def table(self) -> Mapping[str, Hidden]:
        """miner (hex) -> what it hides."""
        return self._hidden

    def replace(self, table: Mapping[str, Hidden]) -> None:
        """Go by this table from now on."""
        self._hidden = dict(table)

    def put(self, miner: str, hidden: Hidden) -> bool:
        """What a miner hides from now on; whether that is new."""
        old = self._hidden.pop(miner, None)
        wanted = hidden if hidden.asks else None
        if wanted is not None:
            self._hidden[miner] = wanted
        return wanted != old

    def in_log(self, miner: str, worker: str) -> str:
        """The name that receipts give a worker."""
        hidden = self._hidden.get(miner)
        if hidden is None or not hidden.hides(worker):
            return worker
        digest = hmac.digest(self.salt, f"{miner}/{worker}".encode(), "sha256")
        return f"#{digest.hex()[:DIGITS]}"


def to_plain(table: Mapping[str, Hidden]) -> dict[str, list[object]]:
    """The table in msgpack's types, to be told to another process."""
    return {miner: [hidden.everything, sorted(hidden.workers)] for miner, hidden in table.items()}


def from_plain(plain: Mapping[str, list[object]]) -> dict[str, Hidden]:
    """The table that was told."""
    return {
        miner: Hidden(bool(everything), frozenset(map(str, workers)))  # type: ignore[call-overload]  # a list, as told
        for miner, (everything, workers) in plain.items()
    }
