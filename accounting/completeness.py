"""The end of an audit: there is no more to read, so what still waits, or should be there by now, becomes a finding."""

from collections.abc import Callable, Iterator
from heapq import nsmallest
from itertools import islice

from accounting.announced import Solved
from accounting.facts import CLAIMED, Fact
from accounting.findings import Code, Finding, finding
from accounting.lanes import Lane
from accounting.log import PoolLog
from accounting.overlaps import counted_twice
from accounting.rewards import may_leave_out, may_leave_out_of_period
from accounting.shares import RATIO_BITS
from nips.pool.archive import Archive
from nips.pool.chain import Head
from nips.pool.hashing import display, sha256d

# A 4213 follows its batch at once; a minute covers a relay that is slow to take it.
BLOCK_GRACE_MS = 60_000
# A batch is on its way as soon as a job names it; a minute covers a relay that takes one lane's later than another's.
BATCH_GRACE_MS = 60_000
# Below 200 shares a miner's luck says nothing; at 6 standard deviations chance is one in a billion.
LUCK_SHARES = 200
LUCK_SIGMAS = 6
# A summary finding names this many events, not all.
EXAMPLES = 10


def complete(log: PoolLog, now_ms: int | None, look_at: Callable[[list[Fact]], None] | None = None) -> None:
    """Process what waits for something that did not come, each time saying what; then look for what is overdue.

    `now_ms` (Unix ms) decides what is overdue; None: nothing is. `look_at` is given the new facts.
    """
    look_at = look_at or (lambda _: None)
    look_at(log.settle())
    for chain in log.chains():
        chain.give_up_line()
    while _force(log):
        look_at(log.settle())
    for check in (
        _unread,
        lambda log: _unsealed(log, now_ms),
        _heights,
        _found_later,
        _heads_left_out,
        counted_twice,
        _archives,
        _keys_left_open,
        _closed_early,
        _luck,
        _payouts,
        _not_checked,
    ):
        for found in check(log):
            log.report(found)
    if now_ms is not None:
        for found in overdue(log, now_ms):
            log.report(found)


def _force(log: PoolLog) -> bool:
    """Let one event past what it waits for, in an order that does not depend on how the log was read."""
    terms = log.terms.chain.skip_to()
    if terms is not None:
        log.adopt(terms)
        return True
    for lane_key in sorted(log.lanes):
        if lane_key.edge in log.terms.roles["edge"] and _force_lane(log, log.lanes[lane_key]):
            return True
    for key in sorted(log.accounting):
        chain = log.accounting[key]
        if key in log.terms.roles["accounting"] and (event := chain.peek() or chain.skip_to()) is not None:
            log.enter(chain, event)
            return True
    for key in sorted(log.payouts):
        paid = log.payouts[key]
        if key in log.terms.roles["zapper"] and (payout := paid.skip_to()) is not None:
            log.pay(paid, payout)
            return True
    return False


def _force_lane(log: PoolLog, lane: Lane) -> bool:
    receipt = lane.chain.peek() or lane.chain.skip_to()
    if receipt is None:
        return False
    for job_id in log.mining.lacks(receipt):
        terms = log.mining.waits_for_terms(job_id)
        if terms is None:
            log.report(finding(Code.MISSING_JOB, f"job {job_id}", job_id, receipt.id))
        else:
            log.report(finding(Code.MISSING_TERMS, f"terms {terms}", terms, job_id, receipt.id))
    log.mining.accept(lane, receipt)
    return True


