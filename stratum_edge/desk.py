"""The desk where sessions get their work and hand in what they found: jobs, lane and journal in step.

Every share is put in the journal before the session that brought it is answered; a sealed batch before it is
published. The desk does no I/O: the journal is a port, and `outbox` and `found` are for the service to take from.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nips.keys import Signer
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.block import BlockBody, build_block
from nips.pool.job import build_job
from nips.pool.receipt import CREDITED
from nips.pool.targets import work_from_bits
from nips.pool.terms import Terms
from stratum_edge.blockwork import assemble_block
from stratum_edge.errors import ForeignJournal, LaneFinished
from stratum_edge.extranonce import Seats
from stratum_edge.jobs import JobBook, LiveJob, Payout, job_body
from stratum_edge.journal import (
    Checkpoint,
    FoundBlock,
    Kind,
    Publication,
    Recovered,
    Sealed,
    encode_block,
    encode_json,
    encode_record,
    encode_session,
    encode_share,
)
from stratum_edge.lane import Entry, Lane, SessionKey
from stratum_edge.ports import Journal, Privacy, Template
from stratum_edge.shares import Assigned, Submission, Verdict
from stratum_edge.status import Counts
from stratum_edge.turn import Turn

# A segment is replaced once it is this large: replaying it takes about a second.
SEGMENT_BYTES: Final = 16 << 20
# A block whose submission has no answer yet (megabytes) would have to be copied into the new one: that waits, unless
# the nodes are away for long.
LARGEST_SEGMENT: Final = 8 * SEGMENT_BYTES


@dataclass(frozen=True, slots=True)
class House:
    """What is the same for the edge's whole life: whose it is, and what its coinbases pay."""

    pool: PoolAddress
    payout: Payout


