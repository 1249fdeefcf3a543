"""Hashing receipts ahead of the fold: what other processes are given, and what they give back.

As events go by in the log's order, jobs and terms are noted; a receipt whose jobs are known by then goes out with what
its shares are judged by. Nothing depends on it: a receipt that can't be hashed ahead is hashed when its turn comes.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from accounting.drafts import Draft, JobSpec, draft_batch
from accounting.jobs import judge_job
from nips.errors import InvalidEvent, InvalidPoolEvent
from nips.nip01 import Event, VerifiedEvent, decode_event, verify
from nips.pool import kinds
from nips.pool.address import PoolAddress
from nips.pool.job import parse_job
from nips.pool.receipt import Receipt, parse_receipt
from nips.pool.targets import target_from_bits
from nips.pool.terms import Terms, parse_terms

# A job lives ten minutes; an edge makes one every half minute for each offer. 16 MB at worst.
KEPT_JOBS = 4096


class Outline(msgspec.Struct, frozen=True):
    """Of an event on the wire what decides where it goes; the rest is not looked at."""

    kind: int
    pubkey: str
    tags: tuple[tuple[str, ...], ...]


_OUTLINES = msgspec.json.Decoder(Outline)


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that is no verified event: what it was, as far as it could be read, and what is wrong."""

    event: Event | None
    reason: str


Wire = bytes | VerifiedEvent
Outcome = tuple[Receipt, Draft] | VerifiedEvent | Bad


def outline(line: bytes) -> Outline | None:
    """An event's outline, None if the line has none."""
    try:
        return _OUTLINES.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def read_line(line: bytes) -> VerifiedEvent | Bad:
    """An event out of its JSON text, its signature checked."""
    event = None
    try:
        event = decode_event(line)
        return verify(event)
    except InvalidEvent as error:
        return Bad(event, str(error))


class JobNotes:
    """The jobs and terms that went by, as far as receipts are hashed by them."""

    def __init__(self, pool: PoolAddress) -> None:
        self._pool = pool
        self._terms: dict[str, Terms] = {}
        self._jobs: OrderedDict[str, JobSpec] = OrderedDict()

    def note(self, event: VerifiedEvent) -> None:
        """Look at an event."""
        try:
            if event.kind == kinds.TERMS and event.pubkey == self._pool.pubkey:
                self._terms[event.id] = parse_terms(event)
            elif event.kind == kinds.JOB:
                job = parse_job(event)
                terms = self._terms.get(job.terms)
                judged = None if terms is None else judge_job(job, terms, None)
                if judged is not None and judged.problem is None:
                    easiest = target_from_bits(judged.limits.easiest_bits)
                    self._jobs[job.id] = JobSpec(job, easiest, judged.block)
        except InvalidPoolEvent:
            # The fold says so.
            return
        while len(self._jobs) > KEPT_JOBS:
            self._jobs.popitem(last=False)

    def specs(self, tags: Sequence[Sequence[str]]) -> dict[str, JobSpec]:
        """What is known of the jobs that a receipt's tags name."""
        named = (tag[1] for tag in tags if len(tag) > 3 and tag[0] == "e" and tag[3] == "job")
        return {job: self._jobs[job] for job in named if job in self._jobs}


def hash_ahead(
    events: Sequence[Wire], specs: Mapping[str, JobSpec], pool: PoolAddress, miner: str | None = None
) -> list[Outcome]:
    """Check and hash receipts, in their order. What is none of this pool comes back as the event it is. Receipts come
    back without the shares that their draft judges, but for those that name `miner`.
    """
    return [_hash(event, specs, pool, miner) for event in events]


def _hash(wire: Wire, specs: Mapping[str, JobSpec], pool: PoolAddress, miner: str | None) -> Outcome:
    event = read_line(wire) if isinstance(wire, bytes) else wire
    if isinstance(event, Bad):
        return event
    try:
        receipt = parse_receipt(event)
    except InvalidPoolEvent:
        return event
    if receipt.pool != pool:
        return event
    draft = draft_batch(receipt, [specs.get(job) for job in receipt.jobs])
    if not draft.unjudged and miner not in receipt.miners:
        receipt = replace(receipt, shares=b"")
    return receipt, draft
