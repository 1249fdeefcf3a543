"""The summaries that the accounting chains tell, as they come: each takes its place once its chain's turn and all it
rests on were read. Like everything in the fold, the outcome does not depend on the order of arrival.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from accounting.accounting_events import AccountingEvent
from accounting.chains import Chain
from accounting.findings import Code, Finding, finding
from accounting.log import PoolLog
from accounting.summaries import Lack, SummaryBook
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.pool.address import address_of
from nips.pool.chain import Head, link_of
from nips.pool.kinds import STATEMENT_PART, SUMMARY
from nips.pool.summary import Summary, SummaryPart, SummaryRow, parse_summary, parse_summary_part

TOLD_KINDS = frozenset({SUMMARY, STATEMENT_PART})
_Told = Summary | SummaryPart | None
# A batch that was published too late for its hour counts in the next one; a day later it was passed over.
PASSED_OVER_MS = 86_400_000


@dataclass(slots=True)
class Waiting:
    """What one key told and has not taken its place, by number and id, and the parts right before what comes next."""

    events: dict[int, dict[str, _Told]] = field(default_factory=dict)
    parts: list[SummaryPart] = field(default_factory=list)


class _Due(NamedTuple):
    """The summary whose turn it is in its key's chain."""

    waiting: Waiting
    seq: int
    summary: Summary


