"""The statement a block must have: made from the log by the accounting, and made again by whoever checks it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from accounting.apportion import split
from accounting.attendance import Attendance, reaches_ms, with_bonuses
from accounting.errors import UnsupportedOffer
from accounting.facts import BlockSeen
from accounting.findings import Code
from accounting.lanes import Batch, Lane, LaneKey, Lanes, heads_of
from accounting.schemes import blocks, periods, pplns, solo
from accounting.schemes.donations import Pledge, donate
from accounting.schemes.held import NOTHING_HELD, Held
from accounting.schemes.lots import rows_of
from accounting.schemes.loyalty import REACH_MS
from accounting.selection import Counted, Selection, newest_first
from accounting.window import count_window
from nips.pool.attestation import Attestation
from nips.pool.chain import Head
from nips.pool.reward import BlockReward, PeriodReward
from nips.pool.statement import Statement, StatementBody, Window
from nips.pool.targets import work_from_bits
from nips.pool.terms import Terms, TermsBody

SECOND_MS = 1000
NO_PLEDGES: Mapping[str, Pledge] = {}


@dataclass(frozen=True, slots=True)
class NotYet:
    """Why a statement can't be made yet."""

    reason: str


def check_offers(terms: TermsBody) -> None:
    """Raises UnsupportedOffer for what is not computed here: an accounting must not start with it."""
    for name, offer in terms.offers.items():
        if offer.scheme not in (*blocks.SCHEMES, *periods.SCHEMES):
            raise UnsupportedOffer(name, offer.scheme)


def holds(scheme: str) -> bool:
    """Whether the statements of a scheme count only what none before them held."""
    return scheme in blocks.HOLDING or scheme in periods.SCHEMES


def _count(lanes: Lanes, block: BlockSeen, cuts: Mapping[LaneKey, Batch], held: Held) -> Counted:
    """The work that a block's reward is split by. Raises UnsupportedOffer."""
    offer = block.terms.body.offers[block.offer]
    if offer.scheme in periods.SCHEMES:
        # The miners have theirs by the period, block or no block.
        return Counted(block.found_ms, full=True)
    if offer.scheme == "solo":
        return solo.count(block.found_ms, block.block.finder, work_from_bits(block.share_bits))
    if offer.scheme not in blocks.SCHEMES:
        raise UnsupportedOffer(block.offer, offer.scheme)
    return count_window(lanes, cuts, _selection(block, held), blocks.limit(offer, block.job.nbits))


def _selection(block: BlockSeen, held: Held) -> Selection:
    oldest = blocks.oldest_ms(block.terms.body.offers[block.offer], block.found_ms)
    by_worker = block.terms.body.offers[block.offer].loyalty is not None
    return Selection(block.offer, block.found_ms, block.block.height, oldest, held, by_worker)


def _reward(block: BlockSeen) -> BlockReward:
    return BlockReward(block.block.block, block.block.height, block.found_ms, block.gross_msat)


def with_donations(body: StatementBody, donate_to: str | None, pledges: Mapping[str, Pledge]) -> StatementBody:
    """A statement after what its miners give away; `pledges` by miner."""
    if not donate_to or not pledges:
        return body
    given = donate(body.rows, pledges, donate_to)
    return replace(body, rows=given.rows, donations=given.donations)


def _statement(block: BlockSeen, counted: Counted, cuts: Mapping[LaneKey, Batch]) -> StatementBody:
    """The statement of a block's reward by the work counted; its heads are the cuts."""
    parts = split(block.gross_msat, block.terms.body.offers[block.offer].fee_ppm, counted.work)
    return StatementBody(
        reward=_reward(block),
        terms=block.terms.id,
        offer=block.offer,
        window=Window(
            from_ms=counted.from_ms,
            work=counted.total,
            heads={str(key): Head(batch.seq, batch.id) for key, batch in sorted(cuts.items())},
        ),
        fee_msat=parts.fee_msat,
        rows=parts.rows,
    )