def _unread(log: PoolLog) -> Iterator[Finding]:
    """Events that found no place: of strangers, of keys without the role, blocks without a receipt."""
    if not log.terms_by_id:
        yield finding(Code.NOTHING_FOUND, f"no terms of {log.pool} were read")
        return
    first = next(iter(log.terms_by_id.values()))
    if first.link.seq:
        yield finding(Code.MISSING_TERMS, "the first terms", first.id)
    for chain in log.chains():
        key = chain.pubkey
        if key not in log.terms.roles[_role(chain.name)]:
            for event in sorted(chain.waiting_ids):
                yield _wrong_key(log, key, event)
    # What was read and is void names its event last.
    void = {found.events[-1] for found in log.findings if found.code is Code.CLOSED_CHAIN}
    for block in sorted(log.mining.announced.waiting.values(), key=lambda block: block.id):
        if block.signer not in log.terms.roles["edge"]:
            yield _wrong_key(log, block.signer, block.id)
            continue
        if block.receipt in void:
            text = f"block {block.block} stands in a batch beyond its lane's end"
            yield finding(Code.CLOSED_CHAIN, text, block.receipt, block.id)
            continue
        text = f"the receipt of block {block.block}"
        yield finding(Code.MISSING_RECEIPT, text, block.receipt, block.id, key=block.signer)
    strangers = len(log.parked) + log.parked.let_go
    if strangers:
        text = f"{strangers} events that no key of the pool signed"
        yield finding(Code.STRANGER, text, *nsmallest(EXAMPLES, log.parked.ids()))
    for chain in log.chains():
        end = chain.closed
        if chain.head is not None and end is not None and not chain.is_ended:
            text = f"{chain.name} is closed at {end.seq}, read up to {chain.head.seq}"
            yield finding(Code.GAP, text, chain.head.id, end.id)


def _wrong_key(log: PoolLog, key: str, event: str) -> Finding:
    text = f"{key} is {' and '.join(log.terms.roles_of(key))}, which may not sign this"
    return finding(Code.WRONG_KEY, text, event, key=key)


def _role(name: str) -> str:
    """The role that may write a chain `<pubkey>/<chain>`."""
    return {"accounting": "accounting", "payouts": "zapper"}.get(name.partition("/")[2], "edge")


def _unsealed(log: PoolLog, now_ms: int | None) -> Iterator[Finding]:
    """Heads that used jobs name, of other lanes or past a gap: each must be a batch of its lane."""
    for job, key, head in sorted(log.mining.sealed):
        lane = log.lanes.get(key)
        if lane is not None and (lane.has(head) or lane.chain.has_accepted(head)):
            continue
        if now_ms is not None and _is_on_its_way(log, job, lane, now_ms):
            continue
        text = f"the batch of lane {key} that a job names"
        yield finding(Code.MISSING_BATCH, text, job, head)


def _is_on_its_way(log: PoolLog, job: str, lane: Lane | None, now_ms: int) -> bool:
    """Whether a head that a job names may just not have come yet: lanes are published side by side, so that a batch of
    one may be read before the batch of another that its job was made upon.
    """
    made = log.mining.read_jobs.get(job)
    if made is None or now_ms > made.ms + BATCH_GRACE_MS:
        return False
    return lane is None or (not lane.ended and lane.watermark_ms <= made.ms)


def _heights(log: PoolLog) -> Iterator[Finding]:
    """What is mined on one block has one height. A greater one would keep a miner's work out of the rewards it belongs
    to, and it needs no headers to see.
    """
    for prevhash in sorted(log.mining.unlike_heights):
        by_height = log.mining.heights[prevhash]
        told = sorted(by_height)[:EXAMPLES]
        text = f"on {prevhash}, for heights {' and '.join(map(str, told))}"
        yield finding(Code.JOB_HEIGHT, text, *(by_height[height] for height in told))


def _solutions(log: PoolLog) -> Iterator[tuple[str, Solved]]:
    """Every share that solves its job's block, with its receipt."""
    return ((key.partition("/")[0], solved) for key, solved in log.mining.announced.solutions.scan())


