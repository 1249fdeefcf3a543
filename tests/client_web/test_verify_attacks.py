"""A pool that would cheat, with all of its keys in hand: what both verifiers find of each way that was thought of.

Each log is told as the cheat would tell it, all signatures good and all chains whole; the notes are listed, too. What
the log alone can't show (SPEC.md, "What it answers") stands here with nothing found, so that nobody forgets it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nips.bolt11 import decode_invoice
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.chain import next_link
from nips.pool.kinds import JOB, WITHDRAWAL
from nips.pool.payout import PayoutBody
from nips.pool.settings import SettingsBody, build_settings
from nips.pool.settings_part import build_settings_part
from nips.pool.statement import Row, StatementBody
from nips.pool.terms import NEVER
from tests.accounting.conftest import KEYS, OFFER, POOL, T0, TERMS, LogBuilder, make_invoice, tell_story
from tests.accounting.offers_story import OffersLog, tell_offers
from tests.accounting.test_donations_told import CHEST, WITH_CHEST, give, put, settings
from tests.client_web.told_logs import Told, codes, judge_logs

AFTER_MS = 10**9
# Where the second verifier goes on to say what follows from the first finding (SPEC.md, "Verifying").
FOLLOWS = {"a lane left out of a statement, its work with it": {"statement-split", "statement-window"}}
FACTS = {"chain-facts"}
Tell = Callable[[], LogBuilder]
ATTACKS: dict[str, tuple[Tell, set[str]]] = {}


def attack(*found: str, facts: bool = True) -> Callable[[Tell], Tell]:
    """Tells one way, by its docstring, and what is found of it beside that the chain was not asked."""

    def add(tell: Tell) -> Tell:
        assert tell.__doc__ is not None
        ATTACKS[tell.__doc__] = tell, {*found, *(FACTS if facts else ())}
        return tell

    return add


def body(label: str, change: Callable[[Any], Any]) -> LogBuilder:
    return tell_story({label: change})


def moved(statement: StatementBody, msat: int) -> StatementBody:
    """The first row gets so much more, the fee pays it."""
    first, *rest = statement.rows
    return replace(statement, rows=(replace(first, msat=first.msat + msat), *rest), fee_msat=statement.fee_msat - msat)


# Rewards


@attack("statement-split")
def a_msat_of_a_row_to_the_fee() -> LogBuilder:
    """a msat of a row to the fee"""
    return body("statement 0", lambda each: moved(each, -1))


@attack("statement-split")
def what_rounding_leaves_to_a_friend() -> LogBuilder:
    """what rounding leaves to a friend"""
    return body("statement 0", lambda each: moved(each, 1))


@attack("statement-split")
def between_two_rows() -> LogBuilder:
    """a msat from one row to another"""

    def change(each: StatementBody) -> StatementBody:
        one, two, *rest = each.rows
        return replace(each, rows=(replace(one, msat=one.msat + 1), replace(two, msat=two.msat - 1), *rest))

    return body("statement 0", change)


@attack("statement-split")
def a_row_for_nobody() -> LogBuilder:
    """a row for somebody without work"""

    def change(each: StatementBody) -> StatementBody:
        rows = sorted((*each.rows, Row(KEYS.stranger.pubkey, 0, 1000)), key=lambda row: row.miner)
        return replace(each, rows=tuple(rows), fee_msat=each.fee_msat - 1000)

    return body("statement 0", change)


@attack("statement-reward", "statement-split")
def a_lower_reward() -> LogBuilder:
    """a block worth a satoshi less"""

    def change(each: StatementBody) -> StatementBody:
        reward = replace(each.reward, gross_msat=each.reward.gross_msat - 1000)
        return replace(each, reward=reward, fee_msat=each.fee_msat - 1000)

    return body("statement 0", change)


@attack("statement-heads")
def a_lane_left_out() -> LogBuilder:
    """a lane left out of a statement, its work with it"""
    whole = tell_story()

    def change(each: StatementBody) -> StatementBody:
        told = [share for share in whole.told if share.lane == 0 and share.t <= each.reward.end_ms]
        return split_over(each, told, {name: head for name, head in each.window.heads.items() if name.endswith("/0")})

    return body("statement 0", change)


@attack("statement-heads")
def a_lane_cut_early() -> LogBuilder:
    """a lane cut a batch too early"""
    whole = tell_story()

    def change(each: StatementBody) -> StatementBody:
        name = next(name for name in each.window.heads if name.endswith("/1"))
        told = [share for share in whole.told if share.t <= each.reward.end_ms and (share.lane, share.seq) < (1, 2)]
        return split_over(each, told, {**each.window.heads, name: whole.windows[1][1][2]})

    return body("statement 0", change)


def split_over(each: StatementBody, told: list[Any], heads: Any) -> StatementBody:
    """A statement over the newest of these shares alone, as the offer splits."""
    left, work, from_ms = OFFER.window_min_work, dict[str, int](), 0
    for share in sorted(told, reverse=True):
        if left:
            part = min(left, share.work)
            left, from_ms = left - part, share.t
            work[share.miner] = work.get(share.miner, 0) + part
    gross, total = each.reward.gross_msat, sum(work.values())
    pot = gross - gross * OFFER.fee_ppm // 1_000_000
    rows = tuple(Row(miner, own, pot * own // total) for miner, own in sorted(work.items()))
    window = replace(each.window, from_ms=from_ms, work=total, heads=heads)
    return replace(each, window=window, rows=rows, fee_msat=gross - sum(row.msat for row in rows))


@attack("statement-terms")
def by_newer_terms() -> LogBuilder:
    """a statement by newer terms than the block's job names"""
    names: list[str] = []

    def change(each: StatementBody) -> StatementBody:
        return replace(each, terms=names[0])

    # The second terms' id is known once they are signed; they come before the second statement.
    names.append(tell_story().events["terms 0"].id)
    return body("statement 1", change)


