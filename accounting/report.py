"""What an audit says: claim by claim what was checked and held, the findings, and what each miner earned and got."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from accounting.findings import CONTRADICTED, MISSING, REGISTRY, Code, Finding

# Exit status of a verifier: all holds; something is contradicted or missing. (2, it could not look, is the caller's.)
HOLDS, FAILS = 0, 1

CLAIMS: Mapping[str, frozenset[Code]] = {
    "signatures": frozenset({Code.BAD_SIGNATURE, Code.JUNK, Code.STRANGER}),
    "form, keys and roles": frozenset(
        {Code.MALFORMED, Code.UNKNOWN_VERSION, Code.WRONG_KEY, Code.KEY_NOT_CLOSED, Code.NOTHING_FOUND}
    ),
    "chains": frozenset(
        {Code.FORK, Code.BROKEN_CHAIN, Code.BACKDATED, Code.GAP, Code.CLOSED_CHAIN, Code.WINDOW_GAP, Code.AFTER_FIN}
        | {Code.LANE_CLOSED_EARLY, Code.ARCHIVE}
    ),
    "jobs": frozenset(
        {Code.MISSING_TERMS, Code.MISSING_JOB, Code.MISSING_BATCH, Code.JOB_TERMS, Code.JOB_OFFER, Code.JOB_SIGNER}
        | {Code.OFFER_SCHEME}
        | {Code.JOB_COINBASE, Code.JOB_NBITS, Code.JOB_HEIGHT, Code.JOB_HEAD, Code.STALE_HEAD}
        | {Code.UPSTREAM, Code.CHAIN_JOB}
    ),
    "shares' work and binding": frozenset(
        {Code.WORK_TAG, Code.SHARE_JOB, Code.SHARE_WORK, Code.SHARE_TIME, Code.SHARE_NTIME, Code.SHARE_VERSION}
        | {Code.SHARE_TOO_EASY, Code.SHARE_MINER, Code.SHARE_TWICE, Code.HARDER_WORK}
    ),
    "blocks": frozenset(
        {Code.BLOCK_NOT_SOLVED, Code.BLOCK_MISMATCH, Code.BLOCK_UNTOLD, Code.MISSING_RECEIPT, Code.CHAIN_FACTS}
        | {Code.STATEMENT_OVERDUE, Code.CHAIN_UNTOLD}
    ),
    "statements": frozenset(
        {Code.STATEMENT_NO_BLOCK, Code.STATEMENT_REWARD, Code.STATEMENT_TERMS, Code.STATEMENT_HEADS, Code.LATE_LANE}
        | {Code.STATEMENT_WINDOW, Code.STATEMENT_SPLIT, Code.STATEMENT_NOT_RECOMPUTED, Code.STATEMENT_SCHEME}
        | {Code.REWARD_TWICE, Code.COUNTED_TWICE, Code.STATUS_ORDER, Code.STATUS_UNKNOWN, Code.CHAIN_STATUS}
    ),
    "summaries": frozenset({Code.SUMMARY, Code.SUMMARY_OVERDUE, Code.SUMMARY_NOT_RECOMPUTED}),
    "payouts": frozenset(
        {
            Code.PAYOUT_PROOF,
            Code.PAYOUT_TWICE,
            Code.PAYOUT_REVERSAL,
            Code.PAYOUT_FEE,
            Code.PAYOUT_CLAIMED,
            Code.OVERPAID,
        }
    ),
}


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim: how many things were looked at, how many held, and how many findings of each grade there are."""

    name: str
    checked: int
    held: int
    contradicted: int
    missing: int
    not_checked: int


@dataclass(frozen=True, slots=True)
class MinerRow:
    """What the log says of a miner: good shares, their work, and msat pending, matured (earned), paid."""

    miner: str
    shares: int
    work: int
    pending_msat: int
    earned_msat: int
    paid_msat: int

    @property
    def owed_msat(self) -> int:
        """Matured and not yet paid."""
        return self.earned_msat - self.paid_msat


@dataclass(frozen=True, slots=True)
class WorkOverTime:
    """Good shares' work by spans of time: (n, work) for the span from n * span_ms on, Unix ms; spans without are left
    out.
    """

    span_ms: int = 1
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """An audit's result. `pool` is the address; `from_ms` to `to_ms` the time its batches cover (0, 0: none).

    `grades` counts payouts by what their proof is worth, `methods` so for each method; `ignored` events were of another
    pool or kind; `notes`: what this audit did not look for, in words.
    """

    pool: str
    from_ms: int
    to_ms: int
    claims: tuple[ClaimRow, ...]
    findings: tuple[Finding, ...]
    miners: tuple[MinerRow, ...]
    grades: Mapping[str, int]
    ignored: int
    work: WorkOverTime = WorkOverTime()
    notes: tuple[str, ...] = ()
    methods: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 when all that was checked holds; 1 when anything is contradicted, or missing: gaps and overdue events are
        claims the pool owes. What was not checked alone leaves 0.
        """
        return FAILS if any(found.grade in (CONTRADICTED, MISSING) for found in self.findings) else HOLDS

    def to_json(self) -> str:
        """The whole report as JSON, work as decimal strings."""
        fields: dict[str, Any] = {
            "pool": self.pool,
            "from_ms": self.from_ms,
            "to_ms": self.to_ms,
            "holds": self.exit_code == HOLDS,
            "claims": [asdict(row) for row in self.claims],
            "findings": [asdict(found) for found in self.findings],
            "miners": [{**asdict(row), "work": str(row.work), "owed_msat": row.owed_msat} for row in self.miners],
            "payouts": dict(self.grades),
            "payout_methods": {method: dict(counts) for method, counts in self.methods.items()},
            "ignored": self.ignored,
            "notes": list(self.notes),
        }
        return json.dumps(fields, indent=1)

    def lines(self) -> Iterator[str]:
        """The report as plain text, a line each."""
        yield f"pool {self.pool}"
        for row in self.claims:
            yield f"{row.name}: {row.held} of {row.checked} hold" + "".join(
                f", {count} {grade}"
                for count, grade in (
                    (row.contradicted, "contradicted"),
                    (row.missing, "missing"),
                    (row.not_checked, "not checked"),
                )
                if count
            )
        for found in self.findings:
            yield f"{found.grade}: {found.code}: {REGISTRY[found.code][1]} {found.text}"
            if found.events:
                yield "  " + " ".join(found.events)
        for miner in self.miners:
            yield (
                f"miner {miner.miner}: {miner.shares} shares, earned {miner.earned_msat} msat, "
                f"paid {miner.paid_msat}, owed {miner.owed_msat}, pending {miner.pending_msat}"
            )
        for method, counts in self.methods.items():
            yield f"payouts by {method}: " + ", ".join(f"{count} {grade}" for grade, count in counts.items())
        yield from self.notes
        yield "all that was checked holds" if self.exit_code == HOLDS else "not all holds"


def claim_row(name: str, checked: int, held: int, findings: Sequence[Finding]) -> ClaimRow:
    """A claim's row, the findings of its codes counted by grade."""
    grades = [found.grade for found in findings if found.code in CLAIMS[name]]
    contradicted, missing = grades.count(CONTRADICTED), grades.count(MISSING)
    return ClaimRow(name, checked, held, contradicted, missing, len(grades) - contradicted - missing)
