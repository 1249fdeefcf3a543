"""What the pool owes its miners beside what it has: liabilities out of the books, funds as wallets tell them.

Both are the pool's own word where the log does not show them; told every hour (4221), anybody can compare them over
time. Amounts in msat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accounting.ledger import Ledger
from nips.nip01 import MAX_SAFE_INTEGER
from nips.nip19 import encode_npub
from nips.pool.funds import MAX_PLACES, Place

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
# A wallet that was silent for longer than this is not counted with: what it had may be gone.
STALE_MS = 3 * HOUR_MS
# Holders elsewhere report every ten minutes, if only to say that they are there: of one that missed three nobody knows.
SILENT_MS = 30 * MINUTE_MS
# A kind of funds in the hourly summary: few words, so that series can be drawn of them.
MAX_HOLDINGS = 8
# What those beyond are, together.
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Holding:
    """What one place of the pool's money holds. `msat`: as it was last told, None before; `ms`: when (Unix ms);
    `error`: why it told nothing since, "" if it did; `source`: the holder elsewhere whose word it is (hex key), "" for
    this process; `heard_ms`: the date of its report (Unix ms).
    """

    name: str
    msat: int | None = None
    ms: int = 0
    error: str = ""
    source: str = ""
    heard_ms: int = 0

    def known(self, now_ms: int) -> int | None:
        """What can be counted with now."""
        if self.msat is None or now_ms > self.ms + STALE_MS:
            return None
        return None if self.source and now_ms > self.heard_ms + SILENT_MS else self.msat

    def silence(self, now_ms: int) -> str | None:
        """Why it can't be counted with, for a person; None if it can."""
        if self.known(now_ms) is not None:
            return None
        who = f"{self.name} of {encode_npub(self.source)}" if self.source else self.name
        since = self.heard_ms if self.source and now_ms > self.heard_ms + SILENT_MS else self.ms
        if not since:
            return f"{who} has never told what it holds"
        return f"{who} has not told what it holds for {(now_ms - since) // MINUTE_MS} minutes"


@dataclass(frozen=True, slots=True)
class Treasury:
    """How it stands at `ms` (Unix ms). `owed_msat`: matured and not paid; `pending_msat`: in rewards that still mature,
    covered by these rewards; `advanced_msat`: what miners were paid beyond what matured, as after a deep orphan.

    Funds are the sum of all places or not known: a part of them never stands for the whole, whether it covers the
    debts or not, and what is old counts neither as it was nor as nothing.
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
        return f"what the pool has is not known: {'; '.join(text for _, text in silences(treasury))}"
    if spare < 0:
        return f"the pool owes {treasury.owed_msat // 1000} sat and has {-spare // 1000} sat less than that"
    return None


def silences(treasury: Treasury) -> list[tuple[Holding, str]]:
    """The places that can't be counted with, whatever is owed, each with a sentence for a person."""
    found = ((each, each.silence(treasury.ms)) for each in treasury.holdings)
    return [(each, sentence) for each, sentence in found if sentence is not None]


def to_places(holdings: Sequence[Holding], now_ms: int) -> tuple[Place, ...]:
    """What this process holds, as it reports it; places beyond what a report names are one, as old as the oldest.

    `now_ms`: the report's date, which nothing in it may be ahead of, as after the clock was set back.
    """
    shown = list(holdings) if len(holdings) <= MAX_PLACES else list(holdings[: MAX_PLACES - 1])
    rest = holdings[len(shown) :]
    places = [Place(each.name, each.msat, min(each.ms, now_ms)) if each.ms else Place(each.name) for each in shown]
    if rest:
        sums = [each.msat for each in rest if each.msat is not None]
        oldest_ms = min(now_ms, *(each.ms for each in rest))
        places.append(Place(OTHER, sum(sums), oldest_ms) if len(sums) == len(rest) else Place(OTHER))
    return tuple(places)


def to_summary(treasury: Treasury) -> Mapping[str, Any] | None:
    """The `treasury` of an hourly summary (4221); None while funds are not known, or sums pass what JSON holds."""
    funds = treasury.funds_msat
    if funds is None or max(funds, treasury.owed_msat, treasury.pending_msat) > MAX_SAFE_INTEGER:
        return None
    held: dict[str, int] = {}
    names = list(dict.fromkeys(each.name for each in treasury.holdings))
    # The sum of `held` is the funds, whatever number of places there is.
    shown = names if len(names) <= MAX_HOLDINGS else names[: MAX_HOLDINGS - 1]
    for holding in treasury.holdings:
        name = holding.name if holding.name in shown else OTHER
        held[name] = held.get(name, 0) + (holding.known(treasury.ms) or 0)
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
            {
                "name": each.name,
                "source": encode_npub(each.source) if each.source else None,
                "msat": each.msat,
                "told_ms": each.ms,
                "heard_ms": each.heard_ms if each.source else each.ms,
                "age_ms": max(0, treasury.ms - each.ms) if each.ms else None,
                "silence": each.silence(treasury.ms),
                "error": each.error,
            }
            for each in treasury.holdings
        ],
    }