def expected_statement(lanes: Lanes, block: BlockSeen, held: Held = NOTHING_HELD) -> StatementBody | NotYet:
    """The statement to issue now, or why to wait: every open lane must have passed the block's time. `held`: what the
    statements before it hold.

    Raises UnsupportedOffer.
    """
    expected = expected_split(lanes, block, held)
    return expected if isinstance(expected, NotYet) else expected.body


class Expected(NamedTuple):
    """A statement to be, and the work that it counts."""

    body: StatementBody
    counted: Counted


def expected_split(lanes: Lanes, block: BlockSeen, held: Held) -> Expected | NotYet:
    """The same with the work that it counts."""
    behind = lanes.behind(block.found_ms)
    if behind is not None:
        return NotYet(f"lane {behind} is known up to {lanes[behind].watermark_ms}, not yet past {block.found_ms}")
    cuts = lanes.cuts(block.found_ms)
    counted = _count(lanes, block, cuts, held)
    body = _statement(block, counted, cuts)
    since = reaches_ms(block.terms.body.offers[block.offer], body.window.from_ms, block.found_ms)
    heads = heads_of(cuts, block.found_ms, since)
    return Expected(replace(body, window=replace(body.window, heads=heads)), counted)


class Bonus(NamedTuple):
    """What bonuses go by: the lanes' hours, and the attestations in the chain of `signer`."""

    attendance: Attendance
    signer: str

    def pay(
        self, lanes: Lanes, cuts: Mapping[LaneKey, Batch], block: BlockSeen, counted: Counted, body: StatementBody
    ) -> StatementBody:
        """A statement after its bonuses; the same where the offer has none."""
        offer = block.terms.body.offers[block.offer]
        if offer.loyalty is None:
            return body
        standings = self.attendance.standings(offer.loyalty, lanes, cuts, self.signer, block.found_ms)
        return with_bonuses(body, offer, counted.workers, standings)

    def wanting(
        self, lanes: Lanes, body: StatementBody, block: BlockSeen, known: Iterable[Attestation]
    ) -> list[Attestation]:
        """Those of `known` that a statement to be made should rest on, and that are not in the log."""
        rules, end_ms = block.terms.body.offers[block.offer].loyalty, block.found_ms
        if rules is None:
            return []
        return self.attendance.wanting(rules, lanes, named_cuts(lanes, body), self.signer, end_ms, known)


def made_with_bonus(
    lanes: Lanes, block: BlockSeen, held: Held, body: StatementBody, bonus: Bonus, counted: Counted | None = None
) -> StatementBody:
    """A statement to be signed, whose donations were moved, after its bonuses; `counted`: the work that it counts, if
    that is known. Raises UnsupportedOffer.
    """
    cuts = named_cuts(lanes, body)
    return bonus.pay(lanes, cuts, block, counted or _count(lanes, block, cuts, held), body)


def period_statement(
    lanes: Lanes, cuts: Mapping[LaneKey, Batch], offer: str, terms: Terms, to_ms: int, held: Held
) -> StatementBody | None:
    """The statement of an offer's period that ends at `to_ms`, its heads the cuts; None without work to count."""
    counted = count_window(lanes, cuts, Selection(offer, to_ms, None, 0, held), None)
    rows = rows_of(counted.work, counted.values)
    if not rows:
        return None
    heads = {str(key): Head(batch.seq, batch.id) for key, batch in sorted(cuts.items())}
    period_ms = terms.body.offers[offer].period_s * SECOND_MS
    return StatementBody(
        reward=PeriodReward(to_ms - period_ms, to_ms, sum(row.msat for row in rows)),
        terms=terms.id,
        offer=offer,
        window=Window(counted.from_ms, counted.total, heads),
        fee_msat=0,
        rows=rows,
    )


def expected_period(lanes: Lanes, offer: str, terms: Terms, to_ms: int, held: Held) -> StatementBody | NotYet | None:
    """The statement to issue now of a period; why to wait; None if there is no work to count."""
    behind = lanes.behind(to_ms)
    if behind is not None:
        return NotYet(f"lane {behind} is known up to {lanes[behind].watermark_ms}, not yet past {to_ms}")
    cuts = lanes.cuts(to_ms)
    body = period_statement(lanes, cuts, offer, terms, to_ms, held)
    if body is None:
        return None
    return replace(body, window=replace(body.window, heads=heads_of(cuts, to_ms, body.window.from_ms)))