class ToldSummaries:
    """Brings the summaries of a log's accounting chains into a SummaryBook. `judged` counts them, `held` those in which
    nothing was wrong.
    """

    def __init__(
        self, log: PoolLog, book: SummaryBook, waiting: dict[str, Waiting] | None = None, *, patient: bool = False
    ) -> None:
        """`waiting`: that of an earlier one, to go on from there. `patient`: judge none before its lanes were read
        beyond its time, so that a batch it left out is known whatever came first; the accounting, which has itself
        looked at them, rather goes on.
        """
        self._log = log
        self._patient = patient
        self._book = book
        # By key; a key's entry stays, since what it told last may be parts of what it tells next.
        self.waiting: dict[str, Waiting] = waiting or {}
        self.judged = self.held = 0
        # By key: the place after its last summary. After a resumed start all before the next one are looked at once.
        self._after: dict[str, int] = {}

    @property
    def waits(self) -> bool:
        """Whether a summary of a key of the pool was read and has not taken its place."""
        held = self._log.terms.roles["accounting"]
        return any(waiting.events for key, waiting in self.waiting.items() if key in held)

    def add(self, event: VerifiedEvent) -> None:
        """Take an event of TOLD_KINDS in; what is not of this pool, or has no place in a chain, is left out. So is that
        of a key without a role: the log keeps it, and tells of it (`unparked`) once the key has one.
        """
        if event.pubkey not in self._log.terms.all_keys():
            return
        try:
            if address_of(event) != self._log.pool:
                return
            seq = link_of(event).seq
        except InvalidPoolEvent:
            return
        told: _Told = None
        try:
            told = parse_summary(event) if event.kind == SUMMARY else parse_summary_part(event)
        except InvalidPoolEvent:
            # Part of something else, or of a later version: it has its place, and is said when its turn comes.
            told = None
        self.waiting.setdefault(event.pubkey, Waiting()).events.setdefault(seq, {})[event.id] = told

    def settle(self, *, to_the_end: bool = False) -> Iterator[Finding]:
        """Let every summary take its place that can; what is wrong with them.

        The summaries of a key whose chain the terms have closed come before those of the keys that came after it.
        `to_the_end`: there is no more to read, so that nothing waits for what lacks.
        """
        while (due := self._next(to_the_end)) is not None and (to_the_end or self._is_ready(due.summary)):
            del due.waiting.events[due.seq]
            yield from self._take(due.waiting, due.summary, self._lack(due.summary))

    def overdue(self, now_ms: int) -> Iterator[Finding]:
        """What no summary counts though one should, at a time (Unix ms)."""
        book, lanes, terms = self._book, self._log.lanes, self._log.terms.newest()
        to_ms = book.due_to()
        if to_ms is None or terms is None or self.waits:
            return
        limits = terms.body.limits
        for name in book.left_out():
            hour = book.lanes[name].buckets[0]
            if book.newest_s * 1000 >= hour.end_ms + PASSED_OVER_MS:
                text = f"lane {name} up to batch {hour.last.seq}, which ended by {hour.end_ms}"
                yield finding(Code.SUMMARY_OVERDUE, text, hour.last.id)
        heads = [book.lanes[name].buckets[0].last.id for name in book.pending()[:1]]
        silent = lanes.behind(to_ms)
        if silent is not None:
            # A pool at rest owes nothing; one that goes on must not be held up for good by a lane that does not.
            newest_ms = max(lane.watermark_ms for _, lane in lanes.in_order())
            if newest_ms > to_ms + limits.silence_ms + limits.statement_ms:
                text = f"what was done up to {to_ms} waits for lane {silent}, silent since {lanes[silent].watermark_ms}"
                yield finding(Code.SUMMARY_OVERDUE, text, *heads)
            return
        if all(lane.ended for _, lane in lanes.in_order()):
            return
        passed_s = max((batch.created_at for batch in lanes.cuts(to_ms).values()), default=0)
        if now_ms > max(passed_s * 1000, to_ms) + limits.statement_ms:
            text = f"what was done up to {to_ms}, known since {max(passed_s * 1000, to_ms)}"
            yield finding(Code.SUMMARY_OVERDUE, text, *heads)

    def _heirs(self) -> list[str]:
        """The keys that held the accounting's role, in the order the terms gave it; those that hold it open together
        come one after another, too.
        """
        terms = self._log.terms.by_id.values()
        return list(
            dict.fromkeys(key for each in terms for key, role in sorted(each.body.keys) if role == "accounting")
        )

    def _is_over(self, key: str) -> bool:
        """Whether nothing of a key's chain is to come before what its heirs say; an open chain holds nobody up."""
        end = self._log.terms.end_of(f"{key}/accounting")
        if end is None or end.seq < 0:
            return True
        read = self._log.accounting.get(key)
        return read is not None and read.is_ended and not self.waiting.get(key, Waiting()).events

    def _next(self, to_the_end: bool) -> _Due | None:
        """The summary whose turn it is: of several keys' the one that goes on where the last one ended."""
        found: list[_Due] = []
        for key in self._heirs():
            due = self._due_of(key)
            if due is not None:
                found.append(due)
            if not to_the_end and not self._is_over(key):
                break
        return next((due for due in found if due.summary.from_ms == self._book.to_ms), found[0] if found else None)

    def _due_of(self, key: str) -> _Due | None:
        """A key's next summary; what stands before it in the chain is let go, but for its parts."""
        waiting, chain = self.waiting.get(key), self._log.accounting.get(key)
        if waiting is None or chain is None:
            return None
        while waiting.events:
            seq = min(waiting.events)
            accepted = chain.accepted_id(seq)
            if accepted is None and not _is_passed(chain, seq):
                return None
            told = None if accepted is None else waiting.events[seq].get(accepted)
            if isinstance(told, Summary):
                return _Due(waiting, seq, told)
            del waiting.events[seq]
            if isinstance(told, SummaryPart):
                parts = waiting.parts
                follows = parts and parts[-1].link.seq + 1 == told.link.seq and told.part == len(parts)
                waiting.parts = [*parts, told] if follows else [told]
        return None

    def _is_ready(self, summary: Summary) -> bool:
        """Whether what it names was read, and each lane that it or an earlier one names beyond its time, or to the
        lane's end.
        """
        for name in {*summary.heads, *(self._book.known() if self._patient else ())}:
            lane = self._log.lanes.find(name)
            if lane is None:
                end = self._log.terms.end_of(name)
                if name in summary.heads and (end is None or end.seq >= 0):
                    return False
            elif not lane.ended:
                head = summary.heads.get(name)
                is_past = lane.watermark_ms > summary.to_ms or not self._patient
                if not is_past or (head is not None and lane.batches[-1].seq < head.seq):
                    return False
        return True

    def _lack(self, summary: Summary) -> Lack | None:
        """Why a summary can't be recomputed, as far as its heads tell."""
        missing, void = [], []
        for name, head in sorted(summary.heads.items()):
            if self._was_closed_later(name, head, summary.created_at):
                void.append(name)
                continue
            lane = self._log.lanes.find(name)
            accepted = None if lane is None else lane.chain.accepted_id(head.seq)
            ended = lane is not None and lane.ended and lane.batches[-1].seq < head.seq
            if accepted is None and not ended:
                missing.append(head.id)
        if missing:
            return Lack("it names batches that were not read", tuple(missing))
        if void:
            return Lack(f"terms that came later have closed lane {void[0]} before what it counts", void=True)
        return None

    def _lacks_parts(self, summary: Summary) -> bool:
        """Whether a place of its chain where a part should stand holds nothing that was read."""
        chain, seq = self._log.accounting[summary.signer], summary.link.seq
        return any(chain.accepted_id(place) is None for place in range(max(0, seq - summary.parts), seq))

    def _lacks_before(self, summary: Summary) -> bool:
        """Whether an earlier summary may stand in a place of its chain of which nothing was read."""
        chain, seq = self._log.accounting[summary.signer], summary.link.seq
        start, self._after[summary.signer] = self._after.get(summary.signer, 0), seq + 1
        return any(chain.accepted_id(place) is None for place in range(start, seq))

    def _was_closed_later(self, name: str, head: Head, second: int) -> bool:
        """Whether terms dated after a summary have closed a lane below the batch that it names."""
        book = self._log.terms
        end = book.end_of(name)
        if end is None or head.seq <= end.seq:
            return False
        for terms in book.by_id.values():
            told = terms.body.closed.get(name, terms.body.closed.get(f"{name.partition('/')[0]}/*"))
            if told is not None and told.seq < head.seq:
                return terms.created_at > second
        return False

    def _take(self, waiting: Waiting, summary: Summary, lack: Lack | None) -> Iterator[Finding]:
        parts, waiting.parts = waiting.parts, []
        rows: tuple[SummaryRow, ...] | None = summary.rows
        name = f"summary {summary.id}"
        found: list[Finding] = []
        if summary.parts:
            whole = len(parts) == summary.parts and parts[0].part == 0 and parts[-1].link.seq + 1 == summary.link.seq
            rows = tuple(row for part in parts for row in part.rows)
            if not whole and self._lacks_parts(summary):
                # Relays can hide: what they keep back is no fault of the pool's.
                lack, rows = lack or Lack(f"some of its {summary.parts} parts were not read"), None
            elif not whole:
                text = f"{name}: its {summary.parts} parts do not stand before it"
                found.append(finding(Code.SUMMARY, text, summary.id))
        if self._lacks_before(summary):
            lack = Lack("events before it in its chain were not read", hidden=True)
        wrong, lack = self._book.take(summary, rows, lack)
        found += [finding(Code.SUMMARY, f"{name}: {text}", summary.id) for text in wrong]
        if lack is not None and lack.batches:
            found.append(finding(Code.MISSING_BATCH, f"{name}: {lack.text}", summary.id, *lack.batches))
        if lack is not None:
            code = Code.CLOSED_CHAIN if lack.void else Code.SUMMARY_NOT_RECOMPUTED
            found.append(finding(code, f"{name}: {lack.text}", summary.id))
        self.judged += 1
        self.held += not found
        yield from found


def _is_passed(chain: Chain[AccountingEvent], seq: int) -> bool:
    """Whether no event of that number will be accepted: the chain was closed below it, or goes on past a gap there."""
    beyond = chain.closed is not None and seq > chain.closed.seq
    return beyond or (chain.head is not None and seq < chain.head.seq)
