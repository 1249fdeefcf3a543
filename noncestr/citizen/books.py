"""The citizen's view of the books: the accounting, the chain and the hourly summaries of the log, as its facts."""

from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Final, Protocol

from accounting.facts import BlockSeen
from accounting.jobs import block_target
from accounting.service import Accounting
from nips.errors import InvalidPoolEvent
from nips.nip01 import Filter, VerifiedEvent, make_filter
from nips.pool.address import PoolAddress
from nips.pool.hashing import from_display
from nips.pool.kinds import STATEMENT_PART, SUMMARY
from nips.pool.summary import Summary, SummaryPart, SummaryRow, parse_summary, parse_summary_part
from nips.pool.targets import target_from_bits
from noncestr.citizen.facts import BestShare, BlockFacts, DayFacts, MinerNow, PoolNow, day_name
from noncestr.citizen.limits import DAY_MS, HOUR_MS
from relay_bridge.errors import RelayBridgeError

# Blocks are proven, and payouts booked, about in the order of their dates: a reader that goes back stops this long
# before what it looks for.
DISORDER_MS: Final = DAY_MS
# An hour's summary is signed once every lane passed the hour, which may wait for a lane that is away.
SUMMARY_GRACE_MS: Final = 6 * HOUR_MS


class Feed(Protocol):
    """The relay bridge, as far as this goes."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """Stored events of the relays."""


class Chain(Protocol):
    """The chain, as far as this goes."""

    async def confirmations(self, block_hash: bytes) -> int | None:
        """1 for the tip; none, 0 or less when the block is not in the chain or nobody can say."""


def block_facts(seen: BlockSeen) -> BlockFacts:
    """A proven block of the books."""
    block = seen.block
    return BlockFacts(
        event=block.id,
        block=block.block,
        height=block.height,
        finder=block.finder,
        found_ms=seen.found_ms,
        gross_msat=seen.gross_msat,
        target=block_target(seen.job, seen.terms.body.limits),
    )


class AccountingBooks:
    """`citizen_facts.Books` of a running Accounting. `why_unpaid`: by miner, what stands in a payout's way."""

    def __init__(
        self, accounting: Accounting, signer: str, feed: Feed, chain: Chain, why_unpaid: Callable[[str], str]
    ) -> None:
        """`signer`: the accounting's key, whose summaries are read."""
        self._accounting = accounting
        self._signer = signer
        self._feed = feed
        self._chain = chain
        self._why_unpaid = why_unpaid

    def synced(self) -> bool:
        """See `Books`."""
        return self._accounting.condition().synced

    def work(self) -> int:
        """See `Books`."""
        return self._accounting.fold.statistics.work

    def blocks(self, since_ms: int) -> Sequence[BlockFacts]:
        """See `Books`. O(blocks since then)."""
        newest = reversed(self._accounting.fold.blocks.values())
        late = takewhile(lambda seen: seen.found_ms >= since_ms - DISORDER_MS, newest)
        found = [block_facts(seen) for seen in late if seen.found_ms >= since_ms]
        return sorted(found, key=lambda block: (block.found_ms, block.block))

    async def in_chain(self, block: str) -> bool:
        """See `Books`."""
        return (await self._chain.confirmations(from_display(block)) or 0) > 0

    async def _stands(self, block: str) -> bool:
        """Whether nobody says that a block is off the chain; 0 is no word."""
        confirmations = await self._chain.confirmations(from_display(block))
        return confirmations is not None and confirmations >= 0

    def pool(self, now_ms: int) -> PoolNow:
        """See `Books`."""
        statistics = self._accounting.fold.statistics.pool_statistics(now_ms, blocks=0, height=0)
        blocks = len(self.blocks(now_ms - DAY_MS))
        return PoolNow(statistics.hashrate["5m"], statistics.hashrate["1h"], statistics.miners, blocks)

    def miner(self, pubkey: str, now_ms: int) -> MinerNow | None:
        """See `Books`."""
        fold = self._accounting.fold
        statistics = fold.statistics.miner_statistics(pubkey, now_ms)
        balance = self._accounting.balance(pubkey)
        if statistics is None and not (balance.pending_msat or balance.earned_msat or balance.paid_msat):
            return None
        return MinerNow(
            hashrate_5m=0 if statistics is None else statistics.hashrate["5m"],
            hashrate_1h=0 if statistics is None else statistics.hashrate["1h"],
            last_share_ms=0 if statistics is None else statistics.last_share_ms,
            pending_msat=balance.pending_msat,
            owed_msat=balance.owed_msat,
            paid_msat=balance.paid_msat,
            unpaid_because=self._why_unpaid(pubkey),
        )

    async def day(self, start_ms: int) -> DayFacts | None:
        """See `Books`. What was mined is told by the accounting's hourly summaries (4221); a day that the last of them
        has not passed SUMMARY_GRACE_MS after its end is told without.
        """
        pool, end_ms = self._accounting.pool, start_ms + DAY_MS
        asked = make_filter(
            authors=[self._signer],
            kinds=[SUMMARY, STATEMENT_PART],
            tags={"a": [str(pool)]},
            since=start_ms // 1000,
            # Of a later date there are only the next day's, but for a day's end that came late.
            until=(end_ms + SUMMARY_GRACE_MS) // 1000,
        )
        try:
            events = await self._feed.fetch([asked])
        except RelayBridgeError:
            return None
        summaries, parts = read_summaries(events, pool)
        now_ms = self._accounting.clock.now_ms()
        if not any(summary.to_ms >= end_ms for summary in summaries) and now_ms < end_ms + SUMMARY_GRACE_MS:
            return None
        hours = [summary for summary in summaries if start_ms < summary.to_ms <= end_ms]
        payouts = [booked.payout for booked in self._accounting.fold.ledger.payouts.values()]
        paid = [payout for payout in payouts if start_ms <= payout.created_at * 1000 < end_ms]
        blocks = [block for block in self.blocks(start_ms) if block.found_ms < end_ms]
        return day_facts(
            start_ms,
            [block for block in blocks if await self._stands(block.block)],
            [(summary, rows_of(summary, parts)) for summary in hours],
            [(payout.miner, payout.amount_msat) for payout in paid],
        )


