"""A block handed to all nodes at once, until each has answered: nothing the pool does is worth more."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

import anyio
from anyio.abc import TaskGroup

from nips.pool.hashing import HEADER_SIZE, display, sha256d
from stratum_edge.adapters.bitcoin_node import BitcoinNode, WrongChain
from stratum_edge.block_outcome import Answer, counted_as, judge_answer, needs_look, verdict
from stratum_edge.errors import SourceUnavailable
from stratum_edge.ports import Submitted

log = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.1
LAST_RETRY_S: Final = 5.0
# How long one node is tried before its silence counts as none. Below the minute that a house gives a submission
# (house_server.SUBMIT_S), or a refusal beside a dead node would never be heard.
TRY_S: Final = 45.0
NO_ANSWER: Final = "no answer"
# What a counter's key says: the node's name, and the outcome.
Outcomes = Counter[tuple[str, str]]


class BlockSubmission:
    """One block on its way to all nodes. The tries at slower nodes go on in `tasks` after `result` has returned."""

    def __init__(self, nodes: Sequence[BitcoinNode], block: bytes, outcomes: Outcomes) -> None:
        self._nodes = nodes
        self._hex = block.hex()
        self._hash = sha256d(block[:HEADER_SIZE])
        self._name = display(self._hash)
        self._outcomes = outcomes
        self._answers: list[Answer | None] = [None] * len(nodes)
        self._open = len(nodes)
        self._told = anyio.Event()
        self._why: dict[str, str] = {}

    async def result(self, tasks: TaskGroup) -> Submitted:
        """What became of it. Raises SourceUnavailable when no node gave an explicit answer."""
        for index in range(len(self._nodes)):
            tasks.start_soon(self._hand_in, index)
        while True:
            told = self._told
            found = verdict(self._answers, final=self._open == 0)
            if found is not None:
                return found
            if self._open == 0:
                reasons = "; ".join(f"{name}: {why}" for name, why in self._why.items())
                raise SourceUnavailable(f"no node took or refused block {self._name}: {reasons}")
            await told.wait()

    async def _hand_in(self, index: int) -> None:
        node = self._nodes[index]
        wait = FIRST_RETRY_S
        answer: Answer | None = None
        with anyio.move_on_after(TRY_S):
            while True:
                try:
                    answer = await self._once(node)
                except (SourceUnavailable, WrongChain) as error:
                    self._why[node.name] = str(error)
                    log.warning("block %s: the node at %s did not answer: %s", self._name, node.name, error)
                    self._outcomes[node.name, NO_ANSWER] += 1
                else:
                    if not answer.may_change:
                        break
                await node.rest(wait)
                wait = min(wait * 2, LAST_RETRY_S)
        self._answers[index] = answer
        if answer is not None:
            level = logging.INFO if answer.accepted else logging.WARNING
            log.log(level, "block %s: the node at %s says: %s", self._name, node.name, answer.reason or "accepted")
            self._outcomes[node.name, counted_as(answer)] += 1
        else:
            self._why.setdefault(node.name, f"no answer within {TRY_S:g} s")
            log.error("block %s did not reach the node at %s", self._name, node.name)
        self._open -= 1
        told, self._told = self._told, anyio.Event()
        told.set()

    async def _once(self, node: BitcoinNode) -> Answer:
        if node.well_since is None:
            # What it would say of a block of another chain is no refusal.
            await node.check_chain(aside=True)
        answer = await node.submit(self._hex)
        if not needs_look(answer):
            return judge_answer(answer, None)
        node.look_soon()
        head = await node.header(self._hash, aside=True)
        return judge_answer(answer, None if head is None else head.confirmations)
