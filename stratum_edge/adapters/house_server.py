"""The house: one process has the chain, the terms and the outbox, and lends them to its lanes over a unix socket.

Without a `Household` only the chain is lent: to an edge that is another's, on the same machine.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import msgspec
from anyio.abc import TaskStatus

from nips.nip01 import VerifiedEvent, decode_event, encode_event, verify
from nips.pool.terms import Terms
from stratum_edge.adapters.house_wire import Hears, Link, Serves, serve_links
from stratum_edge.errors import HouseRefused, SourceUnavailable
from stratum_edge.ports import Names, Payability, Publisher, TemplateSource
from stratum_edge.privacy import HiddenNames, to_plain

log = logging.getLogger(__name__)

# How often lanes are told whether a node answers.
PULSE_S: Final = 1.0
# A block that is being handed in when its lane goes is handed in to the end, within this.
SUBMIT_S: Final = 60.0


class SignedTerms(Protocol):
    """The pool's terms, with the event that says them."""

    def current(self) -> Terms:
        """The newest terms known."""
        ...

    def current_event(self) -> VerifiedEvent:
        """Their 4210."""
        ...

    async def changed(self, known: str) -> Terms:
        """Return the newest terms as soon as their id is not `known` (at once, if it is not already)."""
        ...


class HiddenTable(Protocol):
    """Which workers' names stay out of the log."""

    @property
    def names(self) -> HiddenNames:
        """As it is now."""
        ...

    async def changed(self, known: int) -> int:
        """Its version, as soon as that is not `known`; never negative."""
        ...


class Lanes(Protocol):
    """Whoever looks after the lanes' processes."""

    def join(self, lane: int, link: Link) -> Any:
        """A lane's process has come: its orders, in msgpack's types. Raises HouseRefused."""
        ...

    def leave(self, lane: int, link: Link) -> None:
        """It has gone."""
        ...

    def hear(self, lane: int, status: Any) -> None:
        """It told how it is, in msgpack's types."""
        ...


@dataclass(frozen=True, slots=True)
class Household:
    """What the pool's own lanes share beside the chain."""

    terms: SignedTerms
    publisher: Publisher
    lanes: Lanes
    names: Names | None = None
    payability: Payability | None = None
    privacy: HiddenTable | None = None


class HouseServer:
    """Serves templates, and to lanes the rest of the household."""

    def __init__(self, path: Path, source: TemplateSource, household: Household | None = None) -> None:
        self._path = path
        self._source = source
        self._household = household

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Raises OSError when the socket can't be bound."""
        await serve_links(self._path, self._services, self._meet, task_status.started)

    # What is answered

    def _services(self) -> tuple[Serves, Hears]:
        serves: dict[str, Callable[..., Awaitable[Any]]] = {
            "network": self._network,
            "template": self._template,
            "quick_template": self._quick_template,
            "submit": self._submit,
            "confirmations": self._source.confirmations,
        }
        hears: dict[str, Callable[..., None]] = {}
        home = self._household
        if home is not None:
            serves["publish"] = self._publish
            if home.names is not None:
                serves["resolve"] = home.names.resolve
            if home.payability is not None:
                serves["advice"] = home.payability.advice
            hears["status"] = home.lanes.hear
        return serves, hears

    async def _network(self) -> str:
        return self._source.network

    async def _template(self) -> Any:
        return msgspec.to_builtins(await self._source.template(), builtin_types=(bytes,))

    async def _quick_template(self) -> Any:
        return msgspec.to_builtins(await self._source.quick_template(), builtin_types=(bytes,))

    async def _submit(self, block: bytes) -> Any:
        with anyio.move_on_after(SUBMIT_S, shield=True):
            submitted = await self._source.submit(block)
            return [submitted.accepted, submitted.reason]
        raise SourceUnavailable(f"the chain has not answered for {SUBMIT_S:g} s")

    async def _publish(self, event: bytes, chain: str) -> None:
        assert self._household is not None
        await self._household.publisher.publish(verify(decode_event(event)), chain=chain)

    # What is told

    async def _meet(self, link: Link) -> None:
        """A connection has come: say how things are, and what changes, as long as it lasts."""
        self._pulse(link)
        async with anyio.create_task_group() as telling:
            telling.start_soon(self._tell_tips, link)
            telling.start_soon(self._tell_pulse, link)
            if self._household is not None:
                telling.start_soon(self._tell_terms, link, self._household)
                if self._household.privacy is not None:
                    telling.start_soon(self._tell_hidden, link, self._household.privacy)
                telling.start_soon(self._host, link, self._household.lanes)

    async def _host(self, link: Link, lanes: Lanes) -> None:
        """Ask a lane which it is, give it its orders, and say so when it has gone."""
        lane = -1
        try:
            lane = int(await link.call("lane"))
            await link.call("orders", lanes.join(lane, link))
            await anyio.sleep_forever()
        except HouseRefused as error:
            log.error("lane process %d is sent away: %s", lane, error)
            link.close()
        finally:
            if lane >= 0:
                lanes.leave(lane, link)

    def _pulse(self, link: Link) -> None:
        link.tell("lost", int(self._source.lost_s() * 1000))

    async def _tell_pulse(self, link: Link) -> None:
        while True:
            self._pulse(link)
            await anyio.sleep(PULSE_S)

    async def _tell_tips(self, link: Link) -> None:
        known = b""
        while True:
            try:
                tip = await self._source.wait_tip(known)
            except SourceUnavailable:
                await anyio.sleep(PULSE_S)
                continue
            known = tip.hash
            link.tell("tip", tip.height, tip.hash)

    async def _tell_hidden(self, link: Link, hidden: HiddenTable) -> None:
        known = -1
        while True:
            known = await hidden.changed(known)
            link.tell("hidden", hidden.names.salt, to_plain(hidden.names.table))

    async def _tell_terms(self, link: Link, home: Household) -> None:
        known = ""
        while True:
            known = (await home.terms.changed(known)).id
            link.tell("terms", encode_event(home.terms.current_event()))
