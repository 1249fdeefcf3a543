"""Blocks among the shares: the shares that solve one, the announcements (4213) of them, and which of these hold."""

from collections.abc import Callable
from dataclasses import dataclass

from accounting.checks import Known
from accounting.facts import BlockSeen, Fact
from accounting.findings import Code, Finding, finding
from accounting.jobs import JudgedJob
from accounting.lanes import Batch, LaneKey
from accounting.shares import CheckedShares, Solution
from accounting.shelves import Shelf, Shelves
from accounting.termsbook import TermsBook
from nips.pool.block import BlockFound
from nips.pool.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Solved:
    """A share that solves its job's block, its lane and the number and date of its batch."""

    solution: Solution
    lane: LaneKey
    seq: int
    created_at: int


class Announced:
    """Blocks as far as they were read. `facts` is where proven ones go, `report` where findings do."""

    def __init__(
        self,
        terms: TermsBook,
        report: Callable[[Finding], None],
        facts: list[Fact],
        shelves: Shelves,
        batch_of: Callable[[str], Batch | None],
        judged_job: Callable[[str], JudgedJob | None],
    ) -> None:
        """`batch_of` gives a batch that took its place by its receipt, `judged_job` a judged job by id."""
        self._terms = terms
        self._report = report
        self._facts = facts
        self._batch_of = batch_of
        self._judged_job = judged_job
        # Proven blocks by hash, and hashes of those that are not.
        self.blocks: Shelf[BlockSeen] = shelves.open("blocks")
        self.refused: set[str] = set()
        # Announced blocks (hashes) whose share lies in a batch of which a job was not read.
        self.unproven: set[str] = set()
        # The block that each 4213 which holds announces, by its id.
        self.announcements: Shelf[str] = shelves.open("announcements")
        # Such events whose receipt was not read.
        self.waiting: dict[str, BlockFound] = {}
        # Every share that solves its job's block, by `<receipt>/<number>`.
        self.solutions: Shelf[Solved] = shelves.open("solutions")

    def put(self, block: BlockFound) -> None:
        """Take an announcement in; it waits for its receipt."""
        self.waiting[block.id] = block

    def note_solutions(self, lane: LaneKey, receipt: Receipt | Known, shares: CheckedShares) -> None:
        """Keep the shares of a batch that solve blocks."""
        for solution in shares.solutions:
            place = Solved(solution, lane, receipt.link.seq, receipt.created_at)
            self.solutions[f"{receipt.id}/{solution.number:05d}"] = place

    def settle(self) -> None:
        """Judge every announcement whose receipt was read and whose signer is an edge."""
        for block in sorted(self.waiting.values(), key=lambda block: block.id):
            batch = self._batch_of(block.receipt)
            if batch is not None and block.signer in self._terms.roles["edge"]:
                del self.waiting[block.id]
                self._check(block, batch)

    def _check(self, block: BlockFound, batch: Batch) -> None:
        known = self.solutions.get(f"{block.receipt}/{block.index:05d}")
        if known is None:
            if not batch.head.unchecked:
                self._refuse(Code.BLOCK_NOT_SOLVED, f"share {block.index} of its receipt is no block of its job", block)
            else:
                self.unproven.add(block.block)
            return
        solution, key = known.solution, known.lane
        judged = self._judged_job(solution.job)
        assert judged is not None  # its share was hashed by it
        claims = {
            "signer": (block.signer, key.edge),
            "header": (block.header, solution.header),
            "coinbase": (block.coinbase, solution.coinbase),
            "merkle": (block.merkle, judged.job.merkle),
            "height": (block.height, judged.job.height),
            "finder": (block.finder, solution.miner),
        }
        wrong = [name for name, (told, found) in claims.items() if told != found]
        if wrong:
            self._refuse(Code.BLOCK_MISMATCH, f"{', '.join(wrong)} not as the share and its job say", block)
            return
        self.announcements[block.id] = block.block
        known_block = self.blocks.get(block.block)
        # Announced twice, by two records of one share: the earlier tells when it was found.
        if known_block is not None and known_block.found_ms <= solution.t:
            return
        seen = BlockSeen(
            block=block,
            found_ms=solution.t,
            offer=judged.job.offer,
            terms=judged.terms,
            gross_msat=judged.gross_msat,
            job=judged.job,
            edge=key.edge,
            lane=key.number,
            seq=known.seq,
            index=solution.number,
            share_bits=solution.share_bits,
        )
        self.blocks[block.block] = seen
        self._facts.append(seen)

    def _refuse(self, code: Code, text: str, block: BlockFound) -> None:
        self.refused.add(block.block)
        self._report(finding(code, text, block.id, block.receipt, miner=block.finder, key=block.signer))
