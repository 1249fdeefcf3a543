"""Hours told to a log, and their summaries by a naive reading of SPEC.md, "4221", from the bodies of the batches."""

import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from nips.pool.archive import ArchiveBody, Digest, build_archive
from nips.pool.binding import BoundWork
from nips.pool.chain import next_link
from nips.pool.hashing import hash_value
from nips.pool.receipt import Rejects, ShareRecord
from nips.pool.summary import Refused, SummaryBody, SummaryRow, build_summary, build_summary_part
from nips.pool.targets import bits_at_least, work_from_bits

HOUR_MS = 3_600_000
_RECORD = struct.Struct("<HBBIIII8s")


class Done(NamedTuple):
    """A credited share, or one refused (`code`), of a worker."""

    miner: str
    worker: str
    work: int = 0
    value: int = 0
    code: int = 0
    times: int = 1


def done(log: Any, label: str) -> Iterator[Done]:
    """What a batch holds, header by header."""
    body = log.bodies[label]
    jobs = {job.id: job for job in log.jobs.values()}
    for fields in _RECORD.iter_unpack(body.shares):
        record = ShareRecord(*fields)
        if record.status > 1:
            continue
        who, job = body.sessions[record.session], jobs[body.jobs[record.job]]
        miner = body.miners[who.miner]
        work = BoundWork(log.honest.get(job.id, job), miner, who.share_bits, who.extranonce1)
        value = hash_value(work.hash(record.extranonce2, record.ntime, record.nonce, record.version))
        yield Done(miner, who.worker, work_from_bits(who.share_bits), value)
    for reject in body.rejects:
        who = body.sessions[reject.session]
        yield Done(body.miners[who.miner], who.worker, code=reject.code, times=reject.times)


def rows(shares: list[Done]) -> tuple[SummaryRow, ...]:
    """A row a worker, sorted."""
    found = []
    for miner, worker in sorted({(share.miner, share.worker) for share in shares}):
        mine = [share for share in shares if (share.miner, share.worker) == (miner, worker)]
        credited = [share for share in mine if not share.code]
        codes = Counter[int]()
        for share in mine:
            if share.code:
                codes[share.code] += share.times
        best = bits_at_least(min(share.value for share in credited)) if credited else 0
        refused = tuple(Refused(*pair) for pair in sorted(codes.items()))
        found.append(SummaryRow(miner, worker, sum(share.work for share in credited), len(credited), refused, best))
    return tuple(found)


def hour(log: Any, from_ms: int, to_ms: int, after: dict[int, int]) -> SummaryBody:
    """The summary of a time; `after`: each lane's number of the last batch that was counted, brought up to date."""
    heads, shares = {}, []
    for lane, windows in sorted(log.windows.items()):
        for seq, (_, end, head) in enumerate(windows):
            if seq > after.get(lane, -1) and end <= to_ms:
                heads[f"{log.keys.edge.pubkey}/{lane}"] = head
                shares += done(log, f"batch {lane}/{seq}")
                after[lane] = seq
    return SummaryBody(from_ms, to_ms, heads, rows(shares))


def sign(log: Any, number: int, body: SummaryBody, ms: int, parts: int = 0) -> None:
    """Sign a summary, its rows in so many parts before it."""
    key, second = log.keys.accounting, (log.t0 + ms) // 1000
    for part in range(parts):
        share = -(-len(body.rows) // parts)
        some = body.rows[part * share : (part + 1) * share]
        unsigned = build_summary_part(log.pool, next_link(log.heads.get("accounting")), part, some, second)
        log.sign(f"part {number}/{part}", key, unsigned, "accounting")
    unsigned = build_summary(log.pool, next_link(log.heads.get("accounting")), body, second, parts=parts)
    log.sign(f"summary {number}", key, unsigned, "accounting")


def tell_hours(log: Any) -> Any:
    """The story goes on past two hours: a share, refused ones, summaries, the second's rows in parts, an archive."""
    begin = log.t0 // HOUR_MS * HOUR_MS
    first = begin + HOUR_MS - log.t0
    after: dict[int, int] = {}
    log.batch(0, 60_000, first + 5_000)
    sign(log, 0, hour(log, begin, begin + HOUR_MS, after), first + 6_000)
    job = log.job("G", first + 5_500, (0,), tip=3)
    shares = [log.mine(job, who, first + 7_000 + at) for at, who in enumerate((log.keys.alice, log.keys.bob))]
    refused = [Rejects(0, 23, 2), Rejects(1, 21, 1), Rejects(0, 20, 1)]
    log.batch(0, first + 5_000, first + 20_000, [*shares, log.mine(job, log.keys.bob, first + 9_000)], rejects=refused)
    log.batch(0, first + 20_000, first + HOUR_MS + 5_000)
    body = hour(log, begin + HOUR_MS, begin + 2 * HOUR_MS, after)
    sign(log, 1, body, first + HOUR_MS + 6_000, parts=2)
    digest = Digest("ab" * 32, 1000)
    heads = {f"{log.keys.accounting.pubkey}/accounting": log.heads["accounting"]}
    archive = ArchiveBody(log.t0 // 1000, log.t0 // 1000 + 86_400, 9, digest, digest, heads, ("https://x/a.gz",))
    unsigned = build_archive(log.pool, next_link(log.heads.get("accounting")), archive, log.t0 // 1000 + 90_000)
    log.sign("archive 0", log.keys.accounting, unsigned, "accounting")
    return log
