"""Chains: events of one key numbered from 0, each naming the one before (SPEC.md, "Keys, terms, chains")."""

import re
from typing import NamedTuple

from nips.errors import InvalidPoolEvent
from nips.nip01 import Event, Tag
from nips.pool.content import one_tag, parse_decimal, parse_id
from nips.pool.kinds import ARCHIVE, PAYOUT, RECEIPT, STATEMENT, STATEMENT_PART, STATUS, SUMMARY, TERMS

# A lane is a u16: an edge counts its worker processes and its lost journals with it.
MAX_LANE = 65535
_LANE = re.compile(r"0|[1-9][0-9]{0,4}")


class Link(NamedTuple):
    """Where an event stands in its chain: `prev` is the id of the event numbered `seq` - 1, None at 0."""

    seq: int
    prev: str | None

    def tags(self) -> tuple[Tag, ...]:
        """`seq`, and from 1 on `prev`."""
        seq = ("seq", str(self.seq))
        return (seq,) if self.prev is None else (seq, ("prev", self.prev))


class Head(NamedTuple):
    """The newest event of a chain."""

    seq: int
    id: str

    def next(self) -> Link:
        """The link of the event that follows."""
        return Link(self.seq + 1, self.id)


FIRST = Link(0, None)


def next_link(head: Head | None) -> Link:
    """The link of the event after `head`, or of the chain's first."""
    return FIRST if head is None else head.next()


def link_of(event: Event) -> Link:
    """Raises InvalidPoolEvent when `seq` and `prev` are not as the chain's form asks."""
    seq = parse_decimal(one_tag(event, "seq")[1], "seq")
    if seq == 0:
        if any(tag[0] == "prev" for tag in event.tags):
            raise InvalidPoolEvent("the first event of a chain has no prev")
        return FIRST
    return Link(seq, parse_id(one_tag(event, "prev")[1], "prev"))


def parse_lane(text: str) -> int:
    """A lane's number, in decimal without leading zeros. Raises InvalidPoolEvent."""
    if not _LANE.fullmatch(text) or int(text) > MAX_LANE:
        raise InvalidPoolEvent(f"a lane is a number from 0 to {MAX_LANE}")
    return int(text)


def check_chain_name(name: str, *more: str) -> None:
    """Whether a text is `<pubkey>/<chain>`, the chain of a kind that there is, or one of `more`. Raises
    InvalidPoolEvent.
    """
    pubkey, _, chain = name.partition("/")
    parse_id(pubkey, "a chain's key")
    if chain not in ("terms", "accounting", "payouts", *more):
        parse_lane(chain)


def lane_of(event: Event) -> int:
    """The lane of a receipt. Raises InvalidPoolEvent."""
    return parse_lane(one_tag(event, "lane")[1])


def chain_name(event: Event) -> str | None:
    """The chain an event of the log belongs to, within its signer's: `terms`, a lane's number, `accounting`,
    `payouts`; None for kinds that stand in no chain. Raises InvalidPoolEvent for a receipt without a lane.
    """
    if event.kind == TERMS:
        return "terms"
    if event.kind == RECEIPT:
        return str(lane_of(event))
    if event.kind in (STATEMENT, STATEMENT_PART, STATUS, ARCHIVE, SUMMARY):
        return "accounting"
    if event.kind == PAYOUT:
        return "payouts"
    return None
