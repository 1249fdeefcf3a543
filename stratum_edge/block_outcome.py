"""What became of a block that was handed to several nodes: one is enough to take it, all must speak to refuse it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stratum_edge.ports import Submitted

# BIP 22's words and Bitcoin Core's, as counters name them: a node's own text would make a counter of its own each.
KNOWN_REASONS: Final = frozenset(
    {
        "bad-cb-flag", "bad-cb-height", "bad-cb-length", "bad-cb-prefix", "bad-diffbits", "bad-prevblk",
        "bad-txnmrklroot", "bad-txns", "bad-version", "bad-witness-merkle-match", "bad-witness-nonce-size",
        "duplicate",
        "duplicate-inconclusive", "duplicate-invalid", "high-hash", "inconclusive", "invalid", "prev-blk-not-found",
        "rejected", "stale-prevblk", "stale-work", "time-invalid", "time-too-new", "time-too-old", "unknown-user",
    }
)  # fmt: skip
ACCEPTED: Final = "accepted"
# Refusals that time heals: the node lacks the block before, which is on its way, or its clock is behind.
HEALING: Final = frozenset({"prev-blk-not-found", "time-too-new"})
NOT_ACTIVE: Final = "not in the active chain"


@dataclass(frozen=True, slots=True)
class Answer:
    """One node's explicit answer: accepted, or the reason why not."""

    accepted: bool
    reason: str

    @property
    def may_change(self) -> bool:
        """Whether the same block may be taken if it is handed in again."""
        return self.reason in HEALING


def needs_look(answer: str | None) -> bool:
    """Whether `submitblock`'s answer may mean that the block is in the chain, to be asked for by its hash.

    None is BIP 22's explicit null. "duplicate" is what a second try gets when the answer to the first was lost.
    """
    return answer is None or answer == "duplicate"


def judge_answer(answer: str | None, confirmations: int | None) -> Answer:
    """A node's answer with what `getblockheader` said of the block afterwards (None: it does not know it)."""
    if needs_look(answer) and confirmations is not None and confirmations >= 1:
        return Answer(True, "")
    return Answer(False, NOT_ACTIVE if answer is None else answer)


def counted_as(answer: Answer) -> str:
    """The name under which an answer is counted."""
    if answer.accepted:
        return ACCEPTED
    return answer.reason if answer.reason in KNOWN_REASONS or answer.reason == NOT_ACTIVE else "other"


def verdict(answers: Sequence[Answer | None], *, final: bool) -> Submitted | None:
    """What the nodes' answers come to, in their order; None for a node means it has not answered (yet).

    One acceptance decides. A refusal stands once all have answered, or `final` says that the others will not.
    None: undecided; if `final`, no node ever answered.
    """
    if any(answer is not None and answer.accepted for answer in answers):
        return Submitted(True, "")
    told = [answer for answer in answers if answer is not None]
    if told and (final or len(told) == len(answers)):
        return Submitted(False, told[0].reason)
    return None
