"""Jobs: from a template to work miners can do, and how long each stays alive.

A job is signed, so that its id is final, before its first notify. What a session hashes also holds the binding of its
miner and target, so a Stratum job id stands for one job event at one target, a `Grade`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from nips.nip01 import VerifiedEvent
from nips.pool.binding import binding
from nips.pool.coinbase import Output, build_coinb1, build_coinb2, push_data, push_height
from nips.pool.job import Job, JobBody, parse_job
from nips.pool.sizes import PUSH_SIZE
from nips.pool.targets import DIFFICULTY_1_TARGET, share_bits_from_difficulty, target_from_bits
from nips.pool.terms import Terms
from stratum_edge.blockwork import merkle_branches
from stratum_edge.messages import NotifyForm
from stratum_edge.ports import Template
from stratum_edge.vardiff import ceil_allowed, clamp, floor_allowed

# BIP 320: the bits of nVersion left to miners. A job's version has them cleared, so that a miner that ORs, XORs or
# replaces them (BIP 310) comes to the same header.
ROLLING_MASK: Final = 0x1FFFE000
# BIP 68's version, as Bitcoin Core's own coinbases have it.
COINBASE_VERSION: Final = 2
# A block's share may come this long after its job died and still be handed in: the chain may yet take it.
LATE_BLOCK_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class Payout:
    """What the edge writes into its coinbases: the script that is paid, and the pool's tag."""

    script: bytes
    tag: bytes


def job_body(
    template: Template, *, terms: str, offer: str, heads: Mapping[int, str], ms: int, payout: Payout
) -> JobBody:
    """The job of a template. Raises InvalidPoolEvent when the tag leaves no room for binding and extranonces."""
    outputs = [Output(template.coinbase_sat, payout.script)]
    if template.witness_commitment is not None:
        outputs.append(Output(0, template.witness_commitment))
    prefix = push_height(template.height) + (push_data(payout.tag) if payout.tag else b"")
    return JobBody(
        ms=ms,
        terms=terms,
        offer=offer,
        heads=heads,
        height=template.height,
        version=template.version & 0xFFFFFFFF & ~ROLLING_MASK,
        prevhash=template.prevhash,
        nbits=template.nbits,
        ntime=max(template.curtime, template.mintime),
        coinb1=build_coinb1(COINBASE_VERSION, prefix),
        coinb2=build_coinb2(tuple(outputs)),
        merkle=tuple(merkle_branches(template.txids)),
        version_mask=ROLLING_MASK,
    )


@dataclass(frozen=True, slots=True)
class Grade:
    """A job at one target: the difficulty announced, its compact bits, its target and the Stratum job id."""

    live: "LiveJob"
    difficulty: Fraction
    share_bits: int
    target: int
    stratum_id: str


class LiveJob:
    """A signed job with what judging its shares takes.

    `dies_at` (ms): from then on its shares are stale. `seen`: the hashes of all good shares on its prevhash.
    """

    __slots__ = (
        "_bindings",
        "_grades",
        "_numbers",
        "block_target",
        "coinbase_size",
        "dies_at",
        "event",
        "form",
        "highest",
        "job",
        "lowest",
        "seen",
        "template",
        "terms",
    )

    def __init__(self, event: VerifiedEvent, template: Template, terms: Terms, seen: set[bytes]) -> None:
        limits = terms.body.limits
        self.event = event
        self.job: Job = parse_job(event)
        self.template = template
        self.terms = terms
        self.seen = seen
        self.dies_at = self.job.ms + limits.job_ms
        self.block_target = target_from_bits(self.job.nbits)
        if limits.block_bits is not None:
            # Regtest: the pool's own, stricter mark for a block.
            self.block_target = min(self.block_target, target_from_bits(limits.block_bits))
        # No share is harder than a block, or blocks would be refused as shares; none easier than the terms allow.
        self.highest = floor_allowed(Fraction(DIFFICULTY_1_TARGET, self.block_target))
        self.lowest = ceil_allowed(Fraction(DIFFICULTY_1_TARGET, target_from_bits(limits.easiest_bits)))
        # Bytes, without its witness, as miners build it.
        self.coinbase_size = len(self.job.coinb1) + PUSH_SIZE + len(self.job.coinb2)
        self.form = NotifyForm(
            prevhash=self.job.prevhash,
            coinb1=self.job.coinb1,
            coinb2=self.job.coinb2,
            merkle=self.job.merkle,
            version=self.job.version,
            nbits=self.job.nbits,
            ntime=self.job.ntime,
        )
        self._grades: dict[Fraction, Grade] = {}
        self._numbers = 0
        # Of miners with many connections: one hash for all of them.
        self._bindings: dict[tuple[str, int], bytes] = {}

    def forget(self) -> None:
        """Nobody asks for work on it any more: let go of the grades, which hold it in turn."""
        self._grades.clear()

    def binding(self, miner: str, share_bits: int) -> bytes:
        """What ties work on this job to a miner (hex) and a target: 32 bytes (SPEC.md, "The binding")."""
        found = self._bindings.get((miner, share_bits))
        if found is None:
            found = self._bindings[miner, share_bits] = binding(
                bytes.fromhex(self.job.id), bytes.fromhex(miner), share_bits
            )
        return found

    def grade(self, wanted: Fraction) -> Grade:
        """The job at the difficulty nearest to `wanted` that it can have."""
        found = self._grades.get(wanted)
        if found is None:
            difficulty = clamp(wanted, self.lowest, self.highest)
            found = self._grades.get(difficulty) or self.fresh_grade(difficulty)
            self._grades[wanted] = self._grades[difficulty] = found
        return found

    def fresh_grade(self, difficulty: Fraction) -> Grade:
        """The same under a new Stratum id: a Bitaxe ignores a notify whose id it already has."""
        self._numbers += 1
        bits = share_bits_from_difficulty(difficulty)
        return Grade(self, difficulty, bits, target_from_bits(bits), f"{self.job.id[:8]}-{self._numbers:x}")


class JobBook:
    """The current job, and the older ones whose shares may still come."""

    def __init__(self) -> None:
        self._jobs: dict[str, LiveJob] = {}
        self.current: LiveJob | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    def seen_on(self, prevhash: bytes) -> set[bytes]:
        """The share hashes of a prevhash, shared by all its jobs."""
        for live in self._jobs.values():
            if live.job.prevhash == prevhash:
                return live.seen
        return set()

    def add(self, live: LiveJob) -> bool:
        """Make a job the current one; True when its prevhash is new, which ends the others' life after stale_ms."""
        before = self.current
        self.end(live.job.prevhash, live.job.ms)
        self._jobs[live.job.id] = live
        self.current = live
        return before is None or before.job.prevhash != live.job.prevhash

    def end(self, prevhash: bytes, ms: int) -> None:
        """A job on `prevhash` came at `ms`: the life of all on others ends, after their terms' stale_ms."""
        for old in self._jobs.values():
            if old.job.prevhash != prevhash:
                old.dies_at = min(old.dies_at, ms + old.terms.body.limits.stale_ms)

    def retire(self, prevhash: bytes, ms: int) -> None:
        """No more jobs come; shares on those handed out may."""
        self.end(prevhash, ms)
        self.current = None

    def prune(self, now: int) -> None:
        """Forget jobs too old even for a late block; the current one stays while it lives."""
        for id in [id for id, live in self._jobs.items() if live.dies_at + LATE_BLOCK_MS <= now]:
            if self._jobs[id] is not self.current:
                self._jobs.pop(id).forget()

    def knows(self, id: str) -> bool:
        """Whether a job is still kept."""
        return id in self._jobs
