"""What the treasury asks of a mint and of its own memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nips.nip01 import VerifiedEvent
from nips.nut00 import Proof
from nips.nut02 import Keyset
from nips.nut03 import Output, Signed
from zapper.ecash import MeltQuote, MintQuote, Operation, ProofState


class Mint(Protocol):
    """A Cashu mint. Every method raises MintFailed (the outcome is not known) and MintRefused (it says no)."""

    url: str

    async def keysets(self, *, fresh: bool = False) -> Mapping[str, Keyset]:
        """The keysets in sat by id."""

    async def active_keyset(self) -> Keyset:
        """The keyset to have outputs signed by."""

    async def keys(self, keyset_id: str) -> Mapping[int, str]:
        """A keyset's keys by amount, checked against its id."""

    async def swap(self, inputs: Sequence[Proof], outputs: Sequence[Output]) -> tuple[Signed, ...]:
        """NUT-03: proofs for signatures on outputs."""

    async def restore(self, outputs: Sequence[Output]) -> tuple[Signed | None, ...]:
        """NUT-09: the signature on each output, None where there is none."""

    async def states(self, ys: Sequence[str]) -> Mapping[str, ProofState]:
        """NUT-07: what became of each Y."""

    async def ask_melt(self, invoice: str) -> MeltQuote:
        """NUT-05: what paying this invoice would cost. Moves nothing."""

    async def melt_state(self, quote: str) -> MeltQuote:
        """How the payment of a quote stands."""

    async def melt(self, quote: str, inputs: Sequence[Proof], outputs: Sequence[Output]) -> MeltQuote:
        """Pay the quote; what was too much is signed on `outputs` (NUT-08)."""

    async def ask_mint(self, amount: int, pubkey: str) -> MintQuote:
        """NUT-04: an invoice that fills the treasury."""

    async def mint_state(self, quote: str) -> MintQuote:
        """Whether such an invoice was paid."""

    async def mint(self, quote: str, outputs: Sequence[Output], signature: str) -> tuple[Signed, ...]:
        """The ecash of a paid one."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Ecash by state, in sat: `free` can be spent, `reserved` is in an operation that has not ended, `out` is locked to
    payees who have not claimed it, `lost` was spent by somebody with a copy of our store.
    """

    free: int = 0
    reserved: int = 0
    out: int = 0
    claimed: int = 0
    returned: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Handed:
    """Ecash handed to a payee: what went out for one payout. `event`: the signed event that carries it, as JSON.

    `locktime`: from then on it may be taken back; 0 for never. `delivered_ms`: when relays or the payee's
    server took it; `settled_ms`: since when nothing of it is out.
    """

    reference: str
    payout_id: str
    miner: str
    method: str
    mint: str
    locktime: int
    event: str
    relays: tuple[str, ...]
    created_ms: int
    delivered_ms: int | None = None
    settled_ms: int | None = None


class ProofStore(Protocol):
    """The treasury's memory. Each call that changes something is on disk, whole, when it returns; it keeps by itself
    that a proof serves one operation at a time and an operation ends once.
    """

    async def begin(self, operation: Operation) -> None:
        """A new operation with its inputs reserved. Raises Conflict when one of them is not free, or the payout was
        given up.
        """

    async def set_cancel(self, reference: str, outputs: Sequence[Output]) -> None:
        """The outputs that shall take the inputs back, before the mint is asked. Raises Conflict."""

    async def finish(
        self, reference: str, own: Sequence[Proof], sent: Sequence[Proof] = (), *, fee: int, preimage: str = ""
    ) -> Operation:
        """The operation is done: inputs spent, `own` free, `sent` out. Raises Conflict."""

    async def void(
        self, reference: str, reason: str, *, back: Sequence[Proof] = (), lost: Sequence[str] = ()
    ) -> Operation:
        """The operation comes to nothing: its inputs are free again, or were swapped into `back`; those with a Y in
        `lost` somebody else has spent. Raises Conflict.
        """

    async def operation(self, reference: str) -> Operation | None:
        """One operation."""

    async def open_operations(self, mint: str) -> list[Operation]:
        """Those begun and not ended, oldest first."""

    async def free(self, mint: str) -> list[Proof]:
        """What can be spent at that mint."""

    async def totals(self, mint: str) -> Totals:
        """The sums at that mint."""

    async def handed(self, reference: str) -> Handed | None:
        """What was handed over under that reference."""

    async def hand(self, handed: Handed) -> Handed:
        """Keep what carries the ecash before anybody gets it; the first kept stands for good. Raises Conflict, also
        when the payout was given up.
        """

    async def set_delivered(self, reference: str, now_ms: int) -> None:
        """It was taken."""

    async def sent_proofs(self, reference: str) -> list[tuple[Proof, str]]:
        """What was sent under that reference, each with its state: out, returning, claimed or returned."""

    async def set_claimed(self, reference: str, ys: Sequence[str], now_ms: int) -> None:
        """The mint says that these were spent by their owner."""

    async def abandon(self, reference: str, mint: str, reason: str) -> None:
        """Give a payout's ecash up: nobody gets it, and it never begins, if it has not; the first reason stands.

        Raises Conflict when it was handed over and has not all come back.
        """

    async def abandoned(self, reference: str) -> str | None:
        """Why a payout's ecash was given up; None when it was not."""

    async def left_by_abandoned(self, mint: str) -> list[str]:
        """Payouts given up whose ecash the mint has signed all the same, and that is not back yet."""

    async def restored(self, operation: Operation, sent: Sequence[Proof]) -> None:
        """Write down an operation as done that a lost or older store did not know. Raises Conflict."""


class Courier(Protocol):
    """Brings an event to relays that a payee names: strangers' servers."""

    async def deliver(self, event: VerifiedEvent, relays: Sequence[str]) -> None:
        """To as many as answer. Raises an Exception when none of them took it."""


class Poster(Protocol):
    """Posts to servers nobody vouches for."""

    def check_url(self, url: str) -> object:
        """Raises HttpFailed for a URL that would not be asked, whatever answers there."""

    async def post_json(self, url: str, body: str) -> None:
        """POST this JSON. Raises HttpFailed unless the server took it (status 2xx)."""


class Wrapper(Protocol):
    """Writes private messages (NIP-17) as the zapper: it has the key, the chance and the dates they need."""

    def wrap(self, recipient: str, text: str) -> VerifiedEvent:
        """The gift wrap of a message to that key (hex)."""
