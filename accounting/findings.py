"""What an audit finds: a closed registry of codes, each with its grade and a line of explanation.

Grades (SPEC.md, "Findings and versions"): *contradicted*, the log disproves a claim; *missing*, something that must
exist is on no relay asked; *not checked*, the log alone cannot tell.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

CONTRADICTED, MISSING, NOT_CHECKED = "contradicted", "missing", "not checked"


class Code(StrEnum):
    """The name of a finding, as machines read it."""

    BAD_SIGNATURE = "bad-signature"
    JUNK = "junk"
    MALFORMED = "malformed"
    UNKNOWN_VERSION = "unknown-version"
    STRANGER = "stranger"
    WRONG_KEY = "wrong-key"
    CLOSED_CHAIN = "closed-chain"
    KEY_NOT_CLOSED = "key-not-closed"
    FORK = "fork"
    BROKEN_CHAIN = "broken-chain"
    BACKDATED = "backdated"
    LANE_CLOSED_EARLY = "lane-closed-early"
    GAP = "gap"
    ARCHIVE = "archive"
    MISSING_TERMS = "missing-terms"
    MISSING_JOB = "missing-job"
    MISSING_BATCH = "missing-batch"
    OFFER_SCHEME = "offer-scheme"
    JOB_TERMS = "job-terms"
    JOB_OFFER = "job-offer"
    JOB_SIGNER = "job-signer"
    JOB_COINBASE = "job-coinbase"
    JOB_NBITS = "job-nbits"
    JOB_HEIGHT = "job-height"
    JOB_HEAD = "job-head"
    STALE_HEAD = "stale-head"
    UPSTREAM = "upstream-binding"
    WINDOW_GAP = "window-gap"
    AFTER_FIN = "after-fin"
    WORK_TAG = "work-tag"
    SHARE_JOB = "share-job"
    SHARE_WORK = "share-work"
    SHARE_TIME = "share-time"
    SHARE_NTIME = "share-ntime"
    SHARE_VERSION = "share-version"
    SHARE_TOO_EASY = "share-too-easy"
    SHARE_MINER = "share-miner"
    SHARE_TWICE = "share-twice"
    HARDER_WORK = "harder-work"
    BLOCK_NOT_SOLVED = "block-not-solved"
    BLOCK_MISMATCH = "block-mismatch"
    BLOCK_UNTOLD = "block-untold"
    MISSING_RECEIPT = "missing-receipt"
    STATEMENT_OVERDUE = "statement-overdue"
    STATEMENT_NO_BLOCK = "statement-no-block"
    STATEMENT_REWARD = "statement-reward"
    STATEMENT_TERMS = "statement-terms"
    STATEMENT_HEADS = "statement-heads"
    STATEMENT_WINDOW = "statement-window"
    STATEMENT_SPLIT = "statement-split"
    STATEMENT_NOT_RECOMPUTED = "statement-not-recomputed"
    STATEMENT_SCHEME = "statement-scheme"
    REWARD_TWICE = "reward-twice"
    COUNTED_TWICE = "counted-twice"
    LATE_LANE = "late-lane"
    STATUS_ORDER = "status-order"
    STATUS_UNKNOWN = "status-unknown"
    SUMMARY = "summary"
    SUMMARY_OVERDUE = "summary-overdue"
    SUMMARY_NOT_RECOMPUTED = "summary-not-recomputed"
    CHAIN_FACTS = "chain-facts"
    CHAIN_JOB = "chain-job"
    CHAIN_STATUS = "chain-status"
    CHAIN_UNTOLD = "chain-untold"
    PAYOUT_PROOF = "payout-proof"
    PAYOUT_TWICE = "payout-twice"
    PAYOUT_REVERSAL = "payout-reversal"
    PAYOUT_FEE = "payout-fee"
    PAYOUT_CLAIMED = "payout-claimed"
    OVERPAID = "overpaid"
    NOTHING_FOUND = "nothing-found"


REGISTRY: dict[Code, tuple[str, str]] = {
    Code.BAD_SIGNATURE: (CONTRADICTED, "A relay served an event of the pool whose id or signature is wrong."),
    Code.JUNK: (NOT_CHECKED, "A relay served something that is no event, or not of the pool's log."),
    Code.MALFORMED: (CONTRADICTED, "An event signed by a key of the pool breaks the form of its kind."),
    Code.UNKNOWN_VERSION: (NOT_CHECKED, "An event is of a version of the protocol not known here."),
    Code.STRANGER: (NOT_CHECKED, "An event carries the pool's name but no key of its terms signed it: ignored."),
    Code.WRONG_KEY: (CONTRADICTED, "A key of the pool signed an event its role does not allow: it is void."),
    Code.CLOSED_CHAIN: (NOT_CHECKED, "An event stands beyond the end the terms set its chain: it is void."),
    Code.KEY_NOT_CLOSED: (CONTRADICTED, "The terms left out a key without closing its chains."),
    Code.FORK: (CONTRADICTED, "Two events of one chain carry one sequence number."),
    Code.BROKEN_CHAIN: (CONTRADICTED, "An event's prev does not name the event before it."),
    Code.BACKDATED: (
        CONTRADICTED,
        "An event is dated before the one before it in its chain, or before what it rests on.",
    ),
    Code.LANE_CLOSED_EARLY: (
        CONTRADICTED,
        "The terms closed a lane that lived on, before it had been silent for its grace.",
    ),
    Code.GAP: (MISSING, "Sequence numbers of a chain are on no relay asked."),
    Code.ARCHIVE: (
        CONTRADICTED,
        "An archive names as a chain's newest event one that is not the chain's of that time.",
    ),
    Code.MISSING_TERMS: (MISSING, "Terms that are named, or the first terms, are on no relay asked."),
    Code.MISSING_JOB: (MISSING, "A receipt names a job that is on no relay asked."),
    Code.MISSING_BATCH: (MISSING, "A job, statement or summary names a batch that is on no relay asked."),
    Code.OFFER_SCHEME: (CONTRADICTED, "Terms change the scheme of an offer that earlier terms name."),
    Code.JOB_TERMS: (CONTRADICTED, "A job names terms that had been replaced longer than job_ms."),
    Code.JOB_OFFER: (CONTRADICTED, "A job names an offer that its terms do not hold."),
    Code.JOB_SIGNER: (CONTRADICTED, "A job was not signed by the receipt's signer, an edge of the job's terms."),
    Code.JOB_COINBASE: (CONTRADICTED, "A job's coinbase has not the one shape, or another height."),
    Code.JOB_NBITS: (CONTRADICTED, "A job's nbits is no target of its network."),
    Code.JOB_HEIGHT: (CONTRADICTED, "Two jobs on one block are for different heights: one keeps work out of rewards."),
    Code.JOB_HEAD: (
        CONTRADICTED,
        "A job names no earlier batch of the lane that uses it, or one that ended after it was made.",
    ),
    Code.STALE_HEAD: (CONTRADICTED, "A job names a batch that had ended more than anchor_ms before."),
    Code.UPSTREAM: (NOT_CHECKED, "A job's coinbase is an upstream pool's: its shares are the edge's word."),
    Code.WINDOW_GAP: (CONTRADICTED, "A batch does not begin where the one before it ended."),
    Code.AFTER_FIN: (CONTRADICTED, "A batch stands in a lane that had ended for good: it is void."),
    Code.WORK_TAG: (CONTRADICTED, "A receipt's work tag is not the sum of its credited shares."),
    Code.SHARE_JOB: (CONTRADICTED, "Credited shares were mined on a job that breaks the rules."),
    Code.SHARE_WORK: (
        CONTRADICTED,
        "A credited share's hash does not meet its target: work, miner, job or target is not as told.",
    ),
    Code.SHARE_TIME: (CONTRADICTED, "A credited share is dated before its job or after its job's life."),
    Code.SHARE_NTIME: (CONTRADICTED, "A credited share's header time is outside the job's bounds."),
    Code.SHARE_VERSION: (CONTRADICTED, "A credited share rolled version bits outside the job's mask."),
    Code.SHARE_TOO_EASY: (CONTRADICTED, "Shares were credited at a target easier than the terms allow."),
    Code.SHARE_MINER: (CONTRADICTED, "Shares were credited to something that is no public key."),
    Code.SHARE_TWICE: (CONTRADICTED, "One share was credited twice."),
    Code.HARDER_WORK: (NOT_CHECKED, "A miner's hashes are unlike those of the target it is credited for."),
    Code.BLOCK_NOT_SOLVED: (CONTRADICTED, "An announced block's share is no block of its job."),
    Code.BLOCK_MISMATCH: (CONTRADICTED, "An announced block differs from the share that it names."),
    Code.BLOCK_UNTOLD: (MISSING, "A share solves its job's block and no event announces it."),
    Code.MISSING_RECEIPT: (MISSING, "A block names a receipt that is on no relay asked."),
    Code.STATEMENT_OVERDUE: (
        MISSING,
        "A block, or a period with work, has no reward statement, statement_ms after its work was known.",
    ),
    Code.STATEMENT_NO_BLOCK: (MISSING, "A statement's block is announced on no relay asked."),
    Code.STATEMENT_REWARD: (
        CONTRADICTED,
        "A statement tells another height, time or worth of its block, or no period of its offer.",
    ),
    Code.STATEMENT_TERMS: (
        CONTRADICTED,
        "A statement splits by other terms or another offer than the block's job names.",
    ),
    Code.STATEMENT_HEADS: (CONTRADICTED, "A statement cuts a lane elsewhere than at the first batch past the reward."),
    Code.STATEMENT_WINDOW: (CONTRADICTED, "A statement's window is not what the shares give."),
    Code.STATEMENT_SPLIT: (CONTRADICTED, "A statement's rows or fee are not what the shares and terms give."),
    Code.STATEMENT_NOT_RECOMPUTED: (MISSING, "A statement cannot be recomputed, since part of the log is missing."),
    Code.STATEMENT_SCHEME: (
        NOT_CHECKED,
        "A statement's scheme is not computed by this version.",
    ),
    Code.REWARD_TWICE: (CONTRADICTED, "Two statements that stand split one reward."),
    Code.COUNTED_TWICE: (CONTRADICTED, "Two statements of an offer that stand count the same shares."),
    Code.LATE_LANE: (CONTRADICTED, "A lane appeared after a statement that its shares belonged to."),
    Code.STATUS_ORDER: (CONTRADICTED, "A reward's status does not follow from the one before."),
    Code.STATUS_UNKNOWN: (MISSING, "A status names a statement that is on no relay asked."),
    Code.SUMMARY: (
        CONTRADICTED,
        "An hourly summary is not what the batches, and the summaries before it, add up to.",
    ),
    Code.SUMMARY_OVERDUE: (MISSING, "Batches are counted by no hourly summary, though one was due."),
    Code.SUMMARY_NOT_RECOMPUTED: (
        MISSING,
        "An hourly summary cannot be recomputed, since part of the log is missing.",
    ),
    Code.CHAIN_FACTS: (NOT_CHECKED, "Whether blocks are in the chain, and how deep, needs its headers."),
    Code.CHAIN_JOB: (CONTRADICTED, "A job's height or nbits is not the chain's."),
    Code.CHAIN_STATUS: (CONTRADICTED, "A reward's status is not what the chain says of its block."),
    Code.CHAIN_UNTOLD: (MISSING, "A block of the chain fits a published job, and no statement splits its reward."),
    Code.PAYOUT_PROOF: (CONTRADICTED, "A payout's proof does not hold."),
    Code.PAYOUT_TWICE: (CONTRADICTED, "A payout's name or payment serves twice."),
    Code.PAYOUT_REVERSAL: (CONTRADICTED, "A payout reverses none, another miner's, or more than was paid."),
    Code.PAYOUT_FEE: (CONTRADICTED, "A miner bore a higher network fee than any terms up to then allow."),
    Code.PAYOUT_CLAIMED: (NOT_CHECKED, "Payouts, or fees that miners bore, whose proof is the payer's own word."),
    Code.OVERPAID: (CONTRADICTED, "A miner was paid more than had matured by then."),
    Code.NOTHING_FOUND: (MISSING, "No terms of this pool are on the relays asked."),
}


# What a key signed that the terms have revoked since convicts nobody: its thief may have (SPEC.md, "Verifying").
VOID_IF_REVOKED = frozenset(
    {Code.FORK, Code.MALFORMED, Code.WRONG_KEY, Code.BLOCK_NOT_SOLVED, Code.BLOCK_MISMATCH, Code.MISSING_RECEIPT}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `events`: the ids it rests on. `miner`: whom it concerns, hex, if it is one's; `key`: who signed
    what is wrong, where that decides the grade.
    """

    code: Code
    grade: str
    text: str
    events: tuple[str, ...]
    miner: str | None = None
    key: str | None = None

    def noted(self) -> "Finding":
        """The same of a key that was revoked: void, and no more than noted."""
        text = f"{self.code}: {self.text}; void, since the terms have revoked its key"
        return replace(self, code=Code.CLOSED_CHAIN, grade=NOT_CHECKED, text=text)


def finding(code: Code, text: str, *events: str, miner: str | None = None, key: str | None = None) -> Finding:
    """A finding with the grade its code has."""
    return Finding(code, REGISTRY[code][0], text, events, miner, key)
