"""A stranger's audit: the whole log, from relays alone, judged claim by claim.

It runs on the same fold as the pool's own accounting (accounting.log), then says what is missing or overdue
(accounting.completeness). Nothing here reads a clock, a socket or anybody's word.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from accounting.completeness import complete
from accounting.facts import Fact, StatementSeen, StatusSeen
from accounting.findings import Code, finding
from accounting.log import PoolLog
from accounting.report import CLAIMS, ClaimRow, MinerRow, Report, claim_row
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress


class Unverified(NamedTuple):
    """Something a relay served that is no verified event. `kind` and `of_pool`, as far as they could be read: whether
    it gave itself out as an event of the audited pool's log.
    """

    relay: str
    id: str | None
    reason: str
    of_pool: bool = True


def audit(
    events: Iterable[VerifiedEvent],
    unverified: Sequence[Unverified],
    pool: PoolAddress,
    *,
    now_ms: int | None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Judge a pool's log. `events` in any order, of any pool; `now_ms` (Unix ms) decides what is overdue (None: nothing
    is); `progress` is told the shares of each batch as they are checked.
    """
    log = PoolLog(pool, progress)
    read = 0
    for event in events:
        read += 1
        log.add(event)
    for bad in unverified:
        code = Code.BAD_SIGNATURE if bad.of_pool else Code.JUNK
        log.report(finding(code, f"{bad.relay}: {bad.reason}", *([bad.id] if bad.id else [])))
    facts = complete(log, now_ms)
    batches = [batch for _, lane in log.lanes.in_order() for batch in lane.batches]
    return Report(
        pool=str(pool),
        from_ms=min((batch.from_ms for batch in batches), default=0),
        to_ms=max((batch.to_ms for batch in batches), default=0),
        claims=_claims(log, facts, read, len(unverified)),
        findings=tuple(sorted(log.findings, key=lambda found: (found.grade, found.code, found.events, found.text))),
        miners=_miners(log),
        grades={
            grade: list(log.books.grades.values()).count(grade) for grade in sorted(set(log.books.grades.values()))
        },
        ignored=log.ignored,
    )


def _claims(log: PoolLog, facts: Sequence[Fact], read: int, unverified: int) -> tuple[ClaimRow, ...]:
    chained = len(log.terms.chain.ids) + sum(len(chain.ids) for chain in log.chains())
    shares = [batch.shares for _, lane in log.lanes.in_order() for batch in lane.batches]
    good, bad = sum(len(part) for part in shares), sum(part.bad for part in shares)
    unchecked = sum(part.unchecked for part in shares)
    judged = [fact.ok for fact in facts if isinstance(fact, StatementSeen | StatusSeen)]
    faults = {name: _faulty(log, name) for name in CLAIMS}
    counts = {
        "signatures": (read + unverified, read),
        "form, keys and roles": (read, read - faults["form, keys and roles"]),
        "chains": (chained, chained - faults["chains"]),
        "jobs": (len(log.mining.jobs), sum(job.problem is None for job in log.mining.jobs.values())),
        "shares' work and binding": (good + bad + unchecked, good),
        "blocks": (len(log.blocks) + len(log.mining.refused_blocks), len(log.blocks)),
        "statements": (len(judged), sum(judged)),
        "payouts": (len(log.books.payouts), len(log.books.payouts) - faults["payouts"]),
    }
    return tuple(claim_row(name, checked, max(0, held), log.findings) for name, (checked, held) in counts.items())


def _faulty(log: PoolLog, claim: str) -> int:
    """How many events the contradictions of a claim name."""
    return len(
        {
            event
            for found in log.findings
            if found.code in CLAIMS[claim] and found.grade == "contradicted"
            for event in found.events[-1:]
        }
    )


def _miners(log: PoolLog) -> tuple[MinerRow, ...]:
    shares: dict[str, tuple[int, int]] = {}
    for _, lane in log.lanes.in_order():
        for batch in lane.batches:
            for session in batch.shares.session:
                who = batch.shares.sessions[session]
                count, work = shares.get(who.miner, (0, 0))
                shares[who.miner] = (count + 1, work + who.work)
    pending, earned, paid = log.books.pending_msat(), log.books.matured_msat(), log.books.paid_msat()
    rows = []
    for miner in sorted({*shares, *pending, *earned, *paid}):
        count, work = shares.get(miner, (0, 0))
        rows.append(MinerRow(miner, count, work, pending.get(miner, 0), earned.get(miner, 0), paid.get(miner, 0)))
    return tuple(rows)
