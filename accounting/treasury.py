"""What the pool owes its miners beside what it has: liabilities out of the books, funds as wallets tell them.

Both are the pool's own word where the log does not show them; told every hour (4221), anybody can compare them over
time. Amounts in msat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accounting.ledger import Ledger
from nips.nip01 import MAX_SAFE_INTEGER

# A wallet that was silent for longer than this is not counted with: what it had may be gone.
STALE_MS = 3 * 3_600_000
# A kind of funds in the hourly summary: few words, so that series can be drawn of them.
MAX_HOLDINGS = 8


@dataclass(frozen=True, slots=True)
class Holding:
    """What one place of the pool's money holds. `msat`: as it was last told, None before; `ms`: when (Unix ms);
    `error`: why it told nothing since, "" if it did.
    """

    name: str
    msat: int | None = None
    ms: int = 0
    error: str = ""

    def known(self, now_ms: int) -> int | None:
        """What can be counted with now."""
        return None if self.msat is None or now_ms > self.ms + STALE_MS else self.msat


@dataclass(frozen=True, slots=True)
class Treasury:
    """How it stands at `ms` (Unix ms). `owed_msat`: matured and not paid; `pending_msat`: in rewards that still mature,
    covered by these rewards; `advanced_msat`: what miners were paid beyond what matured, as after a deep orphan.
    """

    ms: int
    owed_msat: int
    pending_msat: int
    advanced_msat: int
    holdings: tuple[Holding, ...] = ()

    @property
    def funds_msat(self) -> int | None:
        """All that the pool has; None if there is nothing to ask, or a place can't be counted with."""
        known = [holding.known(self.ms) for holding in self.holdings]
        return sum(msat for msat in known if msat is not None) if known and None not in known else None

    @property
    def spare_msat(self) -> int | None:
        """What would be left if everybody were paid now; negative is a debt nothing covers. None while not known."""
        funds = self.funds_msat
        return None if funds is None else funds - self.owed_msat


def take_stock(ledger: Ledger, holdings: Sequence[Holding], now_ms: int) -> Treasury:
    """The books' debts and the places' money. O(miners)."""
    owed = pending = advanced = 0
    for account, msat in ledger.accounts.items():
        if account.startswith("miner:"):
            if account.endswith(":owed"):
                owed += max(0, -msat)
                advanced += max(0, msat)
            elif account.endswith(":pending"):
                pending -= msat
    return Treasury(now_ms, owed, pending, advanced, tuple(holdings))


def below_owed(treasury: Treasury) -> str | None:
    """What to alert the operator of: less money than debts, or money that nobody can tell; None when all is well.

    Without any place to ask there is nothing to say.
    """
    if not treasury.holdings or not treasury.owed_msat:
        return None
    spare = treasury.spare_msat
    if spare is None:
        silent = ", ".join(each.name for each in treasury.holdings if each.known(treasury.ms) is None)
        return f"what the pool has is not known: {silent} does not tell"
    if spare < 0:
        return f"the pool owes {treasury.owed_msat // 1000} sat and has {-spare // 1000} sat less than that"
    return None


def to_summary(treasury: Treasury) -> Mapping[str, Any] | None:
    """The `treasury` of an hourly summary (4221); None while funds are not known, or sums pass what JSON holds."""
    funds = treasury.funds_msat
    if funds is None or max(funds, treasury.owed_msat, treasury.pending_msat) > MAX_SAFE_INTEGER:
        return None
    held: dict[str, int] = {}
    for holding in treasury.holdings[:MAX_HOLDINGS]:
        held[holding.name] = held.get(holding.name, 0) + (holding.known(treasury.ms) or 0)
    return {
        "ms": treasury.ms,
        "owed_msat": treasury.owed_msat,
        "pending_msat": treasury.pending_msat,
        "funds_msat": funds,
        "held": held,
    }


def to_json(treasury: Treasury) -> dict[str, Any]:
    """The treasury for the read API and the operator's table."""
    return {
        "ms": treasury.ms,
        "owed_msat": treasury.owed_msat,
        "pending_msat": treasury.pending_msat,
        "advanced_msat": treasury.advanced_msat,
        "funds_msat": treasury.funds_msat,
        "spare_msat": treasury.spare_msat,
        "alert": below_owed(treasury),
        "holdings": [
            {"name": each.name, "msat": each.msat, "told_ms": each.ms, "error": each.error}
            for each in treasury.holdings
        ],
    }
