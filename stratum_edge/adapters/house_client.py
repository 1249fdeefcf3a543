"""A lane's end of the house's socket: the chain, the terms and the outbox of another process, in the ports' shapes."""

import logging
import time
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
from anyio.abc import TaskStatus

from nips.nip01 import VerifiedEvent, decode_event, encode_event, verify
from nips.pool.terms import Terms, parse_terms
from stratum_edge.adapters.house_wire import Hears, Link, Serves, open_link
from stratum_edge.errors import HouseGone, HouseRefused, NameRefused, SourceUnavailable
from stratum_edge.ports import Submitted, Template, Tip
from stratum_edge.privacy import HiddenNames, from_plain

log = logging.getLogger(__name__)

# Between tries to reach the house again.
RETRY_S: Final = 0.5
# A house that has not answered for so long is taken for hung: better an error and another try than a wait without end.
ANSWER_S: Final = 90.0


class HouseClient:
    """Keeps a connection to the house. `source`, `terms`, `publisher`, `names`, `payability`, `privacy` go through
    it.
    """

    def __init__(self, path: Path, serves: Serves | None = None) -> None:
        """`serves`: what the house may ask of this process."""
        self._path = path
        self._serves: Serves = serves or {}
        self._link: Link | None = None
        self._gone_at: float | None = time.monotonic()
        self.source = HouseChain(self)
        self.terms = HouseTerms()
        self.publisher = HousePublisher(self)
        self.names = HouseNames(self)
        self.payability = HousePayability(self)
        self.privacy = HousePrivacy()

    @property
    def connected(self) -> bool:
        """Whether the house is there."""
        return self._link is not None

    @property
    def gone_s(self) -> float:
        """Seconds since the house was there; 0.0 while it is."""
        return 0.0 if self._gone_at is None else time.monotonic() - self._gone_at

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Stay connected until cancelled; started once the house answered. Raises HouseGone if it never did."""
        hears: Hears = {
            "tip": self.source.take_tip,
            "lost": self.source.take_lost,
            "terms": self.terms.take,
            "hidden": self.privacy.take,
        }
        first = True
        while True:
            try:
                link = await open_link(self._path, self._serves, hears)
            except HouseGone:
                if first:
                    raise
                await anyio.sleep(RETRY_S)
                continue
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._greet, link, task_status if first else anyio.TASK_STATUS_IGNORED)
                await link.run()
                tasks.cancel_scope.cancel()
            if self._link is None and first:
                raise HouseGone(f"what answers at {self._path} hangs up")
            first = False
            self._link = None
            self._gone_at = time.monotonic()
            log.warning("the house has gone")

    async def _greet(self, link: Link, task_status: TaskStatus[None]) -> None:
        try:
            self.source.take_network(await link.call("network"))
        except HouseGone:
            return
        self._link = link
        self._gone_at = None
        task_status.started()

    async def call(self, name: str, *args: Any) -> Any:
        """Ask the house. Raises HouseGone, HouseRefused, SourceUnavailable, NameRefused."""
        link = self._link
        if link is None:
            raise HouseGone(f"nothing answers at {self._path}")
        with anyio.move_on_after(ANSWER_S):
            return await link.call(name, *args)
        raise HouseGone(f"the house has not answered {name} for {ANSWER_S:g} s")

    def tell(self, name: str, *args: Any) -> None:
        """Tell the house something, if it is there."""
        if self._link is not None:
            self._link.tell(name, *args)


class HouseChain:
    """A `TemplateSource`: the house's."""

    def __init__(self, house: HouseClient) -> None:
        self._house = house
        self._network = ""
        self._tip: Tip | None = None
        self._moved = anyio.Event()
        self._lost_s = 0.0
        self._lost_at = time.monotonic()

    def take_network(self, network: str) -> None:
        """What chain it is."""
        self._network = network

    def take_tip(self, height: int, hash: bytes) -> None:
        """A new tip was told."""
        self._tip = Tip(height, hash)
        moved, self._moved = self._moved, anyio.Event()
        moved.set()

    def take_lost(self, lost_ms: int) -> None:
        """How long the house has been without a node."""
        self._lost_s, self._lost_at = lost_ms / 1000, time.monotonic()

    @property
    def network(self) -> str:
        """The chain's name; "" before the house has answered."""
        return self._network

    async def _ask(self, name: str, *args: Any) -> Any:
        try:
            return await self._house.call(name, *args)
        except HouseGone as error:
            raise SourceUnavailable(str(error)) from None

    async def template(self) -> Template:
        """As the house's source has it; raises SourceUnavailable."""
        return msgspec.convert(await self._ask("template"), Template, builtin_types=(bytes,))

    async def quick_template(self) -> Template | None:
        """As the house's source has it; None when the house is away, too."""
        try:
            return msgspec.convert(await self._ask("quick_template"), Template | None, builtin_types=(bytes,))
        except SourceUnavailable:
            return None

    async def wait_tip(self, known: bytes) -> Tip:
        """The tip, as soon as its hash is not `known`."""
        while self._tip is None or self._tip.hash == known:
            await self._moved.wait()
        return self._tip

    def tip(self) -> Tip:
        """The newest tip told; raises SourceUnavailable before the first."""
        if self._tip is None:
            raise SourceUnavailable("the house has told no tip yet")
        return self._tip

    def lost_s(self) -> float:
        """Seconds since a node answered the house, or the house us."""
        behind = self._lost_s + time.monotonic() - self._lost_at if self._lost_s else 0.0
        return max(behind, self._house.gone_s)

    async def submit(self, block: bytes) -> Submitted:
        """Hand a block in. Raises HouseGone, SourceUnavailable: then its fate is not known."""
        accepted, reason = await self._house.call("submit", block)
        return Submitted(accepted, reason)

    async def confirmations(self, block_hash: bytes) -> int | None:
        """As the house's source has it; raises SourceUnavailable."""
        found: int | None = await self._ask("confirmations", block_hash)
        return found


