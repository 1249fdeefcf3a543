"""The pool's terms as one chain, and what follows from them: who holds which role, which chains have ended."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from accounting.chains import Chain
from accounting.findings import Code, Finding, finding
from accounting.shelves import Shelves
from nips.pool.chain import Head
from nips.pool.terms import EVERY_CHAIN, NEVER, ROLES, Terms


@dataclass(slots=True)
class TermsBook:
    """`by_id` holds the adopted terms in the chain's order; `replaced_ms` when newer ones took a terms' place (Unix
    ms); `roles` the keys of each role in any terms; `closed` the ends of chains, by `<pubkey>/<chain>`; `revoked` the
    keys all whose other chains are void from their beginning.
    """

    chain: Chain[Terms]
    by_id: dict[str, Terms] = field(default_factory=dict)
    replaced_ms: dict[str, int] = field(default_factory=dict)
    roles: dict[str, set[str]] = field(default_factory=lambda: {role: set() for role in ROLES})
    closed: dict[str, Head] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)

    def adopt(self, terms: Terms) -> None:
        """Let the next terms of the chain take their place."""
        previous = self.newest()
        self._check_schemes(terms)
        self.chain.take(terms)
        self.by_id[terms.id] = terms
        if previous is not None:
            self.replaced_ms[previous.id] = terms.created_at * 1000
        for key, role in terms.body.keys:
            self.roles[role].add(key)
        for name, end in sorted(terms.body.closed.items()):
            known = self.end_of(name)
            # A chain that was ended stays so; terms may only end it earlier.
            if not name.endswith(f"/{EVERY_CHAIN}") and (known is None or end.seq < known.seq):
                self.closed[name] = end
        # After the chains that the same terms name: those keep their ends.
        for name in terms.body.closed:
            pubkey, _, chain = name.partition("/")
            if chain == EVERY_CHAIN:
                self.revoked.add(pubkey)

    def _check_schemes(self, terms: Terms) -> None:
        """An offer's name keeps its scheme for good: else two schemes would count one share."""
        for name, offer in sorted(terms.body.offers.items()):
            for earlier in reversed(self.by_id.values()):
                known = earlier.body.offers.get(name)
                if known is not None:
                    if known.scheme != offer.scheme:
                        text = f"offer {name[:32]!r} was {known.scheme} and is {offer.scheme}"
                        self.chain.report(finding(Code.OFFER_SCHEME, text, earlier.id, terms.id))
                    break

    def end_of(self, name: str) -> Head | None:
        """The last event that counts of the chain `<pubkey>/<chain>`; None while it is open."""
        end = self.closed.get(name)
        return NEVER if end is None and name.partition("/")[0] in self.revoked else end

    def period_offers(self) -> list[str]:
        """The offers of any terms that pay by period."""
        offers = (item for terms in self.by_id.values() for item in terms.body.offers.items())
        return sorted({name for name, offer in offers if offer.period_s})

    def period_at(self, offer: str, from_ms: int) -> tuple[Terms, int] | None:
        """(terms, to_ms) of an offer's first period that ends at `from_ms` (Unix ms) or later: a multiple of its length
        by the newest terms dated at or before it that have the offer. None for an offer that has no periods.
        """
        having = [terms for terms in self.by_id.values() if (known := terms.body.offers.get(offer)) and known.period_s]
        for at, terms in enumerate(having):
            start = max(from_ms, terms.created_at * 1000 if at else 0)
            period_ms = terms.body.offers[offer].period_s * 1000
            to_ms = -(-start // period_ms) * period_ms
            if at + 1 == len(having) or to_ms < having[at + 1].created_at * 1000:
                return terms, to_ms
        return None

    def closed_keys(self, but: str, second: int) -> frozenset[str]:
        """The keys, but one, whose accounting chains the terms dated at or before a time (Unix s) have closed."""
        if len(self.roles["accounting"]) < 2:
            return frozenset()
        closed = set()
        for terms in self.by_id.values():
            if terms.created_at <= second:
                named = (name.partition("/") for name in terms.body.closed)
                closed |= {key for key, _, chain in named if chain in ("accounting", EVERY_CHAIN)}
        return frozenset(closed & self.roles["accounting"] - {but})

    def is_left_out(self, pubkey: str) -> bool:
        """Whether a key held a role and holds none in the terms in force: its own word convicts nobody any more."""
        newest = self.newest()
        return newest is not None and pubkey != self.chain.pubkey and all(key != pubkey for key, _ in newest.body.keys)

    def newest(self) -> Terms | None:
        """The terms in force."""
        return next(reversed(self.by_id.values()), None)

    @property
    def pays_loyalty(self) -> bool:
        """Whether an offer of the terms in force pays a bonus."""
        newest = self.newest()
        return newest is not None and any(offer.loyalty is not None for offer in newest.body.offers.values())

    def at(self, ms: int) -> Terms | None:
        """The newest terms dated at or before a time (Unix ms); the first if all are later."""
        found = None
        for terms in self.by_id.values():
            if found is None or terms.created_at * 1000 <= ms:
                found = terms
        return found

    def most_fee_msat(self, second: int, amount_msat: int) -> int | None:
        """The most that a payment may cost its miner by any terms up to a date (Unix s); None if some set no limit."""
        until = [terms for at, terms in enumerate(self.by_id.values()) if not at or terms.created_at <= second]
        limits = [terms.body.payouts.max_fee for terms in until]
        known = [max(amount_msat * ppm // 1_000_000, msat) for ppm, msat in filter(None, limits)]
        return max(known) if known and len(known) == len(limits) else None

    def roles_of(self, pubkey: str) -> list[str]:
        """The roles a key holds in any terms; "pool" for the pool's own."""
        held = [role for role, keys in sorted(self.roles.items()) if pubkey in keys]
        return ["pool", *held] if pubkey == self.chain.pubkey else held

    def all_keys(self) -> frozenset[str]:
        """The pool's key and all that ever held a role."""
        return frozenset({self.chain.pubkey}.union(*self.roles.values()))

    def new_chain(self, name: str, report: Callable[[Finding], None], shelves: Shelves) -> "Chain[Any]":
        """A chain before its first event, with the end that the terms set it."""
        chain: Chain[Any] = Chain(name, report, ids=shelves.open("ids"), held=shelves.open("held"))
        self.close_chain(chain)
        return chain

    def close_chain(self, chain: "Chain[Any]") -> bool:
        """Set a chain the end that the terms set it, if any. False if more than that was accepted before."""
        end = self.end_of(chain.name)
        if end is None or end == chain.closed:
            return True
        return chain.close(end, by_line=self.is_left_out(chain.pubkey))