def compare_period(
    lanes: Lanes, statement: Statement, terms: Terms, held: Held, pledges: Mapping[str, Pledge]
) -> list[tuple[Code, str]] | None:
    """What differs between a period's statement and what the log gives; None if that can't be told, since work that it
    might count is missing. `terms`: those it names, which hold the offer.
    """
    cuts, told = named_cuts(lanes, statement), statement.reward
    if _whole_from(lanes, cuts, held):
        return None
    body = period_statement(lanes, cuts, statement.offer, terms, told.end_ms, held)
    if body is None:
        return [(Code.STATEMENT_WINDOW, f"no work up to {told.end_ms} is to be counted")]
    body = with_donations(body, terms.body.donate_to, pledges)
    found = list(_differences(lanes, statement, cuts, body))
    if told != body.reward:
        found.append((Code.STATEMENT_REWARD, f"the reward is told as {told}, the shares give {body.reward}"))
    return found


def missing_heads(lanes: Lanes, statement: Statement) -> list[str]:
    """The ids of the batches a statement names that were not read."""
    missing = []
    for name, head in statement.window.heads.items():
        lane = lanes.find(name)
        if lane is None or not lane.has(head.id):
            missing.append(head.id)
    return sorted(missing)


def named_cuts(lanes: Lanes, statement: StatementBody) -> dict[LaneKey, Batch]:
    """The cuts a statement names, as far as the lanes hold them."""
    cuts = {}
    for name, head in statement.window.heads.items():
        lane = lanes.find(name)
        batch = None if lane is None else lane.find(head.id)
        if lane is not None and batch is not None:
            cuts[lane.key] = batch
    return cuts


def may_leave_out(lane: Lane, statement: Statement, block: BlockSeen, held: Held = NOTHING_HELD) -> bool:
    """Whether a statement need not name a lane: it ended before the window, and nothing of it would have counted. That
    the told window begins later proves nothing unless it is full: leaving a lane out moves it.
    """
    offer = block.terms.body.offers[block.offer]
    since = reaches_ms(offer, statement.window.from_ms, block.found_ms)
    if not lane.ended or lane.past(block.found_ms) is not None or lane.watermark_ms >= since:
        return False
    if offer.scheme not in ("pplns", "prop"):
        return True
    if offer.scheme == "pplns" and statement.window.work >= pplns.window_work(offer, block.job.nbits):
        return True
    shares = newest_first({lane.key: lane}, {lane.key: lane.batches[-1]}, _selection(block, held))
    return next(shares, None) is None


def may_leave_out_of_period(lane: Lane, statement: Statement, held: Held) -> bool:
    """The same of a period's statement."""
    end_ms = statement.reward.end_ms
    if not lane.ended or lane.past(end_ms) is not None or lane.watermark_ms >= statement.window.from_ms:
        return False
    wanted = Selection(statement.offer, end_ms, None, 0, held)
    return next(newest_first({lane.key: lane}, {lane.key: lane.batches[-1]}, wanted), None) is None


def compare_reward(statement: Statement, block: BlockSeen) -> Iterator[tuple[Code, str]]:
    """What a statement tells wrongly of the reward itself, whatever the scheme."""
    reward = _reward(block)
    if statement.reward != reward:
        yield Code.STATEMENT_REWARD, f"the reward is told as {statement.reward}, the block says {reward}"
    if (statement.terms, statement.offer) != (block.terms.id, block.offer):
        text = f"split by {statement.terms} {statement.offer}, mined under {block.terms.id} {block.offer}"
        yield Code.STATEMENT_TERMS, text