@attack("backdated")
def dated_before_its_block() -> LogBuilder:
    """a statement dated before its block"""
    return tell_story(tamper={"statement 0": lambda event: dated(event, -3600)})


def dated(event: UnsignedEvent, seconds: int) -> UnsignedEvent:
    return UnsignedEvent(event.kind, event.created_at + seconds, event.tags, event.content)


@attack("statement-overdue")
def taken_back() -> LogBuilder:
    """a statement taken back, and no other made"""
    log = tell_story()
    log.status("statement 1", "void", 70_000)
    return log


@attack("statement-split")
def made_again_otherwise() -> LogBuilder:
    """a statement taken back and made again otherwise"""
    log = tell_story()
    log.status("statement 0", "void", 70_000)
    log.change = {"statement 3": lambda _: moved(log.bodies["statement 0"], -5)}
    log.statement("block 0", block_share(log, 0), 71_000)
    return log


def block_share(log: LogBuilder, number: int) -> Any:
    """The mined share of a block, as far as a statement asks for it."""
    told = log.bodies[f"block {number}"]
    job = next(job for job in log.jobs.values() if job.id in _jobs_of(log, told.receipt) and job.height == told.height)
    t = log.bodies[f"statement {number}"].reward.end_ms
    return type("Found", (), {"job": job, "t": t, "miner": told.finder})()


def _jobs_of(log: LogBuilder, receipt: str) -> set[str]:
    event = next(each for each in log.all() if each.id == receipt)
    return {tag[1] for tag in event.tags if tag[0] == "e"}


@attack("reward-twice")
def stated_twice() -> LogBuilder:
    """a block stated twice"""
    log = tell_story()
    log.change = {"statement 3": lambda _: log.bodies["statement 0"]}
    log.statement("block 0", block_share(log, 0), 71_000)
    return log


@attack()
def called_an_orphan() -> LogBuilder:
    """a block of the chain called an orphan: that needs the chain's headers"""
    log = tell_story()
    log.status("statement 1", "orphaned", 70_000)
    return log


# Blocks


def revoke(log: LogBuilder) -> LogBuilder:
    """New terms leave the edge's key out, its lanes closed where they are."""
    lanes = {f"{KEYS.edge.pubkey}/{lane}": log.heads[str(lane)] for lane in (0, 1)}
    keys = tuple(pair for pair in TERMS.keys if pair[1] != "edge")
    log.terms(80_000, replace(TERMS, keys=keys, closed={**lanes, f"{KEYS.edge.pubkey}/*": NEVER}))
    return log


