"""What a ledger books, made by hand: statements, periods, statuses and payout records that nobody signed."""

from dataclasses import dataclass, replace
from typing import ClassVar

from accounting.ledger import Ledger
from nips.pool.address import PoolAddress
from nips.pool.chain import Link
from nips.pool.payout import Payout
from nips.pool.statement import BlockReward, RewardStatus, Row, Statement, Window

POOL = PoolAddress("aa" * 32, "regtest")
MINERS = [f"{number:064x}" for number in range(1, 5)]


def statement(
    number: int,
    rows: list[int],
    fee: int,
    gross: int | None = None,
    block: int | None = None,
    bonuses: list[int] | None = None,
) -> Statement:
    """`bonuses`: what of each row is one; none where the list is shorter."""
    given = [*(bonuses or []), *[0] * len(MINERS)]
    return Statement(
        reward=BlockReward(f"{block or number:064x}", 10, 1000, sum(rows) + fee if gross is None else gross),
        terms="cc" * 32,
        offer="main",
        window=Window(0, 1, {}),
        fee_msat=fee,
        rows=tuple(Row(*each) for each in zip(MINERS, [1] * len(MINERS), rows, given, strict=False)),
        id=f"{1000 + number:064x}",
        signer="dd" * 32,
        pool=POOL,
        link=Link(0, None),
        created_at=1,
    )


@dataclass(frozen=True)
class Period:
    """What the ledger asks of a period's reward."""

    found_ms: int
    gross_msat: int
    block: ClassVar[str] = ""
    height: ClassVar[int] = 0

    def to_json(self):
        return {"type": "period", "to_ms": self.found_ms, "gross_msat": self.gross_msat}


def period(number: int, rows: list[int]) -> Statement:
    return replace(statement(500 + number, rows, 0), reward=Period(1000 * number, sum(rows)), offer="shares")


def status(of: Statement, said: str) -> RewardStatus:
    return RewardStatus(f"{of.id[:60]}{said[:2]:0>4}", "dd" * 32, POOL, Link(1, "ee" * 32), 2, of.id, said)


def payout(name: str, miner: str, msat: int, fee: int = 0) -> Payout:
    return Payout(
        payout_id=name,
        miner=miner,
        amount_msat=msat,
        network_fee_msat=fee,
        to="ff" * 32,
        method="cashu",
        proof={},
        reverses="x" if msat < 0 else None,
        id=f"id {name}",
        signer="dd" * 32,
        pool=POOL,
        link=Link(0, None),
        created_at=3,
    )


def figures(ledger: Ledger, miner: str) -> tuple[int, int, int, int]:
    balance = ledger.balance(miner, None)
    return balance.pending_msat, balance.earned_msat, balance.paid_msat, balance.owed_msat