class HouseTerms:
    """A `TermsSource`: the newest terms the house told."""

    def __init__(self) -> None:
        self._terms: Terms | None = None
        self._changed = anyio.Event()

    def take(self, event: bytes) -> None:
        """New terms were told."""
        self._terms = parse_terms(verify(decode_event(event)))
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def current(self) -> Terms:
        """The terms in force. Raises LookupError before the first were told."""
        if self._terms is None:
            raise LookupError("the house has told no terms yet")
        return self._terms

    async def changed(self, known: str) -> Terms:
        """The terms in force, as soon as their id is not `known`."""
        while self._terms is None or self._terms.id == known:
            await self._changed.wait()
        return self._terms


class HousePublisher:
    """A `Publisher`: the house's outbox."""

    def __init__(self, house: HouseClient) -> None:
        self._house = house

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Durable in the house's outbox when it returns. Raises HouseGone, HouseRefused."""
        await self._house.call("publish", encode_event(event), chain)


class HouseNames:
    """`Names`: resolved, pinned and cached by the house."""

    def __init__(self, house: HouseClient) -> None:
        self._house = house

    async def resolve(self, address: str) -> str:
        """The public key (hex) of `name@domain`; raises NameRefused."""
        try:
            return str(await self._house.call("resolve", address))
        except (HouseGone, HouseRefused):
            raise NameRefused("names can't be looked up just now: try again in a minute, or use your npub") from None


class HousePrivacy:
    """`Privacy`: the table that the house told last."""

    def __init__(self) -> None:
        self._names: HiddenNames | None = None
        self._told = anyio.Event()

    def take(self, salt: bytes, table: Any) -> None:
        """A new table was told."""
        self._names = HiddenNames(salt)
        self._names.replace(from_plain(table))
        self._told.set()

    async def told(self) -> None:
        """Return once there is a table."""
        await self._told.wait()

    def in_log(self, miner: str, worker: str) -> str:
        """The name that receipts give a worker; before there is a table, none."""
        return "" if self._names is None else self._names.in_log(miner, worker)


class HousePayability:
    """`Payability`: as the house knows it."""

    def __init__(self, house: HouseClient) -> None:
        self._house = house

    async def advice(self, miner: str) -> str | None:
        """What to tell a miner who names no way to be paid; None when that can't be known now."""
        try:
            said: str | None = await self._house.call("advice", miner)
        except (HouseGone, HouseRefused):
            return None
        return said
