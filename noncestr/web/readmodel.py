"""What the web server reads: the accounting's numbers, and beside them how the other parts are doing."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import anyio

from noncestr.relays.health import relay_health
from relay_bridge.status import RelayStatus
from stratum_edge.status import EdgeStatus
from zapper.config import ZapperStatus


class Books(Protocol):
    """The accounting's own read model (client_web.ports.ReadModel)."""

    async def pool(self) -> dict[str, Any]:
        """The pool as a whole."""

    async def miner(self, pubkey_hex: str) -> dict[str, Any] | None:
        """One miner."""

    async def health(self) -> dict[str, Any]:
        """The accounting's health."""


# A reader of the page waits no longer for slow relays to say whether a miner can be paid.
ADVICE_S: Final = 2.0


async def _no_advice(_miner: str) -> str | None:
    return None


class PoolReadModel:
    """A `client_web.ports.ReadModel` of a pool whose parts run in one process."""

    def __init__(
        self,
        books: Books,
        edge: Callable[[], EdgeStatus],
        relays: Callable[[], list[RelayStatus]],
        zapper: Callable[[], ZapperStatus],
        relay_counts: Callable[[], Mapping[str, int]],
        advice: Callable[[str], Awaitable[str | None]] = _no_advice,
        lanes: Callable[[], list[dict[str, Any]]] = list,
        alarms: Callable[[], Mapping[str, int]] = dict,
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        """`lanes`: the open lanes' watermarks. `alarms`: what was seen of chains, by what; `now_ms`: Unix ms.
        `relay_counts`: what the embedded relay took, refused and could not
        read; empty without one. `advice`: what to tell a miner (hex key) that can't be paid
        (`stratum_edge.ports.Payability`).
        """
        self._books = books
        self._edge = edge
        self._relays = relays
        self._zapper = zapper
        self._relay_counts = relay_counts
        self._advice = advice
        self._lanes = lanes
        self._alarms = alarms
        self._now_ms = now_ms

    async def pool(self) -> dict[str, Any]:
        """The books, and the edge now: connections, shares refused by Stratum code, lines it could not
        read; the lanes of all edges; and what the embedded relay counted.
        """
        edge = self._edge()
        return {
            **await self._books.pool(),
            "edge": {
                "connections": edge.sessions,
                "miners": edge.miners,
                "workers": edge.workers,
                "hashrate_hs": str(edge.hashrate_hs),
                "accepted": edge.accepted,
                "rejected": {str(code): count for code, count in sorted(edge.rejected.items())},
                "bad_lines": edge.bad_lines,
                "blocks": dict(edge.blocks),
                "height": edge.height,
                "job": edge.job,
            },
            "lanes": self._lanes(),
            "relay": dict(sorted(self._relay_counts().items())),
        }

    async def miner(self, pubkey_hex: str) -> dict[str, Any] | None:
        """The books, why a balance is not paid yet, and what the miner has to do to be paid ("" when nothing is in the
        way).
        """
        found = await self._books.miner(pubkey_hex)
        if found is None:
            return None
        return {
            **found,
            "unpaid_because": self._zapper().why_unpaid.get(pubkey_hex, ""),
            "cannot_be_paid": await self._what_it_takes(pubkey_hex),
        }

    async def _what_it_takes(self, miner: str) -> str:
        with anyio.move_on_after(ADVICE_S):
            return await self._advice(miner) or ""
        return ""

    async def health(self) -> dict[str, Any]:
        """Well when the books are, shares can be stored, a relay of the log is connected, and payouts are neither
        blocked nor unknown for long.
        """
        books = await self._books.health()
        edge, zapper = self._edge(), self._zapper()
        relays = relay_health(self._relays(), self._alarms(), self._now_ms())
        well = {
            "accounting": bool(books["ok"]),
            "edge": not edge.stalled,
            "relays": bool(relays["ok"]),
            "zapper": not zapper.blocked and not zapper.alerts,
        }
        return {
            "ok": all(well.values()),
            "parts": {
                "accounting": {"ok": well["accounting"], **books["parts"]},
                "edge": {"ok": well["edge"], "stalled": edge.stalled, "unpublished": edge.unpublished},
                "relays": relays,
                "zapper": {
                    "ok": well["zapper"],
                    "blocked": zapper.blocked,
                    "settled": zapper.settled,
                    "failed": zapper.failed,
                    "unknown": list(zapper.unknown),
                    "alerts": list(zapper.alerts),
                    "miners_waiting": len(zapper.why_unpaid),
                },
            },
        }
