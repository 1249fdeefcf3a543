"""What the web server shows of the books, as JSON-ready dicts: money in integer msat, times in Unix ms, hashrates and
work as decimal strings of hashes (per second), keys in hex with their npub beside them.

It is a convenience: everything here can be computed from the log by anybody.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from accounting.facts import BlockSeen
from accounting.ledger import BookedPayout, BookedReward
from accounting.service import Accounting
from accounting.settings_book import Known, shown_worker
from accounting.signing import READS_ONLY
from accounting.statistics import WorkerRate
from nips.nip19 import encode_npub

# The newest of each list; the log itself holds the rest.
MAX_LISTED = 50
FOUND = "found"


class AccountingReadModel:
    """The read side of a running Accounting."""

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting

    async def pool(self) -> dict[str, Any]:
        """The pool as a whole: hashrate, miners, blocks with their fate, statements, payouts, totals."""
        accounting = self._accounting
        fold, now = accounting.fold, accounting.clock.now_ms()
        ledger, height = fold.ledger, accounting.chain.height()
        stats = fold.statistics.pool_statistics(now, blocks=len(fold.blocks), height=height)
        blocks = sorted(fold.blocks.values(), key=lambda block: (block.found_ms, block.block.block), reverse=True)
        terms = fold.terms
        accounts = ledger.accounts
        return {
            "address": str(accounting.pool),
            "pubkey": accounting.pool.pubkey,
            "npub": encode_npub(accounting.pool.pubkey),
            "network": accounting.pool.network,
            "ms": now,
            "synced": accounting.condition().synced,
            "height": height,
            "hashrate_hs": _texts(stats.hashrate),
            "miners": stats.miners,
            "workers": stats.workers,
            "shares": stats.shares,
            "rejects": stats.rejects,
            "work": str(fold.statistics.work),
            "blocks_found": stats.blocks,
            "terms": None
            if terms is None
            else {
                "id": terms.id,
                "created_at": terms.created_at,
                "offers": {name: offer.to_json() for name, offer in terms.body.offers.items()},
                "maturity_blocks": terms.body.limits.maturity_blocks,
                "payouts": terms.body.payouts.to_json(),
            },
            "totals": {
                "pending_msat": accounts.get("reward:pending", 0),
                "matured_msat": accounts.get("reward:matured", 0),
                "fee_pending_msat": -accounts.get("fee:pending", 0),
                "fee_msat": -accounts.get("fee", 0),
                "luck_msat": -accounts.get("luck", 0),
                "luck_pending_msat": -accounts.get("luck:pending", 0),
                "network_fees_msat": -accounts.get("network fees", 0),
                "owed_msat": self._sum("owed"),
                "paid_msat": self._sum("paid"),
            },
            "blocks": [self._block(block) for block in blocks[:MAX_LISTED]],
            "statements": [_statement(reward) for reward in _newest(ledger.rewards.values())],
            "payouts": [self._payout(payout) for payout in _newest(ledger.payouts.values())],
        }

    async def miner(self, pubkey_hex: str) -> dict[str, Any] | None:
        """One miner's work, workers, earnings and payouts; None if the pool has never heard of the key."""
        accounting = self._accounting
        fold, now = accounting.fold, accounting.clock.now_ms()
        stats = fold.statistics.miner_statistics(pubkey_hex, now)
        rewards = fold.ledger.rewards_of(pubkey_hex)
        applied = fold.ledger.applied(pubkey_hex)
        if stats is None and not rewards and not applied:
            return None
        balance, bonus = accounting.balance(pubkey_hex), fold.ledger.bonuses.of(pubkey_hex)
        workers = fold.statistics.workers(pubkey_hex, now)
        return {
            "pubkey": pubkey_hex,
            "npub": encode_npub(pubkey_hex),
            "ms": now,
            "hashrate_hs": {} if stats is None else _texts(stats.hashrate),
            "shares": 0 if stats is None else stats.shares,
            "rejects": 0 if stats is None else stats.rejects,
            "work": "0" if stats is None else str(stats.work),
            "last_share_ms": 0 if stats is None else stats.last_share_ms,
            "workers": shown_workers(accounting.settings.of(pubkey_hex), pubkey_hex, workers),
            "pending_msat": balance.pending_msat,
            "earned_msat": balance.earned_msat,
            "paid_msat": balance.paid_msat,
            "owed_msat": balance.owed_msat,
            "bonus_pending_msat": bonus.pending_msat,
            "bonus_earned_msat": bonus.matured_msat,
            "rewards": [{**_statement(reward), **self._row(reward, pubkey_hex)} for reward in _newest(rewards)],
            "payouts": [self._payout(fold.ledger.payouts[name]) for name in _newest(applied)],
        }

    async def health(self) -> dict[str, Any]:
        """`{"ok": bool, "parts": {name: ...}}`: not ok when it should sign and does not, or books or log contradict."""
        condition = self._accounting.condition()
        contradicted = condition.findings.get("contradicted", 0)
        well = condition.may_sign in (None, READS_ONLY)
        return {
            "ok": condition.synced and well and not condition.violations and not contradicted,
            "parts": {
                "synced": condition.synced,
                "signing": "yes" if condition.may_sign is None else condition.may_sign,
                "statements_waiting": dict(condition.waiting),
                "unpublished": condition.unpublished,
                "books": list(condition.violations[-MAX_LISTED:]) or "balanced",
                "findings": dict(condition.findings),
                "troubles": list(condition.troubles[-MAX_LISTED:]),
            },
        }

    def _block(self, seen: BlockSeen) -> dict[str, Any]:
        ledger, block = self._accounting.fold.ledger, seen.block
        statement = ledger.statement_of(block.block)
        return {
            "block": block.block,
            "height": block.height,
            "found_ms": seen.found_ms,
            "finder": block.finder,
            "finder_npub": encode_npub(block.finder),
            "offer": seen.offer,
            "gross_msat": seen.gross_msat,
            "status": FOUND if statement is None else ledger.rewards[statement].state,
            "event": block.id,
            "statement": statement,
        }

    def _row(self, reward: BookedReward, miner: str) -> dict[str, Any]:
        row = self._accounting.fold.ledger.row_of(reward.statement.id, miner)
        return {"miner_work": str(row.work), "miner_msat": row.msat, "miner_bonus_msat": row.bonus_msat}

    def _payout(self, booked: BookedPayout) -> dict[str, Any]:
        payout = booked.payout
        return {
            "payout_id": payout.payout_id,
            "event": payout.id,
            "created_at": payout.created_at,
            "miner": payout.miner,
            "npub": encode_npub(payout.miner),
            "amount_msat": payout.amount_msat,
            "network_fee_msat": payout.network_fee_msat,
            "method": payout.method,
            "proof": booked.grade,
        }

    def _sum(self, part: str) -> int:
        end = f":{part}"
        accounts = self._accounting.fold.ledger.accounts
        return -sum(msat for name, msat in accounts.items() if name.startswith("miner:") and name.endswith(end))


