"""The schemes that split each block's reward among work: what counts, whichever an offer names."""

from collections.abc import Iterable
from typing import NamedTuple

from accounting.errors import UnsupportedOffer
from accounting.schemes import pplns, prop, solo
from accounting.selection import Counted, Placed
from nips.pool.terms import Offer

SCHEMES = ("pplns", "prop", "solo")
# Of these, which take off what earlier statements held.
HOLDING = ("prop",)


class Solved(NamedTuple):
    """A block as its share tells it: when (Unix ms), its job's nbits, whose share, and of what work."""

    found_ms: int
    nbits: int
    finder: str
    work: int


def oldest_ms(offer: Offer, end_ms: int) -> int:
    """The oldest time of a share of S; 0: any. Only pplns bounds a share's age."""
    return pplns.oldest_ms(offer, end_ms) if offer.scheme == "pplns" else 0


def limit(offer: Offer, nbits: int) -> int | None:
    """How much of the newest work counts; None: all of S. For schemes that count windows, so not solo."""
    return pplns.window_work(offer, nbits) if offer.scheme == "pplns" else None


def count(name: str, offer: Offer, solved: Solved, shares: Iterable[Placed]) -> Counted:
    """The work that a block's reward is split by.

    `shares`: S, newest first; for prop less what earlier statements held (accounting.schemes.held). `name` is the
    offer's. Raises UnsupportedOffer for a scheme that does not split blocks.
    """
    if offer.scheme == "pplns":
        return pplns.count(offer, solved.nbits, solved.found_ms, shares)
    if offer.scheme == "prop":
        return prop.count(solved.found_ms, shares)
    if offer.scheme == "solo":
        return solo.count(solved.found_ms, solved.finder, solved.work)
    raise UnsupportedOffer(name, offer.scheme)