def _compare_heads(
    lanes: Lanes, statement: Statement, cuts: Mapping[LaneKey, Batch], end_ms: int
) -> Iterator[tuple[Code, str]]:
    for name, head in sorted(statement.window.heads.items()):
        lane = lanes.find(name)
        batch = None if lane is None else cuts.get(lane.key)
        if lane is None or batch is None:
            continue
        if batch.seq != head.seq:
            yield Code.STATEMENT_HEADS, f"the batch of lane {name} is numbered {batch.seq}, not {head.seq}"
        first = lane.past(end_ms)
        if first is not None and first.id != batch.id:
            yield Code.STATEMENT_HEADS, f"lane {name} is cut at {batch.seq}, the first past the reward is {first.seq}"
        if first is None and (not lane.ended or batch.id != lane.batches[-1].id):
            yield Code.STATEMENT_HEADS, f"lane {name} is cut at {batch.seq}, which does not pass the reward"


def compare_statement(
    lanes: Lanes,
    statement: Statement,
    block: BlockSeen,
    held: Held = NOTHING_HELD,
    pledges: Mapping[str, Pledge] = NO_PLEDGES,
    bonus: Bonus | None = None,
) -> list[tuple[Code, str]] | None:
    """What differs between a statement and what the log gives, field by field; None if that can't be told, since work
    that it might count is missing. What lacks before a full window, beyond its greatest age, or where statements before
    it (`held`) have counted, changes nothing.

    Raises UnsupportedOffer.
    """
    cuts = named_cuts(lanes, statement)
    counted = _count(lanes, block, cuts, held)
    offer = block.terms.body.offers[block.offer]
    oldest = blocks.oldest_ms(offer, block.found_ms)
    if _whole_from(lanes, cuts, held) > (counted.from_ms if counted.full else oldest):
        return None
    # What one statement held another's bonus looks at all the same.
    if offer.loyalty is not None and _whole_from(lanes, cuts, NOTHING_HELD) > block.found_ms - REACH_MS:
        return None
    body = with_donations(_statement(block, counted, cuts), block.terms.body.donate_to, pledges)
    body = body if bonus is None else bonus.pay(lanes, cuts, block, counted, body)
    return [*compare_reward(statement, block), *_differences(lanes, statement, cuts, body)]


def _whole_from(lanes: Lanes, cuts: Mapping[LaneKey, Batch], held: Held) -> int:
    """The ms from which on nothing lacks that no statement before held."""
    return max((lanes[key].whole_from(batch.seq, held.bounds.get(str(key))) for key, batch in cuts.items()), default=0)


def _differences(
    lanes: Lanes, statement: Statement, cuts: Mapping[LaneKey, Batch], body: StatementBody
) -> Iterator[tuple[Code, str]]:
    yield from _compare_heads(lanes, statement, cuts, body.reward.end_ms)
    told, found = statement.window, body.window
    if (told.from_ms, told.work) != (found.from_ms, found.work):
        text = f"told as {told.work} from {told.from_ms}, the shares give {found.work} from {found.from_ms}"
        yield Code.STATEMENT_WINDOW, text
    if (statement.fee_msat, statement.rows, statement.donations) != (body.fee_msat, body.rows, body.donations):
        yield Code.STATEMENT_SPLIT, _split_difference(statement, body)


def _split_difference(statement: Statement, body: StatementBody) -> str:
    told = {row.miner: (row.work, row.msat, row.bonus_msat) for row in statement.rows}
    found = {row.miner: (row.work, row.msat, row.bonus_msat) for row in body.rows}
    wrong = sorted(miner for miner in {*told, *found} if told.get(miner) != found.get(miner))
    if not wrong and statement.donations != body.donations:
        return "the donations are not what the miners' settings in the log give"
    if not wrong:
        return f"the fee is told as {statement.fee_msat} msat, the split leaves {body.fee_msat}"
    miner = wrong[0]
    (told_work, told_msat, told_bonus), (work, msat, bonus) = told.get(miner, (0, 0, 0)), found.get(miner, (0, 0, 0))
    text = f"{miner} is given {told_msat} msat for {told_work}, the shares give {msat} for {work}"
    if told_bonus != bonus:
        text += f"; {told_bonus} msat of it are called a bonus, {bonus} are one"
    return text if len(wrong) == 1 else f"{text}; {len(wrong) - 1} more rows differ"