def read_summaries(events: Iterable[VerifiedEvent], pool: PoolAddress) -> tuple[list[Summary], dict[int, SummaryPart]]:
    """The summaries of a pool by time, and parts by their number in the chain; parts of other things are left out."""
    summaries: list[Summary] = []
    parts: dict[int, SummaryPart] = {}
    for event in events:
        try:
            if event.kind == SUMMARY:
                summaries.append(parse_summary(event))
            else:
                part = parse_summary_part(event)
                parts[part.link.seq] = part
        except InvalidPoolEvent:
            continue
    return sorted((found for found in summaries if found.pool == pool), key=lambda found: found.to_ms), parts


def rows_of(summary: Summary, parts: dict[int, SummaryPart]) -> list[SummaryRow]:
    """A summary's rows, its own or those of its parts, which stand right before it in the chain."""
    if not summary.parts:
        return list(summary.rows)
    numbers = range(summary.link.seq - summary.parts, summary.link.seq)
    return [row for number in numbers if number in parts for row in parts[number].rows]


def day_facts(
    start_ms: int,
    blocks: Sequence[BlockFacts],
    hours: Sequence[tuple[Summary, Sequence[SummaryRow]]],
    payouts: Sequence[tuple[str, int]],
) -> DayFacts:
    """A day out of its blocks, its summaries with their rows, and its payouts (miner, msat; negative: money back)."""
    rows = [row for _, told in hours for row in told]
    bests = [BestShare(target_from_bits(row.best_bits), row.miner) for row in rows if row.best_bits]
    # A block's hash is known to the bit, a summary's best share as compact bits.
    bests += [BestShare(block.value, block.finder) for block in blocks]
    return DayFacts(
        date=day_name(start_ms),
        end_ms=start_ms + DAY_MS,
        blocks=tuple(blocks),
        work=sum(summary.work for summary, _ in hours),
        mined_ms=sum(min(summary.to_ms - summary.from_ms, DAY_MS) for summary, _ in hours),
        miners=len({row.miner for row in rows if row.shares}),
        best=min(bests, key=lambda best: best.target, default=None),
        paid_msat=sum(msat for _, msat in payouts),
        payees=len({miner for miner, _ in payouts}),
    )
