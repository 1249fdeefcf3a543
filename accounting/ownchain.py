"""Our own chain of statements and statuses: where it stands, and whether it may be gone on with.

The rule that keeps it whole: nothing is signed before the relays were asked for what we signed before, so that a lost
or old file never starts a second branch; and what they show that is not ours here ends signing until a person looks.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.chain import chain_name, link_of
from nips.pool.kinds import STATEMENT, STATUS
from nips.pool.statement import VOID, parse_statement, parse_status
from nips.pool.terms import Terms

NAME = "accounting"


class Adoption(NamedTuple):
    """What the relays know of our chain beyond our file: events to take over, in order; the two ids of a fork; whether
    something between is missing.
    """

    events: tuple[VerifiedEvent, ...]
    fork: tuple[str, str] | None
    gap: bool


def is_own(event: VerifiedEvent, signer: str, pool: PoolAddress) -> bool:
    """Whether an event claims a place in the accounting chain of this key and pool."""
    try:
        return event.pubkey == signer and chain_name(event) == NAME and address_of(event) == pool
    except InvalidPoolEvent:
        return False


def adopt(known: Mapping[int, str], events: Iterable[VerifiedEvent]) -> Adoption:
    """Lay what the relays have beside what we have: `known` is seq -> id, whole from 0 on."""
    chain = dict(known)
    found: dict[int, VerifiedEvent] = {}
    for event in events:
        try:
            seq = link_of(event).seq
        except InvalidPoolEvent:
            continue
        other = chain.get(seq)
        if other is not None and other != event.id:
            return Adoption((), (other, event.id), gap=False)
        if other is None:
            chain[seq] = event.id
            found[seq] = event
    taken: list[VerifiedEvent] = []
    for seq in sorted(found):
        if seq != len(known) + len(taken):
            return Adoption(tuple(taken), None, gap=True)
        prev = link_of(found[seq]).prev
        if prev is not None and prev != chain[seq - 1]:
            return Adoption(tuple(taken), (chain[seq - 1], prev), gap=False)
        taken.append(found[seq])
    return Adoption(tuple(taken), None, gap=False)


def names_reward(event: VerifiedEvent) -> tuple[str | None, str | None]:
    """(key of the reward that a statement splits, statement a void status takes back), None for what does not apply."""
    try:
        if event.kind == STATEMENT:
            return parse_statement(event).reward_key, None
        if event.kind == STATUS:
            status = parse_status(event)
            return None, status.statement if status.status == VOID else None
    except InvalidPoolEvent:
        # A form of a later version: it has its place in the chain all the same.
        return None, None
    return None, None


def refusal(terms: Terms | None, signer: str) -> str | None:
    """Why the terms don't let this key sign, or None."""
    if terms is None:
        return "no terms of the pool were read yet"
    if signer not in terms.body.keys_of("accounting"):
        return f"the key {signer} is no accounting key of the terms {terms.id}"
    if f"{signer}/{NAME}" in terms.body.closed:
        return "the terms have closed our chain"
    return None
