"""A `TemplateSource` over Bitcoin nodes in an order: mined with the first that is well, blocks handed to all."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

import anyio
import httpx
from anyio.abc import TaskGroup, TaskStatus

from nips.pool.hashing import display
from stratum_edge.adapters.bitcoin_node import BitcoinNode, NodeAddress, WrongChain
from stratum_edge.adapters.block_submission import BlockSubmission, Outcomes
from stratum_edge.chain_head import ChainHead, empty_template
from stratum_edge.errors import SourceUnavailable
from stratum_edge.node_choice import Standing, choose, order_of_trial
from stratum_edge.ports import Submitted, Template, Tip

log = logging.getLogger(__name__)

POLL_S: Final = 1.0
# How long the start waits for nodes to say which chain they are on; one that is away then is checked when it is back.
START_S: Final = 5.0
# A chain shorter than the one we stood on is a node that has not caught up. One that stays so is the chain.
TIP_HOLD_S: Final = 60.0


class BitcoinNodes:
    """The nodes' `TemplateSource`. Use as an async context manager around everything that asks it.

    `outcomes` counts submissions by node and outcome, `templates` templates by node and "ok" or "failed", `failovers`
    changes of the node mined with.
    """

    def __init__(self, addresses: Sequence[NodeAddress], *, network: str, poll_s: float = POLL_S) -> None:
        if not addresses:
            raise ValueError("a source needs a node")
        self.outcomes: Outcomes = Counter()
        self.templates: Counter[tuple[str, str]] = Counter()
        self.failovers = 0
        self._network = network
        context = httpx.create_ssl_context()
        self._nodes = [
            BitcoinNode(address, network, context, poll_s=poll_s, changed=self._changed) for address in addresses
        ]
        self._met = False
        self._current: int | None = None
        self._tip: Tip | None = None
        self._moved = anyio.Event()
        self._tasks: TaskGroup | None = None
        # The newest template, and when it came.
        self._last: tuple[Template, float] | None = None
        self._asking = anyio.Lock()
        self._behind_since: dict[int, float] = {}
        self._fault_at: dict[int, float] = {}
        self._shorter_since: float | None = None
        # Since when no node answers, and since when no node has a template that can be used.
        self._silent_since: float | None = 0.0
        self._barren_since: float | None = None

    @property
    def network(self) -> str:
        """The chain's name."""
        return self._network

    @property
    def in_use(self) -> str:
        """The name of the node mined with; "" before there is one."""
        return "" if self._current is None else self._nodes[self._current].name

    def troubles(self) -> dict[str, str]:
        """Why nodes are away, by name; "" for one that answers."""
        return {node.name: node.trouble for node in self._nodes}

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Watch the nodes until cancelled; started once each that answers has said which chain it is on.

        Raises WrongChain for a node that is found on another network at the start.
        """
        self._silent_since = anyio.current_time()
        try:
            await self._meet()
            async with anyio.create_task_group() as self._tasks:
                for node in self._nodes:
                    self._tasks.start_soon(node.run)
                self._tasks.start_soon(self._review)
                task_status.started()
        finally:
            self._tasks = None
            with anyio.CancelScope(shield=True):
                for node in self._nodes:
                    await node.close()

    async def _meet(self) -> None:
        """Ask all nodes at once, and choose only then: else the first to answer would be mined with."""
        wrong: list[WrongChain] = []

        async def meet(node: BitcoinNode) -> None:
            try:
                await node.meet()
            except WrongChain as error:
                wrong.append(error)
            except SourceUnavailable as error:
                log.warning("the node at %s does not answer yet: %s", node.name, error)

        with anyio.move_on_after(START_S):
            async with anyio.create_task_group() as checks:
                for node in self._nodes:
                    checks.start_soon(meet, node)
        if wrong:
            raise wrong[0]
        self._met = True
        self._changed()

    # Which node

    async def _review(self) -> None:
        """Look at the nodes' standings also when none of them changes: time alone may make one the better choice."""
        while True:
            await anyio.sleep(POLL_S)
            self._changed()

    def _changed(self) -> None:
        """A node came, went or moved, or time passed."""
        if not self._met:
            return
        now = anyio.current_time()
        well = [node for node in self._nodes if node.well_since is not None]
        if well:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now
        longest = max((node.head.height for node in well if node.head is not None), default=0)
        for index, node in enumerate(self._nodes):
            if node.head is not None and node.head.height < longest:
                self._behind_since.setdefault(index, now)
            else:
                self._behind_since.pop(index, None)
        self._use(choose(self._standings(), self._current))

    def _standings(self) -> list[Standing]:
        now = anyio.current_time()
        return [
            Standing(
                well_s=None if node.well_since is None else now - node.well_since,
                behind_s=now - self._behind_since[index] if index in self._behind_since else 0.0,
                fault_s=now - self._fault_at[index] if index in self._fault_at else None,
            )
            for index, node in enumerate(self._nodes)
        ]

    def _use(self, index: int | None) -> None:
        if index is None:
            return
        node = self._nodes[index]
        if index != self._current:
            if self._current is not None:
                self.failovers += 1
                log.warning("mining with the node at %s now, not with %s", node.name, self.in_use)
            self._current = index
            for other in self._nodes:
                other.use(other is node)
        if node.head is not None and self._may_stand_on(node.head):
            self._stand_on(node.head.tip)

    def _may_stand_on(self, head: ChainHead) -> bool:
        if self._tip is None or head.height >= self._tip.height:
            self._shorter_since = None
            return True
        now = anyio.current_time()
        if self._shorter_since is None:
            self._shorter_since = now
        return now - self._shorter_since >= TIP_HOLD_S

    def _stand_on(self, tip: Tip) -> None:
        if tip != self._tip:
            self._tip = tip
            log.info("tip %d %s", tip.height, display(tip.hash))
            moved, self._moved = self._moved, anyio.Event()
            moved.set()

    # Templates

    def tip(self) -> Tip:
        """The newest tip; raises SourceUnavailable before the first."""
        if self._tip is None:
            raise SourceUnavailable(self._reasons())
        return self._tip

    async def wait_tip(self, known: bytes) -> Tip:
        """Return the tip as soon as its hash is not `known`."""
        while self._tip is None or self._tip.hash == known:
            await self._moved.wait()
        return self._tip

    async def template(self) -> Template:
        """A full template on the tip, of the first node that has one; SourceUnavailable names each one's reason.

        Lanes that ask while another is being answered share its template: on a new tip they all come at once.
        """
        asked = anyio.current_time()
        async with self._asking:
            if self._last is not None and self._tip is not None:
                template, came = self._last
                if came > asked and template.prevhash == self._tip.hash:
                    return template
            return await self._ask()

    async def _ask(self) -> Template:
        reasons = []
        for index in order_of_trial(self._standings(), self._current):
            node = self._nodes[index]
            try:
                found = await node.template()
                assert node.head is not None
                if not self._may_stand_on(node.head):
                    raise SourceUnavailable("its chain is shorter than the one we stood on")
            except SourceUnavailable as error:
                reasons.append(f"{node.name}: {error}")
                log.warning("no template from the node at %s: %s", node.name, error)
                self.templates[node.name, "failed"] += 1
                self._fault_at[index] = anyio.current_time()
                continue
            self.templates[node.name, "ok"] += 1
            self._fault_at.pop(index, None)
            self._barren_since = None
            self._last = (found.template, anyio.current_time())
            self._use(index)
            return found.template
        if reasons and self._barren_since is None:
            self._barren_since = anyio.current_time()
        raise SourceUnavailable("; ".join(reasons) or self._reasons())

    async def quick_template(self) -> Template | None:
        """An empty template from the tip's header alone; None where it could be wrong, or a full one is at hand."""
        if self._current is None or self._tip is None or self._last is None:
            return None
        node = self._nodes[self._current]
        last, came = self._last
        if node.head is None or node.head.hash != self._tip.hash or last.prevhash == self._tip.hash:
            return None
        if node.has_template_on(self._tip.hash):
            return None
        return empty_template(self._network, node.head, last, int(anyio.current_time() - came))

    def lost_s(self) -> float:
        """Seconds since a node last answered, or had a template that could be used; 0.0 while one does."""
        since = [start for start in (self._silent_since, self._barren_since) if start is not None]
        return anyio.current_time() - min(since) if since else 0.0

    def _reasons(self) -> str:
        return "; ".join(f"{node.name}: {node.trouble}" for node in self._nodes if node.trouble) or "no node answers"

    # Blocks

    async def submit(self, block: bytes) -> Submitted:
        """Hand a block to all nodes; accepted when one has it in its active chain. SourceUnavailable: none answered."""
        if self._tasks is None:
            raise SourceUnavailable("the nodes are not watched any more")
        return await BlockSubmission(self._nodes, block, self.outcomes).result(self._tasks)

    async def confirmations(self, block_hash: bytes) -> int | None:
        """1 for the tip; -1 off the chain; None if no node knows it; raises SourceUnavailable when none answers."""
        reasons, unknown = [], False
        for index in order_of_trial(self._standings(), self._current):
            try:
                head = await self._nodes[index].header(block_hash)
            except SourceUnavailable as error:
                reasons.append(f"{self._nodes[index].name}: {error}")
                continue
            if head is not None:
                return head.confirmations
            unknown = True
        if unknown:
            return None
        raise SourceUnavailable("; ".join(reasons) or self._reasons())