def kept(change: Callable[[Any], Any] | None, signer: SecretKey | None = None) -> LogBuilder:
    """A block that nothing is stated of, announced otherwise than it is, or not at all."""
    log = LogBuilder(change={"block 0": change} if change else {}, signers={"block 0": signer} if signer else {})
    log.terms(0, TERMS)
    for lane in (0, 1):
        log.batch(lane, 0, 10_000)
    share = log.mine(log.job("A", 10_500, (0, 1)), KEYS.alice, 11_000, block=True)
    log.batch(0, 10_000, 11_001, [share])
    if change or signer:
        log.block("batch 0/1", share, 0)
    log.batch(0, 11_001, 30_000)
    log.batch(1, 10_000, 30_000)
    return log


@attack("block-untold", facts=False)
def a_block_kept() -> LogBuilder:
    """a block never announced"""
    return kept(None)


@attack("block-mismatch", "block-untold", facts=False)
def a_block_told_wrong() -> LogBuilder:
    """a block announced for another height, so that none is announced"""
    return kept(lambda each: replace(each, height=each.height + 1))


@attack("closed-chain", "block-untold", facts=False)
def a_block_told_wrong_by_a_revoked_key() -> LogBuilder:
    """the same, and the key revoked since: its word is void, the block is not"""
    return revoke(kept(lambda each: replace(each, height=each.height + 1)))


@attack("closed-chain", "block-untold", facts=False)
def a_block_of_no_receipt() -> LogBuilder:
    """a block announced as of a receipt that there is not, and the key revoked since"""
    return revoke(kept(lambda each: replace(each, receipt="ab" * 32)))


@attack("wrong-key", "block-untold", facts=False)
def a_block_by_another_key() -> LogBuilder:
    """a block announced by the accounting's key"""
    return kept(None, KEYS.accounting)


@attack("statement-overdue")
def a_block_without_a_statement() -> LogBuilder:
    """a block announced, and no statement made"""
    return kept(lambda each: each)


# Work


@attack("unknown-version", "statement-not-recomputed")
def a_job_of_another_version() -> LogBuilder:
    """work on a job of another version of the protocol"""
    return tell_story(tamper={"job A": lambda event: respelt(event, '"v":1', '"v":2')})


@attack("malformed", "share-job", "statement-split", "statement-window")
def a_job_that_cannot_be_read() -> LogBuilder:
    """work on a job that can't be read"""
    return tell_story(tamper={"job A": lambda event: respelt(event, '"bind_size":32', '"bind_size":31')})


def respelt(event: UnsignedEvent, old: str, new: str) -> UnsignedEvent:
    assert old in event.content
    return UnsignedEvent(event.kind, event.created_at, event.tags, event.content.replace(old, new, 1))


@attack("upstream-binding", "statement-not-recomputed")
def a_job_of_an_upstream() -> LogBuilder:
    """work on a job that says it is an upstream's"""
    return tell_story(tamper={"job A": lambda event: respelt(event, '"v":1', '"v":1,"upstream":{}')})


@attack("job-height")
def a_job_for_a_later_block() -> LogBuilder:
    """work for a greater height on one block, to keep it out of rewards"""
    log = tell_story()
    one = log.job("tall", 60_500, (0,), tip=2)
    log.batch(0, 60_000, 62_000, [log.mine(one, KEYS.alice, 61_000)])
    log.change = {"job low": lambda job: replace(job, prevhash=one.prevhash)}
    low = log.job("low", 62_500, (0,), tip=3)
    log.batch(0, 62_000, 64_000, [log.mine(low, KEYS.alice, 63_000)])
    return log


@attack()
def a_job_on_a_made_up_block() -> LogBuilder:
    """work on a block that the chain has not, to keep it out of rewards: that needs the chain's headers"""
    log = tell_story()
    job = log.job("apart", 60_500, (0,), tip=900)
    log.batch(0, 60_000, 62_000, [log.mine(job, KEYS.alice, 61_000)])
    return log


@attack("share-twice", facts=False)
def a_share_in_two_lanes() -> LogBuilder:
    """a friend's share told in two lanes"""
    log = LogBuilder()
    log.terms(0, TERMS)
    for lane in (0, 1):
        log.batch(lane, 0, 10_000)
    share = log.mine(log.job("A", 10_500, (0, 1)), KEYS.alice, 11_000)
    for lane in (0, 1):
        log.batch(lane, 10_000, 20_000, [share])
    return log


