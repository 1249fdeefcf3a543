"""The summaries that the accounting chains tell, as they come: each takes its place once its chain's turn and all it
names were read. Like everything in the fold, the outcome does not depend on the order of arrival.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from accounting.chains import Chain
from accounting.log import AccountingEvent, PoolLog
from accounting.summaries import SummaryBook
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.pool.address import address_of
from nips.pool.chain import link_of
from nips.pool.kinds import STATEMENT_PART, SUMMARY
from nips.pool.summary import Summary, SummaryPart, SummaryRow, parse_summary, parse_summary_part

TOLD_KINDS = frozenset({SUMMARY, STATEMENT_PART})
_Told = Summary | SummaryPart | None
# Keys get a role by terms that may be read after what they signed. Anybody can sign such events: no more of them wait.
MAX_OF_STRANGERS = 10_000


@dataclass(slots=True)
class Waiting:
    """What one key told and has not taken its place, by number and id, and the parts right before what comes next."""

    events: dict[int, dict[str, _Told]] = field(default_factory=dict)
    parts: list[SummaryPart] = field(default_factory=list)


class ToldSummaries:
    """Brings the summaries of a log's accounting chains into a SummaryBook."""

    def __init__(self, log: PoolLog, book: SummaryBook, waiting: dict[str, Waiting] | None = None) -> None:
        """`waiting`: that of an earlier one, to go on from there."""
        self._log = log
        self._book = book
        # By key; a key's entry stays, since what it told last may be parts of what it tells next.
        self.waiting: dict[str, Waiting] = waiting or {}
        self._strangers = 0

    @property
    def waits(self) -> bool:
        """Whether a summary of a key of the pool was read and has not taken its place."""
        held = self._log.terms.roles["accounting"]
        return any(waiting.events for key, waiting in self.waiting.items() if key in held)

    def add(self, event: VerifiedEvent) -> None:
        """Take an event of TOLD_KINDS in; what is not of this pool, or has no place in a chain, is left out."""
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
        if event.pubkey not in self._log.terms.roles["accounting"]:
            self._strangers += 1
            if self._strangers > MAX_OF_STRANGERS:
                return
        self.waiting.setdefault(event.pubkey, Waiting()).events.setdefault(seq, {})[event.id] = told

    def settle(self) -> Iterator[str]:
        """Let every summary take its place that can; what is wrong with them, in words.

        The summaries of a key whose chain the terms have closed come before those of the keys that came after it.
        """
        for key in self._heirs():
            if key in self.waiting:
                yield from self._settle_key(key)
            if not self._is_over(key):
                break

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

    def _settle_key(self, key: str) -> Iterator[str]:
        waiting, chain = self.waiting[key], self._log.accounting.get(key)
        if chain is None:
            return
        while waiting.events:
            seq = min(waiting.events)
            accepted = chain.accepted_id(seq)
            if accepted is None:
                if _is_beyond(chain, seq):
                    del waiting.events[seq]
                    continue
                return
            told = waiting.events[seq].get(accepted)
            if isinstance(told, Summary) and self._book.lacks(told):
                return
            del waiting.events[seq]
            yield from self._take(waiting, accepted, told)

    def _take(self, waiting: Waiting, accepted: str, told: _Told) -> Iterator[str]:
        if isinstance(told, SummaryPart):
            follows = waiting.parts and waiting.parts[-1].link.seq + 1 == told.link.seq
            waiting.parts = [*waiting.parts, told] if follows and told.part == len(waiting.parts) else [told]
            return
        parts, waiting.parts = waiting.parts, []
        if isinstance(told, Summary):
            rows: tuple[SummaryRow, ...] = told.rows
            if told.parts:
                whole = len(parts) == told.parts and parts[0].part == 0 and parts[-1].link.seq + 1 == told.link.seq
                if not whole:
                    yield f"summary {accepted}: its {told.parts} parts do not stand before it"
                rows = tuple(row for part in parts for row in part.rows)
            for text in self._book.take(told, rows):
                yield f"summary {accepted}: {text}"


def _is_beyond(chain: Chain[AccountingEvent], seq: int) -> bool:
    """Whether the chain was closed below that number: nothing there counts."""
    return chain.closed is not None and seq > chain.closed.seq
