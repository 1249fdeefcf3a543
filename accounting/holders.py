"""What holders of the pool's money on other hosts have told (34215, d = "treasury"), the newest of each.

Nothing here is evidence, and only keys that the reader names are heard. What comes again, or is older than what is
known, changes nothing, so a relay can hide a report but not bring an old one back.
"""

from collections.abc import Mapping

from accounting.treasury import SECOND_MS, Holding
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent, supersedes
from nips.pool.address import PoolAddress
from nips.pool.funds import Funds, parse_funds

# A clock that is wrong by a quarter of an hour is common (as for settings); beyond that a report would look fresh for
# long, and hide those that follow.
MAX_AHEAD_S = 900


class HoldersBook:
    """The reports of one pool's holders."""

    def __init__(self, pool: PoolAddress) -> None:
        self._pool = pool
        self._known: dict[str, tuple[VerifiedEvent, Funds]] = {}

    def take(self, event: VerifiedEvent, holders: Mapping[str, str], now_ms: int) -> bool:
        """Look at a report; whether it is the newest of one of the `holders` (hex keys and what each is called)."""
        known = self._known.get(event.pubkey)
        if event.pubkey not in holders or (known is not None and not supersedes(event, known[0])):
            return False
        try:
            funds = parse_funds(event)
        except InvalidPoolEvent:
            return False
        if funds.pool != self._pool or funds.created_at > now_ms // SECOND_MS + MAX_AHEAD_S:
            return False
        self._known[event.pubkey] = (event, funds)
        return True

    def events(self, holders: Mapping[str, str]) -> list[VerifiedEvent]:
        """The reports that stand, to be kept."""
        return [event for key, (event, _) in self._known.items() if key in holders]

    def holdings(self, holders: Mapping[str, str], now_ms: int) -> list[Holding]:
        """What they hold, sorted by key. A holder that never told is a holding nobody knows, and so is one that said it
        holds nothing and is silent since.
        """
        found: list[Holding] = []
        for key, role in sorted(holders.items()):
            told = self._known.get(key)
            if told is None:
                found.append(Holding(role, source=key))
                continue
            heard_ms = told[1].created_at * SECOND_MS
            places = [Holding(each.name, each.msat, each.ms, "", key, heard_ms) for each in told[1].places]
            empty = Holding(role, 0, heard_ms, "", key, heard_ms)
            found += places or ([empty] if empty.known(now_ms) is None else [])
        return found
