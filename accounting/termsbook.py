"""The pool's terms as one chain, and what follows from them: who holds which role, which chains have ended."""

from dataclasses import dataclass, field

from accounting.chains import Chain
from nips.pool.chain import Head
from nips.pool.terms import ROLES, Terms


@dataclass(slots=True)
class TermsBook:
    """`by_id` holds the adopted terms in the chain's order; `replaced_ms` when newer ones took a terms' place (Unix
    ms); `roles` the keys of each role in any terms; `closed` the ends of chains, by `<pubkey>/<chain>`.
    """

    chain: Chain[Terms]
    by_id: dict[str, Terms] = field(default_factory=dict)
    replaced_ms: dict[str, int] = field(default_factory=dict)
    roles: dict[str, set[str]] = field(default_factory=lambda: {role: set() for role in ROLES})
    closed: dict[str, Head] = field(default_factory=dict)

    def adopt(self, terms: Terms) -> list[tuple[str, Head]]:
        """Let the next terms of the chain take their place; the chains they end, which they did not before."""
        previous = self.newest()
        self.chain.take(terms)
        self.by_id[terms.id] = terms
        if previous is not None:
            self.replaced_ms[previous.id] = terms.created_at * 1000
        for key, role in terms.body.keys:
            self.roles[role].add(key)
        ended = []
        for name, end in sorted(terms.body.closed.items()):
            known = self.closed.get(name)
            # A chain that was ended stays so; terms may only end it earlier.
            if known is None or end.seq < known.seq:
                self.closed[name] = end
                ended.append((name, end))
        return ended

    def newest(self) -> Terms | None:
        """The terms in force."""
        return next(reversed(self.by_id.values()), None)

    def at(self, ms: int) -> Terms | None:
        """The newest terms dated at or before a time (Unix ms); the first if all are later."""
        found = None
        for terms in self.by_id.values():
            if found is None or terms.created_at * 1000 <= ms:
                found = terms
        return found

    def roles_of(self, pubkey: str) -> list[str]:
        """The roles a key holds in any terms; "pool" for the pool's own."""
        held = [role for role, keys in sorted(self.roles.items()) if pubkey in keys]
        return ["pool", *held] if pubkey == self.chain.pubkey else held

    def all_keys(self) -> frozenset[str]:
        """The pool's key and all that ever held a role."""
        return frozenset({self.chain.pubkey}.union(*self.roles.values()))
