"""A pool that pays loyalty, told event by event over midnight: two miners, one of whom attested its device."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.attestation import AttestationBody, build_attestation
from nips.pool.attestation_part import build_attestation_part
from nips.pool.binding import BoundWork
from nips.pool.chain import next_link
from nips.pool.job import Job
from nips.pool.receipt import Session, ShareRecord
from nips.pool.statement import StatementBody
from nips.pool.targets import share_bits_from_difficulty, target_from_bits, work_from_bits
from nips.pool.terms import Loyalty, Model, Offer, TermsBody
from tests.accounting.conftest import GROSS_SAT, HARD_BITS, KEYS, POOL, SHARE_BITS, T0, TERMS, LogBuilder, Mined

RULES = Loyalty(250_000, full_hours=4, full_days=2, hardware={"axe": Model(1, 1250)})
OFFERS = {
    "main": Offer(fee_ppm=10_000, window_min_work=1_000_000, loyalty=RULES),
    # A window that all fits in is what a round counts.
    "round": Offer("prop", 20_000, window_min_work=1_000_000, loyalty=replace(RULES, part_ppm=100_000)),
    "lonely": Offer("solo", 5_000, loyalty=RULES),
}
# 2^17 hashes: over a day one a second, and a half.
DAY_BITS = share_bits_from_difficulty(Fraction(1, 1 << 15))
# A block is twice as hard, so that the share is none.
SOLVED_BITS = share_bits_from_difficulty(Fraction(1, 1 << 14))
LOYAL_TERMS = replace(TERMS, offers=OFFERS, limits=replace(TERMS.limits, block_bits=SOLVED_BITS))
# The day of T0 ends 6,400 s after it.
MIDNIGHT = 6_400_000
_MINED: dict[tuple[Any, ...], tuple[Mined, int]] = {}


class LoyalLog(LogBuilder):
    """Mines a share once for all logs that tell it alike."""

    def mine(self, job: Job, miner: SecretKey, ms: int, **how: Any) -> Mined:
        key = (job.id, miner.pubkey, ms, self.nonce, *sorted(how.items()))
        if key not in _MINED:
            _MINED[key] = self._mine(self.honest.get(job.id, job), job, miner, ms, **how), self.nonce
        mined, self.nonce = _MINED[key]
        return mined

    def counted(self, offer: Offer, block: Mined) -> tuple[dict[str, int], int]:
        """Work by miner and the oldest share's time; one round of prop."""
        if offer.scheme == "solo":
            return {block.miner: work_from_bits(block.session.share_bits)}, block.t
        return super().counted(offer, block)

    def _mine(
        self, honest: Job, job: Job, miner: SecretKey, ms: int, worker: str = "rig", bits: int = SHARE_BITS, **how: Any
    ) -> Mined:
        work = BoundWork(honest, miner.pubkey, bits, bytes(4))
        solved = target_from_bits(SOLVED_BITS)
        low, high = (0, solved) if how.get("block") else (solved + 1, target_from_bits(bits))
        ntime, version, digest = job.ntime + 1, job.version | 0x2000, -1
        while not low <= digest <= high:
            self.nonce += 1
            extra = self.nonce.to_bytes(8, "big")
            digest = int.from_bytes(work.hash(extra, ntime, self.nonce, version), "little")
        record = ShareRecord(0, 0, 0, 0, ntime, self.nonce, version, extra)
        return Mined(job, Session(0, worker, bytes(4), bits), miner.pubkey, T0 + ms, record)


def attest(
    signer: SecretKey = KEYS.alice, second: int = T0 // 1000 + 60, worker: str = "axe", model: str = "axe", hs: int = 1
) -> VerifiedEvent:
    body = AttestationBody(worker, model, "1.0", hs, "00" * 32)
    return signer.sign(build_attestation(POOL, body, second))


def weigh(body: StatementBody, factors: Mapping[str, int], part_ppm: int, fee_ppm: int) -> StatementBody:
    """The statement with its bonuses; `factors`: M of each miner, in thousandths of a millionth."""
    pot = sum(GROSS_SAT) * 1000 * fee_ppm // 1_000_000 * part_ppm // 1_000_000
    weights = {row.miner: row.work * (factors[row.miner] - 10**9) for row in body.rows}
    total = sum(weights.values())
    given = {miner: pot * weight // total for miner, weight in weights.items()}
    rows = tuple(replace(row, msat=row.msat + given[row.miner], bonus_msat=given[row.miner]) for row in body.rows)
    return replace(body, rows=rows, fee_msat=body.fee_msat - sum(given.values()))


# Alice: two of four hours, one of two days, her device; Bob the hours alone.
FACTORS = {KEYS.alice.pubkey: 1250 * 1500 * 1250, KEYS.bob.pubkey: 1000 * 1500 * 1000}


def tell_loyal(
    change: Mapping[str, Callable[[Any], Any]] | None = None,
    tamper: Mapping[str, Callable[[UnsignedEvent], UnsignedEvent]] | None = None,
    terms: TermsBody = LOYAL_TERMS,
    attested: tuple[VerifiedEvent, ...] = (attest(),),
    factors: Mapping[str, int] = FACTORS,
) -> LoyalLog:
    """A block of each scheme with a bonus, a day's work before them."""
    log = LoyalLog(change=dict(change or {}), tamper=tamper or {})
    alice, bob = log.keys.alice, log.keys.bob
    log.terms(0, terms)
    log.batch(0, 0, 10_000)
    log.batch(1, 0, 10_000)
    a = log.job("A", 10_500, (0, 1))
    log.batch(0, 10_000, 20_000, [log.mine(a, alice, 11_000, worker="axe", bits=DAY_BITS)])
    log.batch(1, 10_000, 20_000, [log.mine(a, bob, 12_000, bits=HARD_BITS)])
    for lane in (0, 1):
        log.batch(lane, 20_000, MIDNIGHT + 10_000)
    b, r = log.job("B", MIDNIGHT + 10_500, (0, 1)), log.job("R", MIDNIGHT + 10_600, (0, 1), offer="round")
    s = log.job("S", MIDNIGHT + 10_700, (0, 1), offer="lonely")
    start = MIDNIGHT + 10_000
    main, rnd = log.mine(b, bob, start + 4_000, block=True), log.mine(r, alice, start + 6_000, worker="axe", block=True)
    alone = log.mine(s, bob, start + 7_000, block=True)
    log.batch(
        0,
        start,
        start + 10_000,
        [log.mine(b, alice, start + 3_000, worker="axe"), main, log.mine(r, bob, start + 5_000), rnd, alone],
    )
    log.batch(1, start, start + 10_000, [log.mine(b, alice, start + 2_000, worker="axe", bits=SHARE_BITS)])
    for number, share in ((1, main), (3, rnd), (4, alone)):
        log.block("batch 0/3", share, number)
    for number, event in enumerate(attested):
        link, second = next_link(log.heads.get("accounting")), (T0 + start) // 1000 + 14
        unsigned = build_attestation_part(POOL, link, [event], second)
        log.sign(f"attested {number}", KEYS.accounting, unsigned, "accounting")
    changed = log.change
    for number, share in enumerate((main, rnd, alone)):
        label, then = f"statement {number}", changed.get(f"statement {number}", lambda body: body)
        offer = OFFERS[share.job.offer]
        assert offer.loyalty is not None
        rules = offer.loyalty
        log.change = {
            **changed,
            label: lambda body, rules=rules, offer=offer, then=then: then(
                weigh(body, factors, rules.part_ppm, offer.fee_ppm)
            ),
        }
        log.statement(f"block {number}", share, start + 15_000)
    return log
