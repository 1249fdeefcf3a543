"""The statement a block must have: made from the log by the accounting, and made again by whoever checks it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from accounting.apportion import split
from accounting.errors import UnsupportedOffer
from accounting.facts import BlockSeen
from accounting.findings import Code
from accounting.lanes import Batch, LaneKey, Lanes, heads_of
from accounting.schemes import pplns
from accounting.window import Selection, newest_first
from nips.pool.chain import Head
from nips.pool.statement import BlockReward, Statement, StatementBody, Window
from nips.pool.terms import TermsBody


@dataclass(frozen=True, slots=True)
class NotYet:
    """Why a statement can't be made yet."""

    reason: str


def check_offers(terms: TermsBody) -> None:
    """Raises UnsupportedOffer for a scheme that is not computed here: an accounting must not start with it."""
    for name, offer in terms.offers.items():
        if offer.scheme != "pplns":
            raise UnsupportedOffer(name, offer.scheme)


def compute_statement(lanes: Lanes, block: BlockSeen, cuts: Mapping[LaneKey, Batch]) -> StatementBody:
    """The statement of a block's reward when the lanes are cut at these batches; its heads are the cuts.

    Raises UnsupportedOffer.
    """
    offer, end_ms = block.terms.body.offers[block.offer], block.found_ms
    if offer.scheme != "pplns":
        raise UnsupportedOffer(block.offer, offer.scheme)
    wanted = Selection(block.offer, end_ms, block.block.height, pplns.oldest_ms(offer, end_ms))
    counted = pplns.count(offer, block.job.nbits, end_ms, newest_first(lanes, cuts, wanted))
    parts = split(block.gross_msat, offer.fee_ppm, counted.work)
    return StatementBody(
        reward=BlockReward(block.block.block, block.block.height, end_ms, block.gross_msat),
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


def expected_statement(lanes: Lanes, block: BlockSeen) -> StatementBody | NotYet:
    """The statement to issue now, or why to wait: every open lane must have passed the block's time.

    Raises UnsupportedOffer.
    """
    behind = lanes.behind(block.found_ms)
    if behind is not None:
        return NotYet(f"lane {behind} is known up to {lanes[behind].watermark_ms}, not yet past {block.found_ms}")
    cuts = lanes.cuts(block.found_ms)
    body = compute_statement(lanes, block, cuts)
    heads = heads_of(cuts, block.found_ms, body.window.from_ms)
    return replace(body, window=replace(body.window, heads=heads))


def missing_heads(lanes: Lanes, statement: Statement) -> list[str]:
    """The ids of the batches a statement names that were not read."""
    missing = []
    for name, head in statement.window.heads.items():
        lane = lanes.find(name)
        if lane is None or head.id not in lane.by_id:
            missing.append(head.id)
    return sorted(missing)


def named_cuts(lanes: Lanes, statement: Statement) -> dict[LaneKey, Batch]:
    """The cuts a statement names, as far as the lanes hold them."""
    cuts = {}
    for name, head in statement.window.heads.items():
        lane = lanes.find(name)
        if lane is not None and head.id in lane.by_id:
            cuts[lane.key] = lane.by_id[head.id]
    return cuts


def is_recomputable(lanes: Lanes, cuts: Mapping[LaneKey, Batch]) -> bool:
    """Whether nothing is missing in the lanes up to the cuts, and every credited share there could be judged."""
    return all(
        lanes[key].whole_to(batch.seq) and not any(part.shares.unchecked for part in lanes[key].up_to(batch.seq))
        for key, batch in cuts.items()
    )


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
        if first is not None and first is not batch:
            yield Code.STATEMENT_HEADS, f"lane {name} is cut at {batch.seq}, the first past the reward is {first.seq}"
        if first is None and (not lane.ended or batch is not lane.batches[-1]):
            yield Code.STATEMENT_HEADS, f"lane {name} is cut at {batch.seq}, which does not pass the reward"


def compare_statement(lanes: Lanes, statement: Statement, block: BlockSeen) -> Iterator[tuple[Code, str]]:
    """What differs between a statement and what the log gives, field by field. Raises UnsupportedOffer."""
    cuts = named_cuts(lanes, statement)
    body = compute_statement(lanes, block, cuts)
    if statement.reward != body.reward:
        yield Code.STATEMENT_REWARD, f"the reward is told as {statement.reward}, the block says {body.reward}"
    if (statement.terms, statement.offer) != (body.terms, body.offer):
        text = f"split by {statement.terms} {statement.offer}, mined under {body.terms} {body.offer}"
        yield Code.STATEMENT_TERMS, text
    yield from _compare_heads(lanes, statement, cuts, block.found_ms)
    told, found = statement.window, body.window
    if (told.from_ms, told.work) != (found.from_ms, found.work):
        text = (
            f"the window is told as {told.work} from {told.from_ms}, the shares give {found.work} from {found.from_ms}"
        )
        yield Code.STATEMENT_WINDOW, text
    if (statement.fee_msat, statement.rows) != (body.fee_msat, body.rows):
        yield Code.STATEMENT_SPLIT, _split_difference(statement, body)


def _split_difference(statement: Statement, body: StatementBody) -> str:
    told = {row.miner: (row.work, row.msat) for row in statement.rows}
    found = {row.miner: (row.work, row.msat) for row in body.rows}
    wrong = sorted(miner for miner in {*told, *found} if told.get(miner) != found.get(miner))
    if not wrong:
        return f"the fee is told as {statement.fee_msat} msat, the split leaves {body.fee_msat}"
    miner = wrong[0]
    (told_work, told_msat), (work, msat) = told.get(miner, (0, 0)), found.get(miner, (0, 0))
    text = f"{miner} is given {told_msat} msat for {told_work}, the shares give {msat} for {work}"
    return text if len(wrong) == 1 else f"{text}; {len(wrong) - 1} more rows differ"