def _newest(items: Iterable[Any]) -> list[Any]:
    return list(items)[: -MAX_LISTED - 1 : -1]


def _texts(numbers: Any) -> dict[str, str]:
    return {name: str(number) for name, number in numbers.items()}


def shown_workers(known: Known | None, miner: str, workers: Mapping[str, WorkerRate]) -> list[dict[str, Any]]:
    """A miner's workers as its settings let them be shown, by name."""
    shown = [
        {
            **shown_worker(known, miner, name)._asdict(),
            "hashrate_hs": {"5m": str(rate.hashrate)},
            "last_share_ms": rate.last_share_ms,
        }
        for name, rate in workers.items()
    ]
    return sorted(shown, key=lambda worker: str(worker["name"]))


def what_of(booked: BookedReward) -> dict[str, Any]:
    """What a statement is about: a block, or a period, which has no block."""
    reward = booked.statement.reward
    if booked.is_block:
        return {"type": "block", "block": reward.block, "height": reward.height}
    return {"type": "period", "block": None, "height": None}


def _statement(reward: BookedReward) -> dict[str, Any]:
    statement = reward.statement
    return {
        "statement": statement.id,
        "seq": statement.link.seq,
        "created_at": statement.created_at,
        **what_of(reward),
        "found_ms": statement.reward.found_ms,
        "gross_msat": statement.reward.gross_msat,
        "fee_msat": statement.fee_msat,
        "rows": reward.rows,
        "window_work": str(statement.window.work),
        "status": reward.state,
    }
