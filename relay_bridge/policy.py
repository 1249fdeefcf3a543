"""Which events a relay takes: anything (for tests), or one pool's."""

from collections.abc import Callable
from dataclasses import dataclass

from nips.nip01 import Event, VerifiedEvent
from nips.pool import kinds
from relay_bridge.rate import TokenBuckets
from relay_bridge.refusal import Refusal

# strfry's default and the bound SPEC.md plans for: an event's JSON in bytes.
MAX_EVENT_BYTES = 65_536
# strfry's default.
MAX_TAGS = 2_000
# strfry's default: longer values of single-letter tags would swell the index.
MAX_INDEXED_VALUE = 255
# strfry's default: how far ahead of our clock an event may be dated.
MAX_AHEAD_S = 900

# p tags looked at to find a miner: receipts, nutzaps and wraps have one, zap receipts of a split a few. Each costs a
# look-up, before any signature is checked.
MAX_NAMED = 8

# What the pool's own keys say besides the protocol's kinds: profile, notes, follows, deletions of notes, zap receipts
# (our own wallet may be the provider), relay lists, mints, status, and the handler's announcement (NIP-89).
_POOL_KINDS = kinds.LEDGER_KINDS | kinds.VIEW_KINDS | frozenset({0, 1, 3, 5, 9735, 10002, 10019, 10050, 30315, 31990})
# What anybody may leave here: profile, follows, relay lists, mints, and the miners' own kinds.
_OPEN_KINDS = kinds.MINER_KINDS | frozenset({0, 3, 10002, 10019, 10050})
# Text notes are taken only from those who speak to the pool, when it listens.
_NOTE = 1
# What must concern us: zap receipts, nutzaps, gift wraps. Their authors are providers, senders and throw-away keys.
_ADDRESSED_KINDS = frozenset({9735, 9321, 1059})


@dataclass(frozen=True, slots=True)
class PolicyLimits:
    """Sizes in bytes, rates as (burst, one more every ms)."""

    event_bytes: int = MAX_EVENT_BYTES
    tags: int = MAX_TAGS
    indexed_value: int = MAX_INDEXED_VALUE
    ahead_s: int = MAX_AHEAD_S
    # A miner with 20 devices attests 20 times a day, changes settings now and then; one event every ten seconds is
    # plenty, and a burst lets a client write profile, relays, mints and settings at once.
    author_rate: tuple[int, int] = (40, 10_000)
    # Many miners may share an address, and zap receipts of many come from one provider.
    source_rate: tuple[int, int] = (400, 500)
    # Notes that mention the pool: a sentence or two, and each may want an answer. Of one author six and another
    # every ten minutes; of all together, whose keys cost nothing, a hundred and another every half minute: 23 MB a day.
    note_bytes: int = 8_192
    note_author_rate: tuple[int, int] = (6, 600_000)
    note_rate: tuple[int, int] = (100, 30_000)


def check_form(event: Event, *, size: int, now_ms: int, limits: PolicyLimits, any_date: bool = False) -> Refusal | None:
    """The limits that hold for every event; `any_date`: it may be dated ahead of our clock."""
    if size > limits.event_bytes:
        return Refusal("invalid", f"the event has {size} bytes, the limit is {limits.event_bytes}")
    if len(event.tags) > limits.tags:
        return Refusal("invalid", f"the event has {len(event.tags)} tags, the limit is {limits.tags}")
    if not any_date and event.created_at > now_ms // 1000 + limits.ahead_s:
        return Refusal("invalid", f"created_at is more than {limits.ahead_s} seconds ahead")
    for tag in event.tags:
        if len(tag) > 1 and len(tag[0]) == 1 and len(tag[1]) > limits.indexed_value:
            return Refusal("invalid", f"the value of a {tag[0]} tag is longer than {limits.indexed_value} characters")
    return None


class OpenPolicy:
    """Takes every event within the limits of form, from anybody, at any rate. For tests and private networks."""

    def __init__(self, limits: PolicyLimits | None = None) -> None:
        self._limits = limits or PolicyLimits()

    def screen(self, event: Event, *, size: int, now_ms: int) -> Refusal | None:
        """Only the form counts."""
        return check_form(event, size=size, now_ms=now_ms, limits=self._limits)

    def charge(self, event: VerifiedEvent, *, source: str, now_ms: int) -> Refusal | None:  # noqa: ARG002 - the port's
        """Nobody is charged."""
        return None


