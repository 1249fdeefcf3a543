"""Blocks, statements, rewards and payouts as pages of JSON-ready dicts: the whole history, newest first.

Money in integer msat, times in Unix ms, work as decimal strings, keys in hex with their npub beside them.
"""

from collections import deque
from typing import Any, Protocol

from accounting.facts import BlockSeen
from accounting.hours import Hour
from accounting.jobs import block_target
from accounting.ledger import PENDING, BookedPayout, BookedReward
from accounting.paging import Newest, Page, Place, cut
from accounting.readmodel import what_of
from accounting.rounds import Rounds
from accounting.schemes.estimates import effort_ppm, luck_ppm
from accounting.service import Accounting
from nips.nip19 import encode_npub
from nips.pool.job import Job
from nips.pool.statement import ORPHANED
from nips.pool.targets import target_from_bits
from nips.pool.terms import Limits

SECOND_MS = 1000
# A block that no statement splits yet.
FOUND = "found"


class RewardHistory(Protocol):
    """The stored books, where memory holds only the newest."""

    async def rewards_of(self, miner: str, before: tuple[int, str] | None, limit: int) -> list[str]:
        """The ids of statements with a row of this miner, by (end in Unix ms, id) from the newest down."""


def block_bits(job: Job, limits: Limits) -> int:
    """The compact target that a block of a job must meet: the network's, on regtest the terms' if that is harder."""
    if limits.block_bits is not None and block_target(job, limits) == target_from_bits(limits.block_bits):
        return limits.block_bits
    return job.nbits


def _block_place(seen: BlockSeen) -> Place:
    return Place(seen.block.height, seen.block.block)


def _statement_place(booked: BookedReward) -> Place:
    return Place(booked.statement.link.seq, booked.statement.id)


def _reward_place(booked: BookedReward) -> Place:
    return Place(booked.statement.reward.found_ms, booked.statement.id)


def _payout_place(booked: BookedPayout) -> Place:
    return Place(booked.payout.created_at, booked.payout.id)


