"""What the web server asks of the rest of the pool. `client_web.fakes` has a fake of each."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from starlette.responses import Response
from starlette.websockets import WebSocket

from nips.nip01 import VerifiedEvent

# Where an entry stands in its list: (number, 64 hex digits), ascending.
Place = tuple[int, str]


class Page(Protocol):
    """Some entries of a list, newest first."""

    @property
    def items(self) -> Sequence[dict[str, Any]]:
        """The entries."""

    @property
    def next(self) -> Place | None:
        """The place the next page begins below; None when these are the last."""


class ReadModel(Protocol):
    """What accounting knows, as JSON-ready dicts: money in integer msat, work as decimal strings, times in ms.

    `before` is the place a page begins below, None for the newest. `client_web.api.*_models` have each answer's fields.
    """

    async def pool(self) -> dict[str, Any]:
        """The pool as a whole: hashrate, miners, rewards, totals."""

    async def miner(self, pubkey_hex: str) -> dict[str, Any] | None:
        """One miner's work, earnings and payouts; None if the pool has never heard of the key."""

    async def health(self) -> dict[str, Any]:
        """`{"ok": bool, "parts": {name: ...}}`."""

    async def knows(self, pubkey_hex: str) -> bool:
        """Whether this key ever sent a share or has a place in the books."""

    async def hashrate(self, pubkey_hex: str | None, span: str) -> Sequence[dict[str, Any]]:
        """A series of the pool's or a miner's hashrate, oldest first."""

    async def miners(self, before: Place | None, limit: int) -> Page:
        """Everybody the pool has heard of."""

    async def workers(self, pubkey_hex: str) -> Sequence[dict[str, Any]]:
        """A miner's active workers."""

    async def blocks(self, before: Place | None, limit: int) -> Page:
        """The pool's blocks."""

    async def rewards(self, pubkey_hex: str | None, before: Place | None, limit: int) -> Page:
        """The rewards that were split, all or those a miner has a part of."""

    async def payouts(self, pubkey_hex: str | None, before: Place | None, limit: int) -> Page:
        """The payout records, all or a miner's."""

    async def statements(self, before: Place | None, limit: int) -> Page:
        """The statements."""

    async def statement(self, name: str) -> dict[str, Any] | None:
        """A statement with its rows, by number or id."""

    async def terms(self) -> dict[str, Any] | None:
        """The terms in force."""

    async def treasury(self) -> dict[str, Any] | None:
        """What the pool owes beside what it has; None before the books are read whole."""

    async def balances(self) -> Sequence[dict[str, Any]]:
        """What is owed and pending, of everybody."""

    def taxes(self, pubkey_hex: str, year: int) -> AsyncIterator[str]:
        """A miner's year as CSV, piece by piece."""

    async def totals(self) -> Sequence[dict[str, Any]]:
        """What was earned and paid, of everybody."""

    async def live(self) -> dict[str, Any]:
        """What changes: `pool`, and the newest `blocks`, `statements` and `payouts`, newest first."""

    async def metrics(self) -> str:
        """The pool in OpenMetrics text."""


class Attestations(Protocol):
    """Takes miners' attestations (4222)."""

    async def take(self, event: VerifiedEvent) -> None:
        """Publish one. Raises client_web.api.answers.Refused, with the reason, for what is not good."""


class RelayGate(Protocol):
    """The door of the pool's relay on the page's own origin."""

    async def information(self) -> Response:
        """The relay's NIP-11 document, or an error response that says why there is none."""

    async def carry(self, websocket: WebSocket) -> None:
        """Join a browser's WebSocket, not yet accepted, with the relay until either side leaves."""
