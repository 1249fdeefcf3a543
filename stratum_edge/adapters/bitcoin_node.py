"""One Bitcoin node: what it says of its chain, watched by ZMQ, long polling and polling, whichever speaks first."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import msgspec

from nips.pool.hashing import display
from stratum_edge.adapters.bitcoin_rpc import MAX_TEMPLATE_BYTES, BitcoinRpc, NodeAuth, NodeAway, NodeRefused
from stratum_edge.adapters.zmq_notices import follow_hashblock
from stratum_edge.chain_head import ChainHead, parse_header_answer
from stratum_edge.errors import EdgeError, SourceUnavailable
from stratum_edge.gbt import BadTemplate, BlockTemplate, parse_template, rules_of, unhex

log = logging.getLogger(__name__)

# A node that connects a block holds its lock meanwhile, seconds on a small machine.
ASK_S: Final = 10.0
TEMPLATE_S: Final = 10.0
# To take a block in, a node checks all of it.
SUBMIT_S: Final = 30.0
# Core answers a long poll at a new tip, or after a minute with new transactions; a silent network may swallow it.
LONG_POLL_S: Final = 120.0
# Rests between long polls that brought no new tip, so that a node that answers at once is not asked in a circle.
LONG_POLL_REST_S: Final = 1.0
# A template that came with a long poll is used instead of asking again, if it is no older.
FRESH_S: Final = 5.0
# Bitcoin Core, rpc/protocol.h: unknown hash; still loading. The rest of its codes are explicit answers.
INVALID_ADDRESS_OR_KEY: Final = -5
IN_WARMUP: Final = -28


class WrongChain(EdgeError):
    """A node is on another network than the pool."""


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node is: its RPC (http or https), how it knows us, its `-zmqpubhashblock` address or ""."""

    url: str
    auth: NodeAuth
    zmq: str = ""

    @property
    def name(self) -> str:
        """Host and port, as logs and counters name the node."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


class BitcoinNode:
    """A node and what it last said. `run` keeps `head` at the end of its chain, and calls `changed` with all news.

    `well_since` is the time (anyio's clock) since which it answers without a gap, None while it does not; `trouble`
    says why not. `head` stays what it was when the node goes away.
    """

    def __init__(
        self, address: NodeAddress, network: str, context: ssl.SSLContext, *, poll_s: float, changed: Callable[[], None]
    ) -> None:
        self.address = address
        self.name = address.name
        self.head: ChainHead | None = None
        self.well_since: float | None = None
        self.trouble = "not asked yet"
        self._network = network
        self._poll_s = poll_s
        self._changed = changed
        self._rpc = BitcoinRpc(address.url, address.auth, context)
        # A block must not wait behind a template, nor for a connection that died unnoticed.
        self._submissions = BitcoinRpc(address.url, address.auth, context, keep_alive=False)
        self._look_again = anyio.Event()
        self._came = anyio.Event()
        # Long polling is for the node mined with, once a template brought an id to wait with.
        self._in_use = False
        self._long_poll_id: str | None = None
        self._long_poll_wanted = anyio.Event()
        self._fresh: tuple[BlockTemplate, float] | None = None

    async def close(self) -> None:
        """Close its connections."""
        await self._rpc.close()
        await self._submissions.close()

    # What it says

    async def check_chain(self, *, aside: bool = False) -> None:
        """Raises WrongChain, NodeAway and NodeRefused; `aside`: on the path of submissions."""
        answer = await self._path(aside).call("getblockchaininfo", timeout_s=ASK_S)
        chain = _field(answer, "chain")
        if chain != self._network:
            raise WrongChain(f"the node at {self.name} is on {chain!r}, the pool on {self._network!r}")

    async def meet(self) -> None:
        """Make sure of its chain, and where it ends. Raises WrongChain and SourceUnavailable."""
        await self.check_chain()
        await self.look()
        self._is_well()

    async def look(self) -> ChainHead:
        """Ask for the end of its chain. Raises SourceUnavailable."""
        answer = await self._rpc.call("getbestblockhash", timeout_s=ASK_S)
        try:
            named = msgspec.json.decode(answer, type=str)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise BadTemplate("the best block's hash is not text") from None
        best = unhex(named, "the best block's hash", 32)[::-1]
        if self.head is None or self.head.hash != best:
            head = await self.header(best)
            if head is None:
                raise BadTemplate(f"the node does not know its best block {named}")
            self._move(head)
        assert self.head is not None
        return self.head

    async def header(self, block_hash: bytes, *, aside: bool = False) -> ChainHead | None:
        """A block's header, None if the node does not know it; `aside`: on the path of submissions."""
        try:
            answer = await self._path(aside).call("getblockheader", display(block_hash), timeout_s=ASK_S)
        except NodeRefused as error:
            if error.code == INVALID_ADDRESS_OR_KEY:
                return None
            raise
        return parse_header_answer(answer, block_hash)

    async def template(self) -> BlockTemplate:
        """A template on its tip. Raises SourceUnavailable, BadTemplate for one that must not be mined on."""
        if self.head is None:
            raise NodeAway(self.trouble)
        if self._fresh is not None and self._fresh[1] >= anyio.current_time() - FRESH_S:
            (found, _), self._fresh = self._fresh, None
        else:
            found = await self._ask_template(None)
        if found.template.prevhash != self.head.hash:
            # Either the chain went on since it was looked at, or the template is late: one of the two catches up.
            await self.look()
            if found.template.prevhash != self.head.hash:
                found = await self._ask_template(None)
                await self.look()
        if (found.template.prevhash, found.template.height) != (self.head.hash, self.head.height + 1):
            raise BadTemplate("its template is not on its tip")
        return found

    def has_template_on(self, block_hash: bytes) -> bool:
        """Whether `template` would not need to ask: a long poll brought one on this block."""
        return self._fresh is not None and self._fresh[0].template.prevhash == block_hash

    async def submit(self, block: str) -> str | None:
        """Hand a block (hex) in: its explicit answer. Raises SourceUnavailable when there was none."""
        try:
            answer = await self._submissions.call("submitblock", block, timeout_s=SUBMIT_S)
        except NodeRefused as error:
            if error.code == IN_WARMUP:
                raise
            return f"{error}"
        try:
            return msgspec.json.decode(answer, type=str | None)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise NodeAway("the answer to submitblock is neither null nor text") from None

    async def rest(self, seconds: float) -> None:
        """Wait before another try, but not when the node comes back."""
        with anyio.move_on_after(seconds):
            await self._came.wait()

    def _path(self, aside: bool) -> BitcoinRpc:
        return self._submissions if aside else self._rpc

    # Watching it

    def use(self, in_use: bool) -> None:
        """Whether it is the node mined with."""
        self._in_use = in_use
        self._long_poll_wanted.set()

    def look_soon(self) -> None:
        """Ask for its tip now, not at the next poll: it took a block."""
        self._look_again.set()

    async def run(self) -> None:
        """Watch it until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._poll)
            if self.address.zmq:
                group.start_soon(follow_hashblock, self.address.zmq, self._heard)
            else:
                group.start_soon(self._long_poll)

    def _heard(self, block_hash: bytes) -> None:
        if self.head is None or self.head.hash != block_hash:
            self.look_soon()

    async def _poll(self) -> None:
        while True:
            self._look_again = anyio.Event()
            try:
                if self.well_since is None:
                    await self.meet()
                else:
                    await self.look()
            except (SourceUnavailable, WrongChain) as error:
                self._is_away(str(error))
            with anyio.move_on_after(self._poll_s):
                await self._look_again.wait()

    async def _long_poll(self) -> None:
        while True:
            if not (self._in_use and self.well_since is not None and self._long_poll_id is not None):
                self._long_poll_wanted = anyio.Event()
                await self._long_poll_wanted.wait()
                continue
            before = self.head
            try:
                found = await self._ask_template(self._long_poll_id)
                self._fresh = (found, anyio.current_time())
                await self.look()
            except SourceUnavailable as error:
                # Polling says whether the node is away; its templates are judged when they are asked for.
                log.debug("long polling %s: %s", self.name, error)
            if self.head is before:
                await anyio.sleep(LONG_POLL_REST_S)

    async def _ask_template(self, long_poll_id: str | None) -> BlockTemplate:
        request: dict[str, object] = {"rules": rules_of(self._network)}
        if long_poll_id is not None:
            request["longpollid"] = long_poll_id
        answer = await self._rpc.call(
            "getblocktemplate",
            request,
            timeout_s=TEMPLATE_S if long_poll_id is None else LONG_POLL_S,
            max_bytes=MAX_TEMPLATE_BYTES,
        )
        found = await anyio.to_thread.run_sync(parse_template, answer, self._network)
        self._long_poll_id = found.longpoll_id
        self._long_poll_wanted.set()
        return found

    def _move(self, head: ChainHead) -> None:
        self.head = head
        self._changed()

    def _is_well(self) -> None:
        if self.well_since is None:
            self.well_since = anyio.current_time()
            self.trouble = ""
            self._long_poll_wanted.set()
            came, self._came = self._came, anyio.Event()
            came.set()
            assert self.head is not None
            log.info("the node at %s answers: block %d", self.name, self.head.height)
            self._changed()

    def _is_away(self, why: str) -> None:
        if self.well_since is not None or self.trouble != why:
            log.warning("the node at %s is away: %s", self.name, why)
        if self.well_since is not None:
            self.well_since = None
            self._fresh = None
            self._changed()
        self.trouble = why


def _field(answer: bytes, name: str) -> object:
    try:
        return msgspec.json.decode(answer, type=dict[str, object]).get(name)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NodeAway("an answer is not an object") from None