def _found_later(log: PoolLog) -> Iterator[Finding]:
    """A block's share told again, at a later time, is no later block: its window ends when it was first told."""
    for receipt, solved in _solutions(log):
        solution, index = solved.solution, solved.solution.number
        block = log.blocks.get(display(sha256d(solution.header)))
        if block is not None and solution.t < block.found_ms:
            text = f"share {index} of a batch is block {block.block.block}, announced as found {block.found_ms} "
            text += f"and told at {solution.t}"
            yield finding(Code.BLOCK_MISMATCH, text, block.block.id, receipt, miner=solution.miner)


def _heads_left_out(log: PoolLog) -> Iterator[Finding]:
    """A statement names every lane that had work for it, or the lane came too late."""
    for _, reward in log.books.rewards.scan():
        statement = reward.statement
        held = log.statements.earlier.snapshot(statement.id)
        block, end_ms, offer = log.blocks.get(statement.reward.block), statement.reward.end_ms, statement.offer
        if block is not None:
            end_ms, offer = block.found_ms, block.offer
        elif statement.reward.block:
            continue
        for key, lane in log.lanes.in_order():
            first = lane.first
            if str(key) in statement.window.heads or first.from_ms > end_ms:
                continue
            if block is None:
                left_out = may_leave_out_of_period(lane, statement, held)
            else:
                left_out = may_leave_out(lane, statement, block, held)
            # A lane that was only just opened wronged nobody.
            # To a bonus all work counts, of whatever offer.
            of = None if block is not None and block.pays_loyalty else offer
            if left_out or not lane.has_work(of, end_ms):
                continue
            late = first.created_at > statement.created_at
            code = Code.LATE_LANE if late else Code.STATEMENT_HEADS
            yield finding(code, f"lane {key} is not in the statement's heads", statement.id, first.id)


def _archives(log: PoolLog) -> Iterator[Finding]:
    """The newest event of each chain that an archive names: it is the chain's, and of the archive's time. One finding
    an archive.
    """
    for name, archive in log.archives.scan():
        chain = log.accounting.get(archive.signer)
        if chain is not None and chain.accepted_id(archive.link.seq) == name:
            found = (_archived(log, archive, named, head) for named, head in sorted(archive.heads.items()))
            yield from islice((each for each in found if each is not None), 1)


def _archived(log: PoolLog, archive: Archive, name: str, head: Head) -> Finding | None:
    end, chain, pubkey = log.terms.end_of(name), log.chain(name), name.partition("/")[0]
    if pubkey not in log.terms.all_keys():
        return finding(Code.ARCHIVE, f"{name} is a chain of none of the pool's keys", archive.id)
    if (end is not None and head.seq > end.seq) or log.terms.is_left_out(pubkey):
        # What it names is void since, or the word of a thief.
        return None
    accepted = None if chain is None else chain.accepted_id(head.seq)
    if accepted is None:
        text = f"{name} {head.seq}, which an archive names, was not read"
        return finding(Code.GAP, text, archive.id, head.id)
    if accepted != head.id:
        return finding(Code.ARCHIVE, f"{name} {head.seq} is not the event that it names", accepted, head.id, archive.id)
    if not archive.from_s <= log.ids.get(accepted, archive.from_s) < archive.to_s:
        return finding(Code.ARCHIVE, f"{name} {head.seq} is dated outside of its time", accepted, archive.id)
    return None


def _keys_left_open(log: PoolLog) -> Iterator[Finding]:
    """A key that the newest terms leave out must have its chains closed."""
    newest = log.terms.newest()
    if newest is None:
        return
    for chain in log.chains():
        held = newest.body.keys_of(_role(chain.name))
        if chain.head is not None and chain.closed is None and chain.pubkey not in held:
            yield finding(Code.KEY_NOT_CLOSED, f"the newest terms leave {chain.name} open", newest.id, chain.head.id)