class PoolPolicy:
    """Takes what belongs to one pool on one network. Reading is open and no matter of this class.

    `ledger_authors` gives the keys that speak for the pool now (edges, accounting, zapper); `is_known` says whether a
    public key is a miner of ours: has a profile here, or is named in a receipt.
    """

    def __init__(
        self,
        pool_pubkey: str,
        network: str,
        ledger_authors: Callable[[], frozenset[str]],
        is_known: Callable[[str], bool],
        limits: PolicyLimits | None = None,
        *,
        mentions: bool = False,
    ) -> None:
        """`mentions`: notes (kind 1) that name the pool in a p tag are taken from anybody, few and short ones."""
        self._pool = pool_pubkey
        self._network = network
        self._address = f"{kinds.ANNOUNCEMENT}:{pool_pubkey}:{network}"
        self._ledger_authors = ledger_authors
        self._is_known = is_known
        self._limits = limits or PolicyLimits()
        self._authors = TokenBuckets(*self._limits.author_rate)
        self._sources = TokenBuckets(*self._limits.source_rate)
        self._mentions = mentions
        self._note_authors = TokenBuckets(*self._limits.note_author_rate)
        self._notes = TokenBuckets(*self._limits.note_rate)

    def screen(self, event: Event, *, size: int, now_ms: int) -> Refusal | None:
        """Form, then kind and author, then whom it concerns."""
        ours = self._ours()
        # The log's dates never fall along a chain: after the clock was set back they are ahead of it for a while, and
        # a refusal would hold up the chain for good.
        any_date = event.pubkey in ours and event.kind in kinds.LEDGER_KINDS
        wrong = check_form(event, size=size, now_ms=now_ms, limits=self._limits, any_date=any_date)
        if wrong is not None:
            return wrong
        if event.pubkey in ours and event.kind in _POOL_KINDS:
            return self._check_network(event)
        if event.kind in _OPEN_KINDS:
            if event.kind == kinds.SETTINGS and event.tag_value("d") != self._pool:
                return Refusal("blocked", "these settings are for another pool")
            return None
        if event.kind in _ADDRESSED_KINDS:
            if any(named in ours or self._is_known(named) for named in event.tag_values("p")[:MAX_NAMED]):
                return None
            return Refusal("blocked", "no p tag names the pool or one of its miners")
        if event.kind == _NOTE and self._mentions and self._pool in event.tag_values("p")[:MAX_NAMED]:
            if size > self._limits.note_bytes:
                return Refusal("invalid", f"a note to the pool has at most {self._limits.note_bytes} bytes")
            return None
        return Refusal("blocked", "this relay keeps the events of one mining pool")

    def charge(self, event: VerifiedEvent, *, source: str, now_ms: int) -> Refusal | None:
        """Everybody but the pool's own keys has a rate, by author and by address."""
        if event.pubkey in self._ours():
            return None
        if not self._sources.take(source, now_ms):
            return Refusal("rate-limited", "too many events from your address, try again in a minute")
        if event.kind == _NOTE and not (self._note_authors.take(event.pubkey, now_ms) and self._notes.take("", now_ms)):
            return Refusal("rate-limited", "too many notes to the pool, try again later")
        # One wallet provider signs the zap receipts of all its users: its address is bounded, its key is not.
        if event.kind not in _ADDRESSED_KINDS and not self._authors.take(event.pubkey, now_ms):
            return Refusal("rate-limited", "too many events by this author, try again in a minute")
        return None

    def _ours(self) -> frozenset[str]:
        return self._ledger_authors() | {self._pool}

    def _check_network(self, event: Event) -> Refusal | None:
        if event.kind == kinds.ANNOUNCEMENT:
            if event.tag_value("d") != self._network:
                return Refusal("blocked", f"this relay keeps the pool's events of {self._network}")
        elif event.kind in kinds.LEDGER_KINDS | kinds.VIEW_KINDS and self._address not in event.tag_values("a"):
            return Refusal("blocked", f"the event's a tag is not {self._address}")
        return None