class Desk:
    """One lane's share path. `now` is the wall clock in Unix ms, `mono` a monotonic clock in ms."""

    def __init__(
        self,
        house: House,
        signer: Signer,
        journal: Journal,
        lane: Lane,
        seats: Seats,
        counts: Counts,
        offers: Sequence[str],
        privacy: Privacy | None = None,
    ) -> None:
        """`offers`: what of the terms the ports promise; each has its own jobs. `privacy`: names to be left out."""
        self.house = house
        self.lane = lane
        self.seats = seats
        self.counts = counts
        self.journal = journal
        self._privacy = privacy
        self.books: dict[str, JobBook] = {}
        self.promise(offers)
        self.turn = Turn()
        self.outbox: deque[Publication] = deque()
        self.found: deque[FoundBlock] = deque()
        self._signer = signer
        # Whether the lane has had its last batch.
        self._finished = False
        # Sealed, perhaps not yet sent; blocks whose submission has no answer yet.
        self._pending: dict[int, Publication] = {}
        self._blocks: dict[bytes, FoundBlock] = {}
        # Jobs that went out with a batch; jobs whose event stands in the journal's current segment.
        self._announced: set[str] = set()
        self._journaled: set[str] = set()
        self._batch_jobs: dict[str, LiveJob] = {}
        self._batch_blocks: list[FoundBlock] = []
        self._works: dict[int, int] = {}

    def worker_in_log(self, miner: str, worker: str) -> str:
        """The name that the log gives a worker."""
        return worker if self._privacy is None else self._privacy.in_log(miner, worker)

    # The life of the lane

    def take_up(self, recovered: Recovered, now: int) -> None:
        """Go on where a journal ended: what it had acknowledged and not sealed is sealed, the rest sent again.

        Raises ForeignJournal.
        """
        start = recovered.checkpoint
        if (start.pool, start.pubkey) != (str(self.house.pool), self._signer.pubkey):
            raise ForeignJournal(f"the journal is of {start.pool} and edge {start.pubkey}")
        self._announced = set(recovered.announced)
        self._pending = dict(recovered.pending)
        self.outbox.extend(recovered.pending.values())
        self._finished = recovered.finished
        self._blocks = dict(recovered.blocks)
        self.found.extend(recovered.blocks.values())
        self.lane.restore(recovered.jobs, recovered.sessions, recovered.shares)
        if not self.lane.is_empty:
            self._journaled = set(recovered.known_jobs)
            self._batch_blocks = list(recovered.found)
            events = [recovered.known_jobs[id] for id in recovered.jobs if id not in self._announced]
            self._close(now, events)

    def begin_segment(self) -> bool:
        """Begin a journal segment; only between batches."""
        head = self.lane.head
        checkpoint = Checkpoint(
            pool=str(self.house.pool),
            pubkey=self._signer.pubkey,
            lane=self.lane.number,
            from_ms=self.lane.from_ms,
            newest_s=self.lane.newest_s,
            seq=None if head is None else head.seq,
            head=self.lane.head_id,
            pending=[(p.seq, list(p.events)) for p in self._pending.values()],
            blocks=list(self._blocks.values()),
            finished=self._finished,
        )
        if not self.journal.rotate(encode_json(Kind.CHECKPOINT, checkpoint)):
            return False
        self._journaled.clear()
        return True

    def seal(self, now: int, *, fin: bool = False) -> None:
        """Close the open batch and queue it for publication, with the jobs it is the first to use and its blocks."""
        self._close(now, [job.event for id, job in self._batch_jobs.items() if id not in self._announced], fin=fin)

    def _close(self, now: int, jobs: list[VerifiedEvent], *, fin: bool = False) -> None:
        if self._finished:
            raise LaneFinished(f"lane {self.lane.number} has had its last batch: nothing may follow it")
        receipt = self.lane.close(self._signer, now, fin=fin)
        self._finished = fin
        blocks = [self._announcement(block, receipt.id) for block in self._batch_blocks]
        self.journal.put(encode_json(Kind.SEALED, Sealed(receipt, [job.id for job in jobs], list(blocks))))
        assert self.lane.head is not None
        publication = Publication(self.lane.head.seq, (*jobs, receipt, *blocks))
        self._pending[publication.seq] = publication
        self.outbox.append(publication)
        self._announced.update(job.id for job in jobs)
        self._batch_jobs.clear()
        self._batch_blocks.clear()
        size = self.journal.size
        if size > SEGMENT_BYTES and (not self._blocks or size > LARGEST_SEGMENT):
            self.begin_segment()

    def _announcement(self, block: FoundBlock, receipt: str) -> VerifiedEvent:
        body = BlockBody(
            height=block.height,
            header=block.header,
            coinbase=block.coinbase,
            merkle=tuple(block.merkle),
            finder=block.miner,
            receipt=receipt,
            index=block.index,
        )
        return self._signer.sign(build_block(self.house.pool, body, block.found_ms // 1000))

    def published(self, publication: Publication) -> None:
        """A publication is durable in the outbox: the journal may forget it."""
        self._pending.pop(publication.seq, None)
        self.journal.put(encode_record(Kind.PUBLISHED, str(publication.seq).encode()))

    def resolved(self, block: FoundBlock) -> None:
        """A block's submission has an answer, and what follows from it is done."""
        self._blocks.pop(block.hash, None)
        self.journal.put(encode_record(Kind.OUTCOME, block.hash))

    @property
    def unpublished(self) -> int:
        """Batches sealed and not yet durable in the outbox."""
        return len(self._pending)

    # Jobs

    def promise(self, offers: Sequence[str]) -> None:
        """Have jobs for these offers from the next template on; others live on without new ones while shares come."""
        for offer in offers:
            self.books.setdefault(offer, JobBook())
        self.offers = tuple(dict.fromkeys(offers))

    def current(self, offer: str) -> LiveJob | None:
        """The newest job of an offer that is promised."""
        book = self.books.get(offer)
        return None if book is None else book.current

    def knows(self, job: str) -> bool:
        """Whether a job is still kept."""
        return any(book.knows(job) for book in self.books.values())

    def renew(self, template: Template, terms: Terms, now: int) -> bool:
        """Make the template the current job of every offer; True when its prevhash is new.

        Raises InvalidPoolEvent.
        """
        half_anchor = terms.body.limits.anchor_ms // 2
        while self.lane.at(now) - self.lane.from_ms > half_anchor:
            # A job's head may be anchor_ms old at most: after a suspend the chain is brought up to date first.
            self.seal(now)
        # A job that ends others is dated after every share so far: those were made while their jobs lived.
        ms = self.lane.after(now)
        is_new = False
        for offer in self.offers:
            body = job_body(
                template,
                terms=terms.id,
                offer=offer,
                heads={self.lane.number: self.lane.head_id},
                ms=ms,
                payout=self.house.payout,
            )
            event = self._signer.sign(build_job(self.house.pool, body))
            book = self.books[offer]
            is_new |= book.add(LiveJob(event, template, terms, book.seen_on(template.prevhash)))
        for offer, book in list(self.books.items()):
            if offer not in self.offers:
                book.retire(template.prevhash, ms)
            book.prune(ms)
            if not len(book):
                del self.books[offer]
        self._announced = {id for id in self._announced if self.knows(id)}
        return is_new

    # Shares

    def time_for(self, key: SessionKey, live: LiveJob, now: int) -> int:
        """The time of a share that arrives now, with room for it in the open batch."""
        lane = self.lane
        if not lane.fits(key, live.job.id):
            self.seal(now)
        while lane.at(now) - lane.from_ms > live.terms.body.limits.anchor_ms:
            # More than once only after a leap of the clock beyond what one window can bridge (49 days).
            self.seal(now)
        return lane.at(now)

    def write(self, work: Assigned, key: SessionKey, share: Submission, verdict: Verdict, at: int, mono: int) -> None:
        """Write a share down (`verdict.status` is not None), and a block with it; the batch then ends."""
        assert verdict.status is not None
        live = work.live
        job = live.job
        version = job.version | share.version_bits
        entry = self.lane.add(key, job.id, verdict.status, at, share.ntime, share.nonce, version, share.extranonce2)
        journal = self.journal
        if entry.new_job:
            self._batch_jobs[job.id] = live
            if job.id not in self._journaled:
                self._journaled.add(job.id)
                journal.put(encode_json(Kind.JOB, live.event))
            journal.put(encode_record(Kind.USE, bytes.fromhex(job.id)))
        if entry.new_session:
            journal.put(encode_session(key))
        if verdict.is_block:
            self._find(work, key, share, verdict.hash, entry, at)
        journal.put(encode_share(entry.record))
        if verdict.status == CREDITED:
            work_done = self._works.get(key.share_bits)
            if work_done is None:
                work_done = self._works[key.share_bits] = work_from_bits(key.share_bits)
            self.counts.accepted += 1
            self.counts.hashrate.add(work_done, mono)
        if verdict.is_block:
            self.seal(at)

    def _find(self, work: Assigned, key: SessionKey, share: Submission, hash: bytes, entry: Entry, at: int) -> None:
        live = work.live
        job = live.job
        header = work.bound.header(share.extranonce2, share.ntime, share.nonce, job.version | share.version_bits)
        coinbase = work.bound.coinbase(share.extranonce2)
        block = FoundBlock(
            height=job.height,
            hash=hash,
            header=header,
            coinbase=coinbase,
            merkle=list(job.merkle),
            miner=key.miner,
            index=entry.number,
            found_ms=at,
            block=assemble_block(live.template, coinbase, header),
            record=entry.record,
        )
        self._blocks[hash] = block
        self._batch_blocks.append(block)
        self.journal.put(encode_block(block))
        self.found.append(block)

    def refuse(self, key: SessionKey | None, code: int) -> None:
        """Count a refused share, with its session where one is known."""
        self.counts.rejected[code] += 1
        if key is not None:
            self.lane.reject(key, code)