def _closed_early(log: PoolLog) -> Iterator[Finding]:
    """A lane that terms closed before its grace was over, though it lived on: a batch beyond its end is dated after
    those terms. Sooner is for lanes whose journal is lost or whose key is not trusted any more: neither goes on.
    """
    beyond: dict[str, list[str]] = {}
    for found in log.findings:
        # What lies beyond an end names that end first, and itself last.
        if found.code is Code.CLOSED_CHAIN and len(found.events) > 1:
            beyond.setdefault(found.events[0], []).append(found.events[-1])
    grace_ms: int | None = None
    told: set[str] = set()
    for terms in log.terms_by_id.values():
        for name, end in sorted(terms.body.closed.items()):
            lane = log.lanes.find(name)
            if lane is None or end.id not in beyond or end.id in told or log.terms.end_of(name) != end:
                continue
            told.add(end.id)
            last = lane.find(end.id)
            kept = lane.key.edge in terms.body.keys_of("edge")
            if last is None or grace_ms is None or not kept or terms.created_at * 1000 >= last.to_ms + grace_ms:
                continue
            later = sorted(event for event in beyond[end.id] if log.ids.get(event, 0) > terms.created_at)
            if later:
                text = (
                    f"lane {name} ended at {last.to_ms} and was closed {terms.created_at * 1000 - last.to_ms} ms later,"
                )
                text = f"{text} {grace_ms} ms are its grace; {len(later)} batches after it are void"
                yield finding(Code.LANE_CLOSED_EARLY, text, terms.id, end.id, *later[:EXAMPLES])
        grace_ms = terms.body.limits.lane_grace_ms


def _luck(log: PoolLog) -> Iterator[Finding]:
    """A miner's hash / target is uniform in (0, 1], unless it was given harder work than it is credited for.

    The sum of n such ratios has mean n/2 and variance n/12; all in integers: 12 (2 sum - n)^2 > 4 sigma^2 n.
    """
    for miner, sums in sorted(log.mining.totals.miners.items()):
        count, total = sums.shares, sums.ratios
        unit = 1 << RATIO_BITS
        off = 2 * total - count * unit
        if count >= LUCK_SHARES and 12 * off * off > 4 * LUCK_SIGMAS**2 * count * unit * unit:
            text = f"hash / target of {count} shares is {1000 * total // (count * unit)}/1000 on average, 500 expected"
            yield finding(Code.HARDER_WORK, text, miner=miner)


def _payouts(log: PoolLog) -> Iterator[Finding]:
    yield from log.books.overpaid()
    yield from log.books.wrong_reversals()
    claimed = log.books.grade_counts().get(CLAIMED, 0)
    if claimed:
        text = f"{claimed} of {len(log.books.grades)} payouts are claimed, neither proven nor attested"
        first = islice((event for event, grade in log.books.grades.scan() if grade == CLAIMED), EXAMPLES)
        yield finding(Code.PAYOUT_CLAIMED, text, *first)
    if log.books.fees_borne_msat:
        yield from _fees(log)
        text = f"{log.books.fees_borne_msat} msat of network fees, which miners bore, are the pool's word"
        first = islice((event for event, paid in log.books.payouts.scan() if paid.fee_msat), EXAMPLES)
        yield finding(Code.PAYOUT_CLAIMED, text, *first)


def _fees(log: PoolLog) -> Iterator[Finding]:
    """Fees that miners bore are the pool's word, but none passes the most that terms up to its date allow."""
    for event, paid in log.books.payouts.scan():
        payout, fee_msat = paid.payout, paid.fee_msat
        limit = log.terms.most_fee_msat(payout.created_at, abs(payout.amount_msat)) if fee_msat > 0 else None
        if limit is not None and fee_msat > limit:
            text = f"{fee_msat} msat of fees on {payout.amount_msat} msat, {limit} allowed"
            yield finding(Code.PAYOUT_FEE, text, event, miner=payout.miner)


def _not_checked(log: PoolLog) -> Iterator[Finding]:
    if log.blocks:
        text = f"{len(log.blocks)} blocks: the work is checked, their place in the chain is not"
        yield finding(Code.CHAIN_FACTS, text)