@attack("lane-closed-early", "closed-chain")
def a_lane_closed_early() -> LogBuilder:
    """a lane closed below its work while its edge goes on"""
    log = tell_story()
    limits = replace(TERMS.limits, lane_grace_ms=600_000)
    log.terms(60_000, replace(TERMS, limits=limits))
    lane = f"{KEYS.edge.pubkey}/0"
    log.terms(61_000, replace(TERMS, limits=limits, closed={lane: log.heads["0"]}))
    job = log.job("on", 61_500, (0,), tip=2)
    log.batch(0, 60_000, 70_000, [log.mine(job, KEYS.alice, 62_000)])
    return log


@attack("after-fin")
def work_after_the_end() -> LogBuilder:
    """a lane ended for good, and work in it all the same"""
    log = tell_story()
    job = log.job("on", 60_500, (1,), tip=2)
    log.batch(1, 60_000, 70_000, [log.mine(job, KEYS.alice, 62_000)])
    return log


# Donations


def donation(*held: VerifiedEvent, named: int = 0, ppm: int = 15_000) -> OffersLog:
    """Settings put into the log one after another, and a donation by one of them."""

    def before(log: OffersLog) -> None:
        for number, each in enumerate(held):
            unsigned = build_settings_part(POOL, next_link(log.heads.get("accounting")), each, T0 // 1000 + 34)
            log.sign(f"settings {number}", KEYS.accounting, unsigned, "accounting")

    return tell_offers({"statement 0": give(held[named], ppm)}, None, WITH_CHEST, before)


def pledge(ppm: int, second: int, signer: SecretKey = KEYS.alice) -> VerifiedEvent:
    return signer.sign(build_settings(POOL.pubkey, SettingsBody(donation_ppm=ppm), T0 // 1000 + second))


@attack("statement-split")
def settings_that_were_replaced() -> LogBuilder:
    """a donation by settings that newer ones in the log had replaced"""
    return donation(pledge(15_000, 10), pledge(1, 20))


@attack()
def settings_in_force() -> LogBuilder:
    """a donation by the newest settings in the log is as it should be"""
    return donation(pledge(1, 10), pledge(15_000, 20), named=1)


@attack()
def settings_of_after() -> LogBuilder:
    """and so is one by the newest of before the block"""
    return donation(pledge(15_000, 20), pledge(1, 26))


@attack("statement-split")
def settings_of_the_same_second() -> LogBuilder:
    """a donation by settings of the higher id of two of one second"""
    two = sorted((pledge(15_000, 20), pledge(15_001, 20)), key=lambda event: event.id)
    ppm = 15_000 if two[1].id == pledge(15_000, 20).id else 15_001
    return donation(*two, named=1, ppm=ppm)


@attack("statement-split")
def settings_of_nobody() -> LogBuilder:
    """a donation without settings"""
    return tell_offers({"statement 0": give(settings())}, None, WITH_CHEST)


@attack("statement-split")
def a_donation_to_another() -> LogBuilder:
    """a donation to another than the terms name"""
    other = replace(WITH_CHEST, donate_to=KEYS.bob.pubkey)
    assert KEYS.bob.pubkey != CHEST
    return tell_offers({"statement 0": give(settings())}, None, other, put(settings()))


# Offers that pay by share


@attack("statement-split")
def a_msat_of_a_period() -> LogBuilder:
    """a period's row a msat less, called a fee"""
    return tell_offers({"period 0": lambda each: moved(each, -1)})


@attack("statement-reward", "statement-split")
def a_cheaper_period() -> LogBuilder:
    """a period's row a msat less, its reward with it"""

    def change(each: StatementBody) -> StatementBody:
        less = moved(each, -1)
        return replace(less, fee_msat=0, reward=replace(each.reward, gross_msat=each.reward.gross_msat - 1))

    return tell_offers({"period 0": change})


@attack("statement-overdue", "statement-reward")
def a_period_of_pplns() -> LogBuilder:
    """a period of an offer that has none"""
    return tell_offers({"period 1": lambda each: replace(each, offer="main")})


# Payouts


def paid(log: LogBuilder, *bodies: PayoutBody) -> LogBuilder:
    """More payouts, signed by the zapper."""
    count = sum(label.startswith("payout ") for label in log.events)
    log.change = {f"payout {count + number}": lambda _, each=each: each for number, each in enumerate(bodies)}
    for number in range(len(bodies)):
        log.zap(KEYS.bob, 1000, 70_000 + 1000 * number, receipt=False)
    return log


def payout(name: str, method: str, proof: dict[str, Any], msat: int = 1000, to: str = "00" * 32) -> PayoutBody:
    return PayoutBody(name, KEYS.bob.pubkey, msat, 0, to, method, proof)


@attack("payout-claimed", "payout-twice")
def an_output_twice() -> LogBuilder:
    """one output on chain for two payouts"""
    output = {"txid": "ab" * 32, "vout": 1}
    return paid(tell_story(), payout("one", "onchain", output), payout("two", "onchain", output))


@attack("payout-proof")
def an_output_that_is_none() -> LogBuilder:
    """a payout on chain that names no output"""
    return paid(tell_story(), payout("one", "onchain", {"txid": "ab" * 32, "vout": -1}))


@attack("payout-claimed")
def nothing_at_all() -> LogBuilder:
    """a payout that only the pool speaks of: claimed, and said so"""
    return paid(tell_story(), payout("one", "coinbase", {}))


def withdrawn(pool: str) -> LogBuilder:
    """An invoice paid that the miner has asked a pool for."""
    log, preimage = tell_story(), bytes(32)
    text = make_invoice(KEYS.provider, 1000, preimage, "x", T0 // 1000)
    assert decode_invoice(text).amount_msat == 1000
    content = f'{{"v":1,"method":"bolt11","amount_msat":1000,"bolt11":"{text}","expires":{T0 // 1000 + 99}}}'
    tags = (("a", f"34210:{pool}:regtest"), ("p", KEYS.zapper.pubkey))
    asked = log.sign("asked", KEYS.bob, UnsignedEvent(WITHDRAWAL, T0 // 1000, tags, content))
    proof = {"bolt11": text, "preimage": preimage.hex()}
    return paid(log, payout("one", "bolt11", proof, to=asked.id))


@attack()
def what_was_asked_of_this_pool() -> LogBuilder:
    """a withdrawal from this pool is proven"""
    return withdrawn(POOL.pubkey)


@attack("payout-claimed")
def what_was_asked_of_another_pool() -> LogBuilder:
    """a withdrawal that another pool paid"""
    return withdrawn(KEYS.stranger.pubkey)


@attack("payout-twice")
def one_payment_twice() -> LogBuilder:
    """one payment for two payouts"""
    log = tell_story()
    return paid(log, replace(log.bodies["payout 1"], payout_id="again"))


@attack("payout-proof")
def more_than_the_invoice() -> LogBuilder:
    """a payout of a msat more than its invoice"""
    return body("payout 1", lambda each: replace(each, amount_msat=each.amount_msat + 1))


@attack("payout-proof")
def to_another() -> LogBuilder:
    """a payout to one miner that is another's"""
    return body("payout 1", lambda each: replace(each, miner=KEYS.alice.pubkey))


@attack("overpaid")
def to_and_fro() -> LogBuilder:
    """a reward that goes to and fro, paid each time"""
    log = tell_story()
    for number, said in enumerate(("orphaned", "matured", "orphaned", "matured")):
        log.status("statement 0", said, 70_000 + 1000 * number)
    both = log.row_msat("statement 0", KEYS.alice) + log.row_msat("statement 1", KEYS.alice)
    log.zap(KEYS.alice, both, 74_500)
    return log


@attack("overpaid")
def more_than_matured() -> LogBuilder:
    """a payment of what has not matured, to a friend"""
    log = tell_story()
    log.zap(KEYS.alice, log.row_msat("statement 1", KEYS.alice) + 1000, 70_000)
    return log


@attack("payout-claimed", "payout-reversal")
def more_back_than_paid() -> LogBuilder:
    """more that came back than was paid"""
    log = tell_story()
    name = log.bodies["payout 1"].payout_id
    back = replace(payout("back", "zap", {}, msat=-1_000_001), reverses=name)
    return paid(log, back)


def charged(*limits: tuple[int, int] | None, fee_msat: int = 1001) -> LogBuilder:
    """A fee that a miner bears, on 1,000,000 msat, under terms with these limits."""

    def bears(number: int) -> Callable[[Any], Any]:
        payouts = replace(TERMS.payouts, network_fee="miner", max_fee=limits[number])
        return lambda each: replace(each, payouts=payouts)

    fee = {"payout 1": lambda each: replace(each, network_fee_msat=fee_msat)}
    return tell_story({"terms 0": bears(0), "terms 1": bears(1), **fee})


@attack("payout-claimed", "payout-fee")
def a_fee_too_high() -> LogBuilder:
    """a network fee of a msat more than the terms allow"""
    return charged((1, 1000), (1000, 999))


@attack("payout-claimed")
def a_fee_that_is_allowed() -> LogBuilder:
    """a network fee as high as older terms allow: claimed"""
    return charged((1001, 1), (1, 1))


@attack("payout-claimed")
def a_fee_without_limit() -> LogBuilder:
    """a network fee under terms that set no limit: claimed"""
    return charged(None, (1, 1))


# Keys


def inherited(chosen: SecretKey) -> LogBuilder:
    """The accounting's key is replaced, its chain closed; the heir makes again what that one took back."""
    log = tell_story()
    log.status("statement 0", "void", 67_000)
    closed = {f"{KEYS.accounting.pubkey}/accounting": log.heads["accounting"], f"{KEYS.accounting.pubkey}/*": NEVER}
    keys = tuple((chosen.pubkey if role == "accounting" else key, role) for key, role in TERMS.keys)
    log.terms(68_000, replace(TERMS, keys=keys, closed=closed))
    log.keys = log.keys._replace(accounting=chosen)
    del log.heads["accounting"]
    log.change = {"statement 3": lambda _: log.bodies["statement 0"]}
    log.statement("block 0", block_share(log, 0), 70_000)
    log.status("statement 3", "matured", 71_000)
    return log


def heirs() -> list[SecretKey]:
    """A key that sorts before the accounting's, and one that sorts after it."""
    some = [SecretKey(bytes([number]) * 32) for number in range(1, 20)]
    lower = next(key for key in some if key.pubkey < KEYS.accounting.pubkey)
    return [lower, next(key for key in some if key.pubkey > KEYS.accounting.pubkey)]


@attack()
def an_heir_that_sorts_before() -> LogBuilder:
    """an honest heir makes again what the old key took back, its key the lower one"""
    return inherited(heirs()[0])


@attack()
def an_heir_that_sorts_after() -> LogBuilder:
    """the same, its key the higher one"""
    return inherited(heirs()[1])


@attack("wrong-key")
def terms_by_another_key() -> LogBuilder:
    """terms that the edge's key signed"""
    log = tell_story()
    event = log.events["terms 1"]
    log.sign("forged terms", KEYS.edge, UnsignedEvent(event.kind, event.created_at, event.tags, event.content))
    return log


@attack("malformed")
def of_two_pools() -> LogBuilder:
    """an event that names two pools"""
    log = tell_story()
    event = log.events["job A"]
    tags = (*event.tags, ("a", f"34210:{KEYS.bob.pubkey}:regtest"))
    log.sign("of two pools", KEYS.edge, UnsignedEvent(JOB, event.created_at, tags, event.content))
    return log


@pytest.fixture(scope="module")
def reports(node: str) -> dict[str, tuple[Any, Any, set[str]]]:
    logs = [
        Told(name, log.pool, log.t0 + AFTER_MS, log.all())
        for name, log in ((name, tell()) for name, (tell, _) in ATTACKS.items())
    ]
    found = judge_logs(node, logs)
    return {log.label: (ours, log.audit(), ATTACKS[log.label][1]) for log, ours in zip(logs, found, strict=True)}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack(reports: dict[str, tuple[Any, Any, set[str]]], name: str) -> None:
    ours, theirs, expected = reports[name]
    here, there = codes(ours["findings"], notes=True), codes(theirs["findings"], notes=True)
    assert there == expected
    assert here - FOLLOWS.get(name, set()) == expected
    assert ours["holds"] is theirs["holds"]
    if theirs["holds"]:
        assert ours["miners"] == theirs["miners"]
        assert ours["payouts"] == theirs["payouts"]
