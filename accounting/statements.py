"""The statements of the accounting chains as they come: joined with their parts, judged by the log and by those before.

A statement waits for all that it names, so that the verdict is the same in whatever order the log is read.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from accounting.books import CLOCKS_APART_S
from accounting.chains import Chain
from accounting.earlier import Earlier, line_of
from accounting.errors import UnsupportedOffer
from accounting.facts import BlockSeen
from accounting.findings import Code, Finding, finding
from accounting.lanes import LaneKey, Lanes
from accounting.mining import Mining
from accounting.rewards import (
    Bonus,
    NotYet,
    compare_period,
    compare_reward,
    compare_statement,
    expected_period,
    expected_split,
    holds,
    made_with_bonus,
    missing_heads,
)
from accounting.schemes.donations import Pledge
from accounting.schemes.held import NOTHING_HELD, Bound, Held
from accounting.selection import Counted, oldest_unheld
from accounting.shelves import Shelf, Shelves
from accounting.termsbook import TermsBook
from nips.errors import InvalidPoolEvent
from nips.pool.attestation import Attestation
from nips.pool.reward import BlockReward, PeriodReward
from nips.pool.settings_part import SettingsPart
from nips.pool.statement import RewardStatus, Statement, StatementBody, whole_statement
from nips.pool.statement_rows import StatementPart
from nips.pool.terms import Terms


class Pledged(NamedTuple):
    """What settings in the log give away, in millionths: whose they are, and their date (Unix s)."""

    miner: str
    created_at: int
    ppm: int


class Statements:
    """What statements are judged by, and made by. `parts`: by key, those right before what comes next in its chain."""

    def __init__(self, terms: TermsBook, mining: Mining, shelves: Shelves) -> None:
        self.terms = terms
        self.mining = mining
        self.earlier = Earlier(shelves)
        self.attendance = mining.attendance
        self.parts: dict[str, list[StatementPart]] = {}
        # What the statement made last was expected to be, and the work that it counts.
        self._counted: tuple[object, Counted | None] = None, None
        # Statements, by id, that were read and are in no book, since their rows are not there.
        self.unbooked: Shelf[bool] = shelves.open("unbooked statements")
        # By `<signer>/<settings>`: what settings in a key's chain give away.
        self._pledged: Shelf[Pledged] = shelves.open("pledged")
        # By `<signer>/<miner>`: (date, id) of the miner's settings that stand in a key's chain.
        self._of_miner: Shelf[list[tuple[int, str]]] = shelves.open("settings of miners")
        # By offer and lane: the bound for which it was looked through, and up to which position it has no work.
        self._looked_at: dict[tuple[str, LaneKey], tuple[Bound | None, int]] = {}

    @property
    def lanes(self) -> Lanes:
        """All lanes, as far as they were read."""
        return self.mining.lanes

    # Making

    def expected(self, block: BlockSeen, signer: str, second: int) -> StatementBody | NotYet:
        """The statement of a block's reward that this key should sign now, dated so. Raises UnsupportedOffer."""
        held = self._held(block, signer, second)
        expected = expected_split(self.lanes, block, held)
        if isinstance(expected, NotYet):
            return expected
        self._counted = (expected.body.window, block, held, self.mining.revoked), expected.counted
        return expected.body

    def wanting(
        self, body: StatementBody, block: BlockSeen, signer: str, known: Iterable[Attestation]
    ) -> list[Attestation]:
        """The attestations that must be put into a key's chain before its statement, of those `known`."""
        return Bonus(self.attendance, signer).wanting(self.lanes, body, block, known)

    def with_bonus(self, body: StatementBody, block: BlockSeen, signer: str, second: int) -> StatementBody:
        """What `expected` gave, its donations moved, after the bonuses out of its fee. Raises UnsupportedOffer."""
        held = self._held(block, signer, second)
        known, counted = self._counted
        # Between the two only events of our own chain were signed, as a rule.
        same = known == (body.window, block, held, self.mining.revoked)
        bonus = Bonus(self.attendance, signer)
        return made_with_bonus(self.lanes, block, held, body, bonus, counted if same else None)

    def _held(self, block: BlockSeen, signer: str, second: int) -> Held:
        if not holds(block.scheme):
            return NOTHING_HELD
        closed = self.terms.closed_keys(signer, second)
        return self.earlier.held(f"{BlockReward.type} {block.offer}", block.found_ms, signer, closed)

    def held_so_far(self, offer: str, reward: type[BlockReward] | type[PeriodReward], signer: str, second: int) -> Held:
        """What an offer's statements of that type of reward hold that stand now: the rest waits for the next one."""
        line, closed = f"{reward.type} {offer}", self.terms.closed_keys(signer, second)
        return self.earlier.held(line, self.earlier.last_end(line, signer, closed) + 1, signer, closed)

    def due_periods(self, signer: str, second: int) -> Iterator[StatementBody | NotYet]:
        """The statements of periods that this key should sign now, dated so, one an offer; or why to wait."""
        for offer in self.terms.period_offers():
            line, closed = f"{PeriodReward.type} {offer}", self.terms.closed_keys(signer, second)
            again = ((terms, to_ms) for terms, to_ms, _ in self._periods_again(offer, signer, closed))
            for due in (*again, self._oldest_period(offer, signer, closed)):
                if due is None:
                    continue
                terms, to_ms = due
                held = self.earlier.held(line, to_ms, signer, closed)
                body = expected_period(self.lanes, offer, terms, to_ms, held)
                if body is not None:
                    yield body
                    break

    def _periods_again(self, offer: str, signer: str, closed: frozenset[str]) -> Iterator[tuple[Terms, int, int]]:
        """The periods whose statement is void and not made again, the first one first: terms, end (Unix ms), and when
        it was made void (Unix s). Some may have no work.
        """
        line = f"{PeriodReward.type} {offer}"
        for end_ms, voided_s in self.earlier.voided(line, signer, closed):
            newest_first = reversed(self.terms.by_id.values())
            # By the terms that it could go by: newer ones may have periods of another length, whose ends are others.
            fitting = (terms for terms in newest_first if self._is_period_of(terms, offer, end_ms))
            terms = next(fitting, None)
            due = self.terms.period_at(offer, end_ms) if terms is None else (terms, end_ms)
            # What ends there may have been stated since, and that of the void one counts in what follows.
            if due is not None and not self.earlier.stands_at(line, due[1], signer, closed):
                yield *due, voided_s

    def _oldest_period(self, offer: str, signer: str, closed: frozenset[str]) -> tuple[Terms, int] | None:
        """The first period with work that is to be counted, and its terms."""
        line = f"{PeriodReward.type} {offer}"
        last = self.earlier.last_end(line, signer, closed)
        held = self.earlier.held(line, last + 1, signer, closed)
        oldest: int | None = None
        for key, lane in self.lanes.in_order():
            bound = held.bounds.get(str(key))
            known, start = self._looked_at.get((offer, key), (None, 0))
            t, position = oldest_unheld(lane, offer, bound, start if known == bound else 0)
            self._looked_at[(offer, key)] = (bound, position)
            if t is not None:
                oldest = t if oldest is None else min(oldest, t)
        return None if oldest is None else self.terms.period_at(offer, max(oldest, last + 1))

    def overdue_period(self, offer: str, signer: str, second: int) -> tuple[Terms, int] | None:
        """The first period with work that no statement of this key, or of those before it, counts; and its terms."""
        return self._oldest_period(offer, signer, self.terms.closed_keys(signer, second))

    def overdue_again(self, offer: str, signer: str, second: int) -> Iterator[tuple[StatementBody, Terms, int]]:
        """The periods whose statement is void and is not made again, though there is work to count: what each should
        say, its terms, and when it was made void (Unix s).
        """
        line, closed = f"{PeriodReward.type} {offer}", self.terms.closed_keys(signer, second)
        for terms, to_ms, voided_s in self._periods_again(offer, signer, closed):
            body = expected_period(self.lanes, offer, terms, to_ms, self.earlier.held(line, to_ms, signer, closed))
            if isinstance(body, StatementBody):
                yield body, terms, voided_s

    # Reading

    def wants(self, statement: Statement, chains: Mapping[str, Chain[Any]]) -> list[str]:
        """What must be read before a statement can be judged: batches, or the chains of keys that it follows."""
        wanted = missing_heads(self.lanes, statement)
        if isinstance(statement.reward, PeriodReward):
            if statement.terms not in self.terms.by_id:
                wanted.append(statement.terms)
        elif statement.reward.block not in self.mining.announced.blocks:
            wanted.append(statement.reward.block)
        return [*wanted, *self.follows(statement.signer, statement.created_at, chains)]

    def follows(self, signer: str, second: int, chains: Mapping[str, Chain[Any]]) -> list[str]:
        """The chains that come before what a key says at a time (Unix s), since the terms had closed them, and of which
        something was not read.
        """
        wanted = []
        for key in sorted(self.terms.closed_keys(signer, second)):
            name = f"{key}/accounting"
            end, chain = self.terms.end_of(name), chains.get(key)
            if end is not None and end.seq >= 0 and (chain is None or not chain.is_ended):
                wanted.append(name)
        return wanted

    def add_settings(self, part: SettingsPart) -> None:
        """Settings took their place in a chain."""
        told = part.settings
        self._pledged[f"{part.signer}/{told.id}"] = Pledged(told.miner, told.created_at, told.body.donation_ppm)
        known = self._of_miner.get(f"{part.signer}/{told.miner}", [])
        self._of_miner[f"{part.signer}/{told.miner}"] = [*known, (told.created_at, told.id)]

    def has_settings(self, signer: str, settings: str) -> bool:
        """Whether settings, by id, stand in a key's chain."""
        return f"{signer}/{settings}" in self._pledged

    def _pledges(self, statement: Statement) -> dict[str, Pledge]:
        """What the settings that a statement names give away, if they are the donors', in time, and in the log, which
        has no newer ones in time.
        """
        pledges = {}
        last_s = statement.reward.end_ms // 1000
        for row, settings, _ in statement.donations:
            miner = statement.rows[row].miner
            known = self._of_miner.get(f"{statement.signer}/{miner}", [])
            in_time = ((-date, name) for date, name in known if date <= last_s)
            if min(in_time, default=(0, ""))[1] == settings:
                pledges[miner] = Pledge(settings, self._pledged[f"{statement.signer}/{settings}"].ppm)
        return pledges

    def add_part(self, part: StatementPart) -> None:
        """A part took its place in its chain."""
        before = self.parts.setdefault(part.signer, [])
        if part.part == 0:
            before.clear()
        before.append(part)

    def whole(self, statement: Statement, chain: Chain[Any]) -> Statement | Finding:
        """A statement with the rows that its parts hold, or what is wrong if they are not there: its parts are over."""
        parts = self.parts.pop(statement.signer, [])
        if not statement.parts:
            return statement
        seq = statement.link.seq
        if any(chain.accepted_id(place) is None for place in range(max(0, seq - statement.parts), seq)):
            text = f"some of the {statement.parts} parts before it are missing"
            return finding(Code.STATEMENT_NOT_RECOMPUTED, text, statement.id)
        try:
            return whole_statement(statement, parts)
        except InvalidPoolEvent as error:
            return finding(Code.MALFORMED, f"kind 4214: {error}", statement.id, key=statement.signer)

    def judge(self, statement: Statement, chain: Chain[Any]) -> list[Finding]:
        """What is wrong with a whole statement that takes its place now in its key's chain."""
        held = NOTHING_HELD
        if self._holds(statement):
            closed = self.terms.closed_keys(statement.signer, statement.created_at)
            held = self.earlier.held(line_of(statement), statement.reward.end_ms, statement.signer, closed)
            self.earlier.keep_snapshot(statement.id, held)
        self.earlier.add(statement)
        found: list[Finding] = []
        if self._lacks_settings(statement, chain):
            # Relays can hide: what they keep back is no fault of the pool's.
            text = "settings that it names were not read, and a part of the chain before it is missing"
            return [finding(Code.STATEMENT_NOT_RECOMPUTED, text, statement.id)]
        total = sum(row.msat for row in statement.rows) + statement.fee_msat
        if total != statement.reward.gross_msat:
            text = f"rows and fee are {total} msat, the reward is {statement.reward.gross_msat}"
            found.append(finding(Code.STATEMENT_SPLIT, text, statement.id))
        if isinstance(statement.reward, PeriodReward):
            return [*found, *self._judge_period(statement, statement.reward, held)]
        return [*found, *self._judge_block(statement, held, chain)]

    def _lacks_settings(self, statement: Statement, chain: Chain[Any]) -> bool:
        """Whether settings that it names may stand in a place before it of which nothing was read."""
        if all(self.has_settings(statement.signer, settings) for _, settings, _ in statement.donations):
            return False
        return self._lacks_before(statement, chain)

    @staticmethod
    def _lacks_before(statement: Statement, chain: Chain[Any]) -> bool:
        """Whether nothing was read of some place before it in its chain."""
        if chain.broken is None:
            return False
        return any(chain.accepted_id(place) is None for place in range(statement.link.seq))

    def add_status(self, status: RewardStatus) -> None:
        """A status that its statement allows took its place."""
        self.earlier.add_status(status)

    def _holds(self, statement: Statement) -> bool:
        """Whether it counts what none before it held."""
        terms = self.terms.by_id.get(statement.terms)
        offer = None if terms is None else terms.body.offers.get(statement.offer)
        # Blocks of an offer that is paid by period count no shares.
        by_period = isinstance(statement.reward, PeriodReward)
        return offer is not None and holds(offer.scheme) and by_period == bool(offer.period_s)

    def _judge_block(self, statement: Statement, held: Held, chain: Chain[Any]) -> list[Finding]:
        found: list[Finding] = []
        block = self.mining.announced.blocks.get(statement.reward.block)
        if block is None:
            if statement.reward.block in self.mining.announced.refused:
                code = Code.STATEMENT_REWARD
            elif statement.reward.block in self.mining.announced.unproven:
                code = Code.STATEMENT_NOT_RECOMPUTED
            else:
                code = Code.STATEMENT_NO_BLOCK
            return [finding(code, f"block {statement.reward.block} is not proven", statement.id)]
        announced = self.mining.announced.announcements.get(statement.announced_by)
        if announced != statement.reward.block:
            text = f"{statement.announced_by or 'nothing'} is named as what announces the block"
            # What it names may stand on a relay that was not asked.
            missing_event = announced is None and statement.announced_by
            code = Code.STATEMENT_NO_BLOCK if missing_event else Code.STATEMENT_REWARD
            found.append(finding(code, text, statement.id, block.block.id))
        found += self._judge_place(statement, block.block.id)
        missing = missing_heads(self.lanes, statement)
        try:
            pledges, bonus = self._pledges(statement), Bonus(self.attendance, statement.signer)
            wrong = None if missing else compare_statement(self.lanes, statement, block, held, pledges, bonus)
        except UnsupportedOffer as error:
            wrong = list(compare_reward(statement, block))
            found.append(finding(Code.STATEMENT_SCHEME, str(error), statement.id))
        if wrong is None:
            text = "part of the work that it may count is missing"
            return [*found, finding(Code.STATEMENT_NOT_RECOMPUTED, text, statement.id)]
        if block.pays_loyalty and self._lacks_before(statement, chain):
            # Hidden attestations are no fault of the pool's.
            differs = [text for code, text in wrong if code is Code.STATEMENT_SPLIT]
            wrong = [each for each in wrong if each[0] is not Code.STATEMENT_SPLIT]
            for each in differs:
                text = f"a part of the chain before it is missing, and attestations with it perhaps: {each}"
                found.append(finding(Code.STATEMENT_NOT_RECOMPUTED, text, statement.id))
        return found + [finding(code, text, statement.id, block.block.id) for code, text in wrong]

    def _judge_place(self, statement: Statement, *names: str) -> Iterator[Finding]:
        """Whether it is dated after what it is about, and names what was read."""
        if (statement.created_at + CLOCKS_APART_S) * 1000 < statement.reward.end_ms:
            text = f"dated {statement.created_at}, the reward ends at {statement.reward.end_ms} ms"
            yield finding(Code.BACKDATED, text, *names, statement.id)
        missing = missing_heads(self.lanes, statement)
        if missing:
            text = "the statement names batches that were not read"
            yield finding(Code.MISSING_BATCH, text, statement.id, *missing)

    def _judge_period(self, statement: Statement, reward: PeriodReward, held: Held) -> list[Finding]:
        found = list(self._judge_place(statement))
        terms = self.terms.by_id.get(statement.terms)
        if terms is None:
            text = f"terms {statement.terms} of a period"
            return [*found, finding(Code.MISSING_TERMS, text, statement.terms, statement.id)]
        offer = terms.body.offers.get(statement.offer)
        if offer is not None and not offer.period_s:
            text = f"offer {statement.offer[:32]!r} is not paid by period"
            return [*found, finding(Code.STATEMENT_REWARD, text, statement.id, terms.id)]
        if not self._may_rest_on(terms, statement.offer, reward.to_ms):
            text = f"the period to {reward.to_ms} of {statement.offer[:32]!r} does not go by terms {terms.id}"
            return [*found, finding(Code.STATEMENT_TERMS, text, statement.id, terms.id)]
        period_ms = terms.body.offers[statement.offer].period_s * 1000
        if reward.to_ms % period_ms:
            text = f"no period of {period_ms} ms ends at {reward.to_ms}"
            found.append(finding(Code.STATEMENT_REWARD, text, statement.id))
        if any(each.code is Code.MISSING_BATCH for each in found):
            wrong = None
        else:
            wrong = compare_period(self.lanes, statement, terms, held, self._pledges(statement))
        if wrong is None:
            text = "part of the work that it may count is missing"
            return [*found, finding(Code.STATEMENT_NOT_RECOMPUTED, text, statement.id)]
        return found + [finding(code, text, statement.id) for code, text in wrong]

    def _is_period_of(self, terms: Terms, offer: str, to_ms: int) -> bool:
        """Whether a period ends there by these terms, which it may go by."""
        return self._may_rest_on(terms, offer, to_ms) and to_ms % (terms.body.offers[offer].period_s * 1000) == 0

    def _may_rest_on(self, terms: Terms, offer: str, to_ms: int) -> bool:
        """Whether a period's statement may go by terms: they have the offer, and newer ones were only just out."""
        known = terms.body.offers.get(offer)
        if known is None or not known.period_s or terms.created_at * 1000 > to_ms:
            return False
        since = to_ms - terms.body.limits.job_ms
        return not any(
            newer.link.seq > terms.link.seq and offer in newer.body.offers and newer.created_at * 1000 <= since
            for newer in self.terms.by_id.values()
        )