def overdue(log: PoolLog, now_ms: int) -> Iterator[Finding]:
    """Blocks that nobody announced, and announced ones without a statement in time, at a time (Unix ms)."""
    # A 4213 that does not hold announces nothing, whoever signed it: else it would let the pool keep a block.
    for receipt, solved in _solutions(log):
        solution = solved.solution
        block = display(sha256d(solution.header))
        # One that came too late to be credited may be the chain's all the same.
        if now_ms <= solved.created_at * 1000 + BLOCK_GRACE_MS or block in log.blocks:
            continue
        text = f"share {solution.number} of its receipt is block {block}"
        yield finding(Code.BLOCK_UNTOLD, text, receipt, miner=solution.miner)
    for block, seen in log.blocks.scan():
        if log.books.standing(block) is not None:
            continue
        limits, behind = seen.terms.body.limits, log.lanes.behind(seen.found_ms)
        if behind is not None:
            # A lane that falls silent must not hold up its statements for good: the pool may close it after its grace.
            if now_ms > seen.found_ms + limits.silence_ms + limits.statement_ms:
                text = f"block {block}, found at {seen.found_ms}, waits for lane {behind}, which is silent since"
                text = f"{text} {log.lanes[behind].watermark_ms}"
                yield finding(Code.STATEMENT_OVERDUE, text, seen.block.id, miner=seen.block.finder)
            continue
        known_ms = max(batch.created_at for batch in log.lanes.cuts(seen.found_ms).values()) * 1000
        if now_ms > known_ms + limits.statement_ms:
            text = f"block {block}, whose work was known at {known_ms}"
            yield finding(Code.STATEMENT_OVERDUE, text, seen.block.id, miner=seen.block.finder)
    yield from overdue_periods(log, now_ms)


def overdue_periods(log: PoolLog, now_ms: int) -> Iterator[Finding]:
    """Offers that pay by share, and have work of a period that is over without a statement in time, at a time (Unix
    ms), or whose statement was made void and is not made again. One for each offer: its oldest.
    """
    chains = [chain for chain in log.accounting.values() if chain.head is not None and chain.closed is None]
    signers = sorted(chains, key=lambda chain: (chain.created_at, chain.pubkey))
    signer = signers[-1].pubkey if signers else ""
    for offer in log.terms.period_offers():
        # Later periods may hold its work: nobody would miss it else.
        again = next(
            (
                (body, terms, voided_s)
                for body, terms, voided_s in log.statements.overdue_again(offer, signer, now_ms // 1000)
                if now_ms > voided_s * 1000 + terms.body.limits.statement_ms
                and log.books.standing(body.reward_key) is None
            ),
            None,
        )
        if again is not None:
            body, terms, voided_s = again
            text = (
                f"the period to {body.reward.end_ms} of offer {offer[:32]!r}, whose statement is void since {voided_s}"
            )
            yield finding(Code.STATEMENT_OVERDUE, text, terms.id)
            continue
        due = log.statements.overdue_period(offer, signer, now_ms // 1000)
        if due is None:
            continue
        terms, to_ms = due
        limits, behind = terms.body.limits, log.lanes.behind(to_ms)
        text = f"the period to {to_ms} of offer {offer[:32]!r}"
        if behind is not None:
            if now_ms > to_ms + limits.silence_ms + limits.statement_ms:
                text = f"{text} waits for lane {behind}, which is silent since {log.lanes[behind].watermark_ms}"
                yield finding(Code.STATEMENT_OVERDUE, text, terms.id)
            continue
        known_ms = max(batch.created_at for batch in log.lanes.cuts(to_ms).values()) * 1000
        if now_ms > known_ms + limits.statement_ms:
            yield finding(Code.STATEMENT_OVERDUE, f"{text}, whose work was known at {known_ms}", terms.id)
