"""What the edge needs of the outside, as Protocols: templates, a clock, the terms, a publisher, a journal.

Hashes named here are 32 bytes in serialisation order (the order they have in a header), amounts are satoshi.
Adapters implement these; `noncestr/compose.py` connects them. The embedded chain is the fake that ships.
"""

from dataclasses import dataclass
from typing import Protocol

from nips.nip01 import VerifiedEvent
from nips.pool.terms import Terms
from stratum_edge.bans import BanRule
from stratum_edge.households import Network


@dataclass(frozen=True, slots=True)
class Template:
    """A block to be mined, without its coinbase (BIP 22, BIP 23, BIP 145 in bytes).

    `coinbase_sat` is what the coinbase's outputs should sum to: it never exceeds subsidy plus fees.
    `transactions` are raw, with witness; `txids` are theirs, one each, in the same order.
    `witness_commitment` is the whole scriptPubKey of the BIP 141 commitment output (0 sat), or None when the block
    needs none; with one, the coinbase's witness must be the single reserved value of 32 zero bytes.
    `curtime` and `mintime` are seconds: the time to start with and the least the chain allows (median time past + 1).
    """

    height: int
    version: int
    prevhash: bytes
    nbits: int
    curtime: int
    mintime: int
    coinbase_sat: int
    transactions: tuple[bytes, ...]
    txids: tuple[bytes, ...]
    witness_commitment: bytes | None


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of the active chain: its height and its block hash in serialisation order."""

    height: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a block handed in; `reason` is in BIP 22's words where there are some, "" when accepted."""

    accepted: bool
    reason: str


class TemplateSource(Protocol):
    """Where templates come from and blocks go to: a node, or the embedded chain."""

    @property
    def network(self) -> str:
        """The chain's name: "main", "testnet4", "signet" or "regtest"."""
        ...

    async def template(self) -> Template:
        """A template on top of the tip; raises `SourceUnavailable` when none can be had now."""
        ...

    async def wait_tip(self, known: bytes) -> Tip:
        """Return the tip as soon as its hash is not `known` (at once, if it is not already)."""
        ...

    async def quick_template(self) -> Template | None:
        """On a tip just seen: a template without transactions, had faster than `template()`; None when there is none.

        Its coinbase pays the subsidy alone, so miners leave the old tip at once while the full template is made.
        """
        ...

    def tip(self) -> Tip:
        """The newest tip this source has seen; raises `SourceUnavailable` before the first."""
        ...

    def lost_s(self) -> float:
        """Seconds since a node last answered; 0.0 while one does."""
        ...

    async def submit(self, block: bytes) -> Submitted:
        """Hand a whole block in; accepted only if it is in the active chain afterwards."""
        ...

    async def confirmations(self, block_hash: bytes) -> int | None:
        """1 for the tip, counting down the chain; -1 for a block known but off the chain; None for an unknown one."""
        ...


class Clock(Protocol):
    """The time of day."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        ...


class TermsSource(Protocol):
    """Where the pool's terms come from: a file, or the relays."""

    def current(self) -> Terms:
        """The newest terms known."""
        ...

    async def changed(self, known: str) -> Terms:
        """Return the newest terms as soon as their id is not `known` (at once, if it is not already)."""
        ...


class Publisher(Protocol):
    """Where signed events go: the relay outbox."""

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Take an event over; durable when this returns. Events of one `chain` are sent in the order they came."""
        ...


class Names(Protocol):
    """Who is behind a NIP-05 address."""

    async def resolve(self, address: str) -> str:
        """The public key (hex) of `name@domain`; raises `NameRefused` with a sentence for the miner."""
        ...


class Payability(Protocol):
    """Whether a miner can be paid."""

    async def advice(self, miner: str) -> str | None:
        """What to tell a miner (hex key) whose profile names no way to be paid; None when it does, or is not known."""
        ...


class Privacy(Protocol):
    """Which workers' names stay out of the log."""

    def in_log(self, miner: str, worker: str) -> str:
        """The name that receipts give a worker: its own, or a pseudonym where its miner (hex key) asked for one."""
        ...


class Bans(Protocol):
    """Addresses that are not let in for a while."""

    def until(self, address: str, now: int) -> int:
        """When the ban on an address ends (Unix ms); 0 when there is none at `now`."""
        ...

    def strike(self, address: str, now: int, rule: BanRule, reason: str) -> int:
        """A connection of the address had to be ended; when the ban this brings ends (Unix ms), 0 for none yet."""
        ...

    def trust(self, networks: tuple[Network, ...]) -> None:
        """From now on these networks, and no others but this machine, are never banned."""
        ...

    def refresh(self, now: int) -> None:
        """Keep what is new across restarts, and learn what other lanes banned and the operator cleared."""
        ...


class Journal(Protocol):
    """The edge's journal as the share path sees it: records are put in order, and written before they are acted on."""

    @property
    def size(self) -> int:
        """Bytes of the current segment, unwritten ones included."""
        ...

    @property
    def failed(self) -> bool:
        """Whether the last flush did not succeed: nothing may be acknowledged."""
        ...

    def put(self, record: bytes) -> None:
        """Queue a whole record (`stratum_edge.journal.encode_record`) for the next `flush`."""
        ...

    def flush(self) -> bool:
        """Hand what was put to the kernel in one write; False when it can't be stored now (kept for the next try)."""
        ...

    def rotate(self, checkpoint: bytes) -> bool:
        """Begin a new segment with a checkpoint record, which makes the older ones superfluous; False if it can't."""
        ...
