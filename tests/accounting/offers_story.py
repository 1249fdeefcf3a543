"""A pool with several offers, told event by event: prop, solo, fpps, split by a naive reading of SPEC.md."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.chain import next_link
from nips.pool.statement import PeriodReward, Row, StatementBody, Window, build_statement
from nips.pool.targets import work_from_bits
from nips.pool.terms import Offer, TermsBody
from tests.accounting.conftest import BLOCK_BITS, GROSS_SAT, HARD_BITS, OFFER, TERMS, Change, LogBuilder, Mined

OFFERS = {
    "main": OFFER,
    "round": Offer("prop", 10_000),
    "lonely": Offer("solo", 5_000),
    "steady": Offer("fpps", 20_000, period_s=60),
}
LATE = 5
NETWORK_WORK = work_from_bits(BLOCK_BITS)


@dataclass
class OffersLog(LogBuilder):
    """Also knows what earlier statements hold: by label, of which offer, up to when, which batches; those undone."""

    stated: dict[str, tuple[str, int, dict[str, int]]] = field(default_factory=dict)
    undone: set[str] = field(default_factory=set)

    def counted(self, offer: Offer, block: Mined) -> tuple[dict[str, int], int]:
        """Work by miner and the oldest share's time."""
        if offer.scheme == "solo":
            return {block.miner: work_from_bits(block.session.share_bits)}, block.t
        if offer.scheme == "fpps":
            return {}, block.t
        if offer.scheme == "pplns":
            return super().counted(offer, block)
        counted: dict[str, int] = {}
        from_ms = block.t
        for told in self.told:
            inside = told.offer == block.job.offer and told.t <= block.t and told.height <= block.job.height
            if inside and not self.is_held(told, "statement", block.job.offer, block.t):
                counted[told.miner] = counted.get(told.miner, 0) + told.work
                from_ms = min(from_ms, told.t)
        return counted, from_ms

    def is_held(self, told: Any, kind: str, offer: str, end: int) -> bool:
        """Whether a statement of that kind that stands before one of that end counted a share."""
        return any(
            name == offer and until < end and told.t <= until and heads.get(f"{told.edge}/{told.lane}", -1) >= told.seq
            for label, (name, until, heads) in self.stated.items()
            if label not in self.undone and label.startswith(kind)
        )

    def period(self, offer: str, end_ms: int, ms: int) -> VerifiedEvent:
        """Pay an offer's shares up to a time that none before paid, each its part of its job's outputs."""
        to_ms, works, worths = self.t0 + end_ms, dict[str, int](), dict[str, Fraction]()
        from_ms, label = to_ms, f"period {sum(name.startswith('period ') for name in self.events)}"
        for told in self.told:
            if told.offer == offer and told.t <= to_ms and not self.is_held(told, "period", offer, to_ms):
                fee = OFFERS[offer].fee_ppm
                worth = Fraction(told.work * sum(GROSS_SAT) * 1000 * (1_000_000 - fee) << 64, 1_000_000 * NETWORK_WORK)
                works[told.miner] = works.get(told.miner, 0) + told.work
                worths[told.miner] = worths.get(told.miner, Fraction(0)) + int(worth)
                from_ms = min(from_ms, told.t)
        rows = tuple(Row(miner, work, int(worths[miner] / (1 << 64))) for miner, work in sorted(works.items()))
        heads = self.cuts(to_ms)
        self.stated[label] = (offer, to_ms, {lane: head.seq for lane, head in heads.items()})
        body = StatementBody(
            reward=PeriodReward(to_ms - 60_000, to_ms, sum(row.msat for row in rows)),
            terms=self.heads["terms"].id,
            offer=offer,
            window=Window(from_ms, sum(works.values()), heads),
            fee_msat=0,
            rows=rows,
        )
        body, link = self.body(label, body), next_link(self.heads.get("accounting"))
        unsigned = build_statement(self.pool, link, body, (self.t0 + ms) // 1000)
        return self.sign(label, self.keys.accounting, unsigned, "accounting")

    def statement(self, block: str, share: Mined, ms: int) -> VerifiedEvent:
        """Split a labelled block's reward, and remember what it holds."""
        event = super().statement(block, share, ms)
        label = next(name for name, known in self.events.items() if known is event)
        heads = {lane: head.seq for lane, head in self.cuts(share.t).items()}
        self.stated[label] = (share.job.offer, share.t, heads)
        return event

    def status(self, statement: str, status: str, ms: int) -> VerifiedEvent:
        """A status; what is orphaned holds nothing, until it comes back."""
        if status == "matured":
            self.undone.discard(statement)
        else:
            self.undone.add(statement)
        return super().status(statement, status, ms)


def tell_offers(
    change: Change | None = None,
    tamper: Mapping[str, Callable[[UnsignedEvent], UnsignedEvent]] | None = None,
    terms: TermsBody | None = None,
    before: Callable[[OffersLog], object] = lambda _: None,
) -> OffersLog:
    """Two lanes; three rounds of which the second is orphaned; a solo block that came too late to be credited; two
    periods, and a block of the offer that has them. `before`: told before the first statement.
    """
    log = OffersLog(change=change or {}, tamper=tamper or {})
    alice, bob = log.keys.alice, log.keys.bob
    log.terms(0, terms or replace(TERMS, offers=OFFERS))
    log.batch(0, 0, 10_000)
    log.batch(1, 0, 10_000)
    r, s = log.job("R", 10_500, (0, 1), offer="round"), log.job("S", 10_600, (0, 1), offer="lonely")
    p = log.job("P", 10_700, (0, 1), offer="steady")
    shares = [log.mine(r, alice, t) for t in (11_000, 12_000)] + [log.mine(s, bob, 13_000)]
    log.batch(0, 10_000, 20_000, [*shares, log.mine(p, alice, 15_000), log.mine(p, bob, 16_000, bits=HARD_BITS)])
    shares = [log.mine(r, bob, 11_500, bits=HARD_BITS), log.mine(s, alice, 14_000)]
    log.batch(1, 10_000, 20_000, [*shares, log.mine(p, bob, 17_000)])
    first = log.mine(r, bob, 25_000, block=True)
    log.batch(0, 20_000, 26_000, [first, log.mine(r, alice, 25_500)])
    alone = log.mine(s, alice, 28_000, block=True, status=LATE, bits=HARD_BITS)
    log.batch(1, 20_000, 30_000, [log.mine(r, alice, 24_000), log.mine(r, bob, 26_000), alone])
    log.batch(0, 26_000, 31_000)
    log.block("batch 0/2", first, 0)
    log.block("batch 1/2", alone, 2)
    before(log)
    log.statement("block 0", first, 35_000)
    log.statement("block 1", alone, 35_500)
    q = log.job("Q", 31_500, (0, 1), offer="round", tip=1)
    w = log.job("W", 31_600, (0, 1), offer="steady", tip=1)
    second = log.mine(q, alice, 38_000, block=True)
    log.batch(0, 31_000, 38_001, [log.mine(q, bob, 36_000), second])
    log.batch(1, 30_000, 40_000, [log.mine(q, bob, 37_000), log.mine(q, bob, 39_000), log.mine(w, alice, 39_999)])
    log.block("batch 0/4", second, 1)
    log.statement("block 2", second, 42_000)
    log.status("statement 2", "orphaned", 43_000)
    third, paid = log.mine(q, bob, 48_000, block=True), log.mine(w, bob, 47_000, block=True)
    log.batch(0, 38_001, 48_001, [log.mine(w, alice, 39_000), log.mine(w, alice, 40_001), paid, third])
    log.batch(1, 40_000, 50_000, [log.mine(q, alice, 45_000)])
    log.block("batch 0/5", third, 3)
    log.block("batch 0/5", paid, 2)
    log.period("steady", 40_000, 51_000)
    log.statement("block 3", third, 52_000)
    log.statement("block 4", paid, 52_000)
    log.status("statement 0", "matured", 53_000)
    log.status("statement 1", "matured", 53_500)
    log.zap(alice, log.row_msat("statement 1", alice) + log.row_msat("period 0", alice), 60_000)
    log.batch(0, 48_001, 101_000)
    log.batch(1, 50_000, 101_000)
    log.period("steady", 100_000, 102_000)
    return log