class BookPages:
    """The lists of a running Accounting."""

    def __init__(self, accounting: Accounting, history: RewardHistory, hours: deque[Hour]) -> None:
        """`hours`: the summaries that were read, oldest first; it grows."""
        self._accounting = accounting
        self._history = history
        self._blocks = Newest(_block_place)
        self._statements = Newest(_statement_place)
        self._rewards = Newest(_reward_place)
        self._payouts = Newest(_payout_place)
        self._hours = hours
        self._rounds = Rounds(accounting.fold.log.lanes, hours)

    def counts(self) -> tuple[int, int]:
        """How many statements and payout records the books hold."""
        ledger = self._accounting.fold.ledger
        return len(ledger.rewards), len(ledger.payouts)

    def rounds(self) -> Rounds:
        """The sums of work between blocks, of the log as it is folded now."""
        lanes = self._accounting.fold.log.lanes
        if self._rounds.lanes is not lanes:
            self._rounds = Rounds(lanes, self._hours)
        self._rounds.spend()
        return self._rounds

    def newest_blocks(self, limit: int) -> list[BlockSeen]:
        """The highest blocks that were proven, the highest first."""
        return self._blocks.page(self._accounting.fold.blocks, None, limit).items

    def efforts(self, blocks: list[BlockSeen], before: BlockSeen | None) -> list[int | None]:
        """Each block's effort in millionths; `blocks` from the highest down, `before` the next below the last (None:
        the log's beginning). None while it is not reckoned.
        """
        rounds = self.rounds()
        efforts: list[int | None] = []
        for seen, earlier in zip(blocks, [*blocks[1:], before][: len(blocks)], strict=True):
            begun = 0 if earlier is None else earlier.found_ms
            work = rounds.between(begun, seen.found_ms) if seen.found_ms > begun else 0
            bits = block_bits(seen.job, seen.terms.body.limits)
            efforts.append(None if work is None else effort_ppm([(work, bits)]))
        return efforts

    def blocks(self, before: Place | None, limit: int) -> Page[dict[str, Any]]:
        """The pool's blocks, with effort, luck and what becomes of their rewards."""
        found = self._blocks.page(self._accounting.fold.blocks, before, limit + 1)
        listed, rest = found.items[:limit], found.items[limit:]
        efforts = self.efforts(listed, rest[0] if rest else None)
        items = [self._block(seen, effort) for seen, effort in zip(listed, efforts, strict=True)]
        return Page(items, _block_place(listed[-1]) if rest else None)

    def statements(self, before: Place | None, limit: int) -> Page[dict[str, Any]]:
        """The statements of the accounting's chain."""
        found = self._statements.page(self._accounting.fold.ledger.rewards, before, limit)
        return Page([_statement(booked) for booked in found.items], found.next)

    def statement(self, name: str) -> dict[str, Any] | None:
        """A statement with its rows, by its id, or by its number (of two chains' the newer); None if there is none."""
        ledger = self._accounting.fold.ledger
        booked = ledger.rewards.get(name)
        if booked is None and name.isdecimal():
            found = self._statements.page(ledger.rewards, Place(int(name) + 1, ""), 1).items
            booked = found[0] if found and found[0].statement.link.seq == int(name) else None
        if booked is None:
            return None
        whole = ledger.statements[booked.statement.id]
        split = [
            {
                "pubkey": row.miner,
                "npub": encode_npub(row.miner),
                "work": str(row.work),
                "msat": row.msat,
                "bonus_msat": row.bonus_msat,
            }
            for row in whole.rows
        ]
        return {
            **_statement(booked),
            "event": whole.id,
            "signer": whole.signer,
            "terms": whole.terms,
            "offer": whole.offer,
            "window_from_ms": whole.window.from_ms,
            "heads": {lane: [head.seq, head.id] for lane, head in whole.window.heads.items()},
            "split": split,
        }

    def rewards(self, before: Place | None, limit: int) -> Page[dict[str, Any]]:
        """The rewards of all blocks and periods that were split, the newest first."""
        found = self._rewards.page(self._accounting.fold.ledger.rewards, before, limit)
        return Page([self._reward(booked) for booked in found.items], found.next)

    async def rewards_of(self, miner: str, before: Place | None, limit: int) -> Page[dict[str, Any]]:
        """The rewards a miner has a part of."""
        names = await self._history.rewards_of(miner, before, limit + 1)
        ledger = self._accounting.fold.ledger
        # What the file knows and a fold begun anew does not yet is left out until it does.
        booked = [ledger.rewards[name] for name in names if name in ledger.rewards]
        items = []
        for reward in booked[:limit]:
            row = ledger.row_of(reward.statement.id, miner)
            mine = {"miner_work": str(row.work), "miner_msat": row.msat, "miner_bonus_msat": row.bonus_msat}
            items.append({**self._reward(reward), **mine})
        more = len(booked) > limit
        return Page(items, _reward_place(booked[limit - 1]) if more else None)

    def payouts(self, before: Place | None, limit: int) -> Page[dict[str, Any]]:
        """The payout records, by time."""
        found = self._payouts.page(self._accounting.fold.ledger.payouts, before, limit)
        return Page([self._payout(booked) for booked in found.items], found.next)

    def payouts_of(self, miner: str, before: Place | None, limit: int) -> Page[dict[str, Any]]:
        """A miner's payout records. O(their number)."""
        ledger = self._accounting.fold.ledger
        mine = [ledger.payouts[name] for name in ledger.applied(miner)]
        found = cut([(_payout_place(booked), booked) for booked in mine], before, limit)
        return Page([self._payout(booked) for booked in found.items], found.next)

    def _matures(self, height: int, terms_id: str) -> int | None:
        terms = self._accounting.fold.log.terms_by_id.get(terms_id)
        return None if terms is None else height + terms.body.limits.maturity_blocks - 1

    def _block(self, seen: BlockSeen, effort: int | None) -> dict[str, Any]:
        ledger, block = self._accounting.fold.ledger, seen.block
        statement = ledger.statement_of(block.block)
        status = FOUND if statement is None else ledger.rewards[statement].state
        matures = self._matures(block.height, seen.terms.id)
        waits = status in (FOUND, PENDING) and matures is not None
        return {
            "block": block.block,
            "height": block.height,
            "found_ms": seen.found_ms,
            "finder": block.finder,
            "finder_npub": encode_npub(block.finder),
            "offer": seen.offer,
            "gross_msat": seen.gross_msat,
            "status": status,
            "event": block.id,
            "statement": statement,
            "effort_ppm": effort,
            "luck_ppm": None if effort is None else luck_ppm(1, effort),
            "matures_at_height": None if status == ORPHANED else matures,
            "blocks_to_maturity": max(0, (matures or 0) - self._accounting.chain.height()) if waits else 0,
        }

    def _reward(self, booked: BookedReward) -> dict[str, Any]:
        statement = booked.statement
        return {
            "statement": statement.id,
            "seq": statement.link.seq,
            **what_of(booked),
            "found_ms": statement.reward.found_ms,
            "offer": statement.offer,
            "gross_msat": statement.reward.gross_msat,
            "fee_msat": statement.fee_msat,
            "miners_msat": statement.reward.gross_msat - statement.fee_msat,
            "miners": booked.rows,
            "window_work": str(statement.window.work),
            "status": booked.state,
            "matures_at_height": (self._matures(statement.reward.height, statement.terms) if booked.is_block else None),
        }

    def _payout(self, booked: BookedPayout) -> dict[str, Any]:
        payout = booked.payout
        return {
            "payout_id": payout.payout_id,
            "event": payout.id,
            "created_ms": payout.created_at * SECOND_MS,
            "pubkey": payout.miner,
            "npub": encode_npub(payout.miner),
            "amount_msat": payout.amount_msat,
            "network_fee_msat": payout.network_fee_msat,
            "method": payout.method,
            "reverses": payout.reverses,
            "proof": booked.grade,
        }


def _statement(booked: BookedReward) -> dict[str, Any]:
    statement = booked.statement
    return {
        "statement": statement.id,
        "seq": statement.link.seq,
        "created_ms": statement.created_at * SECOND_MS,
        **what_of(booked),
        "found_ms": statement.reward.found_ms,
        "gross_msat": statement.reward.gross_msat,
        "fee_msat": statement.fee_msat,
        "rows": booked.rows,
        "window_work": str(statement.window.work),
        "status": booked.state,
    }
