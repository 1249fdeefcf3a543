"""What the fold of the log has established, in the order it did."""

from dataclasses import dataclass

from accounting.checks import Known
from accounting.shares import CheckedShares, Session
from accounting.sums import Sums
from nips.pool.block import BlockFound
from nips.pool.job import Job
from nips.pool.payout import Payout
from nips.pool.receipt import Receipt
from nips.pool.statement import RewardStatus, Statement
from nips.pool.terms import Terms

PROVEN, ATTESTED, CLAIMED, REFUTED = "proven", "attested", "claimed", "refuted"


@dataclass(frozen=True, slots=True)
class TermsAdopted:
    """Terms took their place in the chain."""

    terms: Terms


@dataclass(frozen=True, slots=True)
class BatchChecked:
    """A receipt took its place in its lane, its shares hashed; `check`: what to keep of that (accounting.checks), None
    if it was known, or is to be hashed again next time.
    """

    receipt: Receipt | Known
    shares: CheckedShares
    sums: Sums
    check: bytes | None = None


@dataclass(frozen=True, slots=True)
class WorkDone:
    """What known batches came to that took their places before without a word."""

    sums: Sums


@dataclass(frozen=True, slots=True)
class SpanSummed:
    """Batches up to a receipt were summed; `row`: what to keep of that (accounting.spans)."""

    receipt: str
    row: bytes


@dataclass(frozen=True, slots=True)
class ShareRevoked:
    """A share credited before turned out to repeat an earlier one, of a batch of another lane read later. `lane`:
    `<edge>/<lane>` of its batch, `seq` the batch's number; `session`: whose it was.
    """

    receipt: str
    index: int
    lane: str
    seq: int
    session: Session


@dataclass(frozen=True, slots=True)
class BlockSeen:
    """An announced block that matches its share. `found_ms` is the share's time; `gross_msat` the coinbase's outputs.
    `edge`, `lane`, `seq`, `index` are the share's place, `share_bits` its target, `offer` and `terms` its job's.
    """

    block: BlockFound
    found_ms: int
    offer: str
    terms: Terms
    gross_msat: int
    job: Job
    edge: str
    lane: int
    seq: int
    index: int
    share_bits: int

    @property
    def scheme(self) -> str:
        """How its reward is split."""
        return self.terms.body.offers[self.offer].scheme

    @property
    def pays_loyalty(self) -> bool:
        """Whether its statement has bonuses."""
        return self.terms.body.offers[self.offer].loyalty is not None


@dataclass(frozen=True, slots=True)
class StatementSeen:
    """A statement took its place in its chain; `ok`: it is what the log gives, to the msat."""

    statement: Statement
    ok: bool


@dataclass(frozen=True, slots=True)
class StatusSeen:
    """A reward's status took its place in its chain; `ok`: it follows from the one before."""

    status: RewardStatus
    ok: bool


@dataclass(frozen=True, slots=True)
class PayoutSeen:
    """A payout record took its place; `grade`: proven, attested, claimed or refuted. It comes again with a better
    grade when a zap receipt is read later.
    """

    payout: Payout
    grade: str


@dataclass(frozen=True, slots=True)
class Reopened:
    """What was read last changes what came before (terms that close a chain below its head, or replaced the terms of
    jobs already used): the facts so far no longer hold. Feed all events to a new PoolLog, the terms first; with
    `rehash` without what was kept of batches, since shares are judged otherwise.
    """

    reason: str
    rehash: bool = False


Fact = (
    TermsAdopted
    | BatchChecked
    | WorkDone
    | SpanSummed
    | ShareRevoked
    | BlockSeen
    | StatementSeen
    | StatusSeen
    | PayoutSeen
    | Reopened
)
