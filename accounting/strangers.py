"""What of the relays' events the accounting keeps: the pool's own, and few of anybody else's.

Anybody can sign events of the log's kinds with the pool's name. Those of keys without a role wait for one, so many as
`accounting.parked` keeps; what comes beyond is let go and only counted, and is asked for again should terms give a new
key a role: it may be that key's.
"""

from collections.abc import Iterable
from typing import NamedTuple

from accounting import parked
from accounting.log import EVIDENCE, PoolLog
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.pool.address import address_of
from nips.pool.kinds import LEDGER_KINDS


class LetGo(NamedTuple):
    """What was let go since everything was asked for last: how many events, the newest created_at (Unix s), and how
    many keys were known to the pool by then. `again`: everything is to be asked for once more.
    """

    events: int = 0
    newest_s: int = 0
    keys: int = 0
    again: bool = False

    def plus(self, events: Iterable[VerifiedEvent], keys: int) -> "LetGo":
        """With these, let go while the pool had so many keys."""
        dates = [event.created_at for event in events]
        known = min(self.keys, keys) if self.events else keys
        return LetGo(self.events + len(dates), max(self.newest_s, *dates), known, self.again)

    def missed(self, keys: int) -> bool:
        """Whether some of it may be of the pool, which has so many keys now."""
        return self.events > 0 and keys > self.keys


class Sifted(NamedTuple):
    """Events that are kept, and those that are let go."""

    kept: list[VerifiedEvent]
    let_go: list[VerifiedEvent]


def sift(log: PoolLog, events: Iterable[VerifiedEvent]) -> Sifted:
    """Tell which events go into the books' store. As long as no terms were read all of the log's do: whose they are is
    not known.
    """
    keys = log.terms.all_keys() if log.terms.by_id else None
    room = max(0, parked.MAX_PARKED - len(log.parked))
    sifted = Sifted([], [])
    for event in events:
        if event.kind in EVIDENCE or event.id in log.ids:
            sifted.kept.append(event)
        elif not _names(log, event):
            sifted.let_go.append(event)
        elif keys is None or event.pubkey in keys:
            sifted.kept.append(event)
        elif room:
            room -= 1
            sifted.kept.append(event)
        else:
            sifted.let_go.append(event)
    return sifted


def _names(log: PoolLog, event: VerifiedEvent) -> bool:
    try:
        return event.kind in LEDGER_KINDS and address_of(event) == log.pool
    except InvalidPoolEvent:
        return False
