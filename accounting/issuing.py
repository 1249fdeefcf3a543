"""What the accounting signs and when: statements, statuses, hourly summaries, announcements of archives."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Protocol

from accounting import ownchain
from accounting.attestation_book import Seen
from accounting.errors import UnsupportedOffer
from accounting.facts import BlockSeen
from accounting.fold import Fold
from accounting.ledger import PENDING, BookedReward
from accounting.maturity import due_statuses
from accounting.ports import ChainView
from accounting.rewards import NotYet, with_donations
from accounting.schemes import blocks
from accounting.schemes.donations import Pledge
from accounting.schemes.loyalty import days_at
from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.archive import ArchiveBody, build_archive
from nips.pool.attestation_part import MAX_ATTESTATIONS, build_attestation_part
from nips.pool.chain import Link
from nips.pool.settings import Settings
from nips.pool.settings_part import build_settings_part, fits_settings_part
from nips.pool.statement import MATURED, ORPHANED, VOID, StatementBody, build_statement, build_status
from nips.pool.statement_rows import build_statement_part, split_statement
from nips.pool.summary import build_summary, build_summary_part, split_rows

logger = logging.getLogger(__name__)

# A step signs so many summaries: a day's, so that a long pause is caught up with while events go on being read.
MAX_SUMMARIES = 24
# And so many periods of each offer, for the same reason.
MAX_PERIODS = 24
SECOND_MS = 1000


class Desk(Protocol):
    """Where things are signed: the books as they stand, and our own chain."""

    @property
    def pubkey(self) -> str:
        """Our key."""

    @property
    def fold(self) -> Fold:
        """The books; another object after what is signed made it necessary to fold anew."""

    def refusal(self) -> str | None:
        """Why nothing may be signed now, or None."""

    def next_place(self) -> tuple[Link, int]:
        """The link and created_at of the next event."""

    def is_stated(self, block: str) -> bool:
        """Whether a reward (a block's key is its hash) has a statement of ours that is not void, read or not."""

    async def sign(self, unsigned: UnsignedEvent, *, block: str | None = None, archive: str | None = None) -> None:
        """Sign the next event of our chain, commit it, fold it."""

    def settings_of(self, miner: str) -> Settings | None:
        """A miner's settings in force, as far as they were seen."""

    async def settings_event(self, settings: str) -> VerifiedEvent | None:
        """Settings by id, as they were signed; None if no relay has them any more."""

    def attestations(self, miners: Collection[str], days: range) -> list[Seen]:
        """What these miners attested on those days (UTC, since 1970), as far as it was seen."""

    def knows_attestations(self) -> bool:
        """Whether what the relays have of them was read."""

    async def requested_archives(self) -> list[ArchiveBody]:
        """The archives that are to be announced."""


class Issuer:
    """Signs what is due, each time it is asked. `waiting`: block -> why its statement has to wait."""

    def __init__(
        self,
        pool: PoolAddress,
        desk: Desk,
        chain: ChainView,
        treasury: Callable[[], Mapping[str, Any] | None] = lambda: None,
    ) -> None:
        """`treasury`: what an hourly summary says of the pool's funds, None for nothing."""
        self._treasury = treasury
        self.waiting: Mapping[str, str] = {}
        self._pool = pool
        self._desk = desk
        self._chain = chain
        self._tip = -1

    async def issue(self) -> None:
        """Sign everything that is due now."""
        await self._statements()
        await self._statuses()
        await self._summaries()
        await self._archives()

    async def _statements(self) -> None:
        waiting: dict[str, str] = {}
        # Offers of rounds of which one waits: those after it would count its work.
        held_up: set[str] = set()
        for block in self._desk.fold.unsettled():
            if self._desk.is_stated(block.block.block):
                held_up.add(block.offer)
                continue
            if block.scheme in blocks.HOLDING and block.offer in held_up:
                waiting[block.block.block] = "an earlier round of its offer has no statement yet"
                continue
            reason = await self._block_statement(block)
            if reason is not None:
                waiting[block.block.block] = reason
                held_up.add(block.offer)
        for _ in range(MAX_PERIODS):
            if not await self._period_statements(waiting):
                break
        self.waiting = waiting

    async def _block_statement(self, block: BlockSeen) -> str | None:
        """Sign the statement of a block's reward, or say why it has to wait."""
        _, second = self._desk.next_place()
        try:
            body = self._desk.fold.log.expected(block, self._desk.pubkey, second)
            if isinstance(body, NotYet):
                return body.reason
            if block.pays_loyalty and not self._desk.knows_attestations():
                return "the attestations are being read"
            if not await self._take_back_later_rounds(block):
                return "a later round counted its work, and can't be taken back any more"
            await self._sign(body, block)
        except (UnsupportedOffer, ValueError, InvalidPoolEvent) as error:
            return str(error)
        logger.info("split block %s: %d msat in %d rows", body.reward.block, body.reward.gross_msat, len(body.rows))
        return None

    async def _take_back_later_rounds(self, block: BlockSeen) -> bool:
        """Make our statements void of rounds that end later and counted this one's work, since it was announced late or
        was an orphan: they are made again after it (SPEC.md, "Other schemes"). Whether none stands in its way.
        """
        if block.scheme not in blocks.HOLDING:
            return True
        fold = self._desk.fold
        counting = [
            booked
            for booked in fold.ledger.rewards.values()
            if booked.is_block
            and booked.state in (PENDING, MATURED)
            and booked.statement.offer == block.offer
            and booked.statement.reward.found_ms > block.found_ms
            and fold.log.statements.earlier.last_held(booked.statement.id) < block.found_ms
        ]
        # What has matured may be paid.
        if any(booked.state != PENDING or booked.statement.signer != self._desk.pubkey for booked in counting):
            return False
        for booked in counting:
            link, second = self._desk.next_place()
            await self._desk.sign(build_status(self._pool, link, booked.statement.id, VOID, second))
            logger.warning(
                "took back the statement of block %s: an earlier round came late, or back",
                booked.statement.reward.block,
            )
        return True

    async def _period_statements(self, waiting: dict[str, str]) -> bool:
        """Sign the oldest period that is over of each offer that pays by share. Whether there was any."""
        _, second = self._desk.next_place()
        signed = False
        for body in list(self._desk.fold.log.statements.due_periods(self._desk.pubkey, second)):
            if isinstance(body, NotYet) or body.reward.end_ms > second * SECOND_MS:
                continue
            if self._desk.refusal() is not None:
                return False
            if self._desk.is_stated(body.reward_key):
                waiting[body.reward_key] = "its statement is signed and not read yet"
                continue
            await self._sign(body)
            signed = True
            logger.info("settled %s: %d msat in %d rows", body.reward_key, body.reward.gross_msat, len(body.rows))
        return signed

    async def _donated(self, body: StatementBody) -> StatementBody:
        """A statement after what its miners give away. Settings that none named before are put into our chain."""
        terms = self._desk.fold.log.terms_by_id.get(body.terms)
        donate_to = None if terms is None else terms.body.donate_to
        pledges = {}
        for row in body.rows if donate_to else ():
            settings = self._desk.settings_of(row.miner)
            if settings is None or not settings.body.donation_ppm or row.miner == donate_to:
                continue
            if settings.created_at * SECOND_MS <= body.reward.end_ms and await self._put_settings(settings.id):
                pledges[row.miner] = Pledge(settings.id, settings.body.donation_ppm)
        return with_donations(body, donate_to, pledges)

    async def _put_settings(self, settings: str) -> bool:
        """Whether settings, by id, stand in our chain; they are put there if the relays have them."""
        if self._desk.fold.log.statements.has_settings(self._desk.pubkey, settings):
            return True
        event = await self._desk.settings_event(settings)
        if event is None or not fits_settings_part(event):
            return False
        link, second = self._desk.next_place()
        await self._desk.sign(build_settings_part(self._pool, link, event, second))
        return self._desk.fold.log.statements.has_settings(self._desk.pubkey, settings)

    async def _with_bonus(self, body: StatementBody, block: BlockSeen) -> StatementBody:
        """A statement after its bonuses. The attestations that these go by are put into our chain."""
        statements, days = self._desk.fold.log.statements, days_at(block.found_ms)
        seen = {each.told.id: each for each in self._desk.attestations({row.miner for row in body.rows}, days)}
        wanting = statements.wanting(body, block, self._desk.pubkey, [each.told for each in seen.values()])
        for at in range(0, len(wanting), MAX_ATTESTATIONS):
            events = [seen[told.id].event for told in wanting[at : at + MAX_ATTESTATIONS]]
            link, second = self._desk.next_place()
            await self._desk.sign(build_attestation_part(self._pool, link, events, second))
        _, second = self._desk.next_place()
        return self._desk.fold.log.statements.with_bonus(body, block, self._desk.pubkey, second)

    async def _sign(self, body: StatementBody, block: BlockSeen | None = None) -> None:
        """Sign a statement, its parts before it. Who is stopped amid them leaves parts that no statement follows: they
        are void, and signed anew.
        """
        body = await self._donated(body)
        if block is not None and block.pays_loyalty:
            body = await self._with_bonus(body, block)
        parts = split_statement(body.rows, body.donations)
        count = len(parts) if len(parts) > 1 else 0
        for number, part in enumerate(parts if count else ()):
            link, second = self._desk.next_place()
            await self._desk.sign(build_statement_part(self._pool, link, number, part, second))
        link, second = self._desk.next_place()
        unsigned = build_statement(self._pool, link, body, second, "" if block is None else block.block.id, parts=count)
        await self._desk.sign(unsigned, block=body.reward_key)

    async def _statuses(self) -> None:
        tip = self._chain.height()
        if tip == self._tip:
            return
        rewards = list(self._desk.fold.ledger.rewards.values())
        # Until a walk came to its end there may be something left of one before it, be it of another run.
        whole, self._tip = self._tip < 0, -1
        for statement, status in await due_statuses(rewards, self._maturity, self._chain, tip, all_of_them=whole):
            # Looked up each time: what is signed here may fold the books anew.
            booked = self._desk.fold.ledger.rewards.get(statement)
            if self._desk.refusal() is not None:
                return
            if booked is None:
                continue
            if booked.state == ORPHANED:
                await self._make_room(booked)
            link, second = self._desk.next_place()
            await self._desk.sign(build_status(self._pool, link, statement, status, second))
            logger.info("the reward of block %s is %s", booked.statement.reward.block, status)
        self._tip = tip

    async def _make_room(self, booked: BookedReward) -> None:
        """An orphan comes back into the chain: the rounds that counted its work meanwhile are stated anew after it."""
        block = self._desk.fold.log.blocks.get(booked.statement.reward.block)
        if block is not None and not await self._take_back_later_rounds(block):
            logger.error("the orphan %s came back after a round that counted its work had matured", block.block.block)

    def _maturity(self, booked: BookedReward) -> int | None:
        """The confirmations a reward needs; None if its statuses are not ours to give."""
        # Terms not known: no statement that the log bears out, one of a stolen key, say.
        terms = self._desk.fold.log.terms_by_id.get(booked.statement.terms)
        if terms is None or not booked.is_block or not self._answers_for(booked.statement.signer):
            return None
        return terms.body.limits.maturity_blocks

    async def _summaries(self) -> None:
        """Sign the hours that are over, some at a time: after a long pause there may be many."""
        for _ in range(MAX_SUMMARIES):
            body = self._desk.fold.due_summary()
            if body is None or self._desk.refusal() is not None or not self._is_first_heir():
                return
            if self._desk.next_place()[1] * 1000 < body.to_ms:
                # All lanes have ended, or an edge's clock is ahead: the hour is not over, and other lanes may begin.
                return
            body = replace(body, treasury=self._treasury())
            parts = split_rows(body.rows)
            if len(parts) > 1:
                for number, rows in enumerate(parts):
                    link, second = self._desk.next_place()
                    await self._desk.sign(build_summary_part(self._pool, link, number, rows, second))
            link, second = self._desk.next_place()
            count = len(parts) if len(parts) > 1 else 0
            await self._desk.sign(build_summary(self._pool, link, body, second, parts=count))
            logger.info("summed up %d ms to %d: %d rows", body.from_ms, body.to_ms, len(body.rows))

    async def _archives(self) -> None:
        for body in await self._desk.requested_archives():
            if self._desk.refusal() is not None:
                return
            link, second = self._desk.next_place()
            await self._desk.sign(build_archive(self._pool, link, body, second), archive=body.stream.sha256)
            logger.info("announced an archive of %d events, %s", body.events, body.stream.sha256)

    def _is_first_heir(self) -> bool:
        """Whether of the accounting keys whose chains are open ours is the first: one of them acts for all."""
        fold = self._desk.fold
        heirs = set() if fold.terms is None else set(fold.terms.body.keys_of("accounting"))
        open_heirs = [key for key in sorted(heirs) if fold.log.terms.end_of(f"{key}/{ownchain.NAME}") is None]
        return open_heirs[:1] == [self._desk.pubkey]

    def _answers_for(self, signer: str) -> bool:
        """Whether the statuses of a key's statements are ours to give: our own, and of a key whose chain the terms
        have closed, else its rewards would pend for good. Of several heirs one acts, the first by key.
        """
        if signer == self._desk.pubkey:
            return True
        chain = self._desk.fold.log.accounting.get(signer)
        return chain is not None and chain.is_ended and self._is_first_heir()
