"""The pool in OpenMetrics, for /metrics: numbers of the parts and of the books, none of any miner.

Counters begin at 0 with the process, or stand where the log does; labels are lanes, relays, Stratum codes, states and
outcomes, each a bounded set.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from client_web.doors import COUNTED, DoorTally
from noncestr.disk_watch import Disk
from noncestr.edge.orders import LaneReport
from noncestr.relays.health import down_ms
from noncestr.web.openmetrics import Family, exposition
from relay_bridge.status import RelayStatus
from zapper.config import ZapperStatus

# A node's reasons for refusing a block are some dozen words; should they be more, the rest count together.
MAX_OUTCOMES: Final = 24
OTHER: Final = "other"
_OUTCOME: Final = re.compile(r"[A-Za-z0-9_. -]{1,48}")
_FINAL: Final = ("settled", "failed", "returned")


@dataclass(frozen=True, slots=True)
class PayoutCount:
    """The payouts in one state, and since when (Unix ms) the oldest of them."""

    payouts: int
    oldest_ms: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the metrics are made of. `pool`, `health`: the read model's answers; `now_ms` Unix ms."""

    now_ms: int
    pool: Mapping[str, Any]
    health: Mapping[str, Any]
    statements: int
    payout_records: int
    lanes: Sequence[LaneReport]
    relays: Sequence[RelayStatus]
    relay_counts: Mapping[str, int]
    alarms: Mapping[str, int]
    zapper: ZapperStatus
    payouts: Mapping[str, PayoutCount]
    treasury: Mapping[str, Any] | None = None
    disk: Disk | None = None
    doors: DoorTally = field(default_factory=DoorTally)


def metrics(facts: Facts) -> str:
    """The text of /metrics."""
    return exposition(
        [
            *_pool(facts),
            *_edges(facts.lanes),
            *_relays(facts),
            *_ledger(facts),
            *_treasury(facts),
            *_payouts(facts),
            *_node(facts.lanes),
            *_disk(facts.disk),
            *_web(facts.doors),
        ]
    )


def _gauge(name: str, text: str, unit: str = "") -> Family:
    return Family(f"noncestr_{name}", "gauge", text, unit)


def _counter(name: str, text: str, unit: str = "") -> Family:
    return Family(f"noncestr_{name}", "counter", text, unit)


def _pool(facts: Facts) -> Iterable[Family]:
    pool = facts.pool
    rate = _gauge("pool_hashrate", "Hashes a second by credited work, over five minutes and an hour.")
    for window, text in sorted(pool["hashrate_hs"].items()):
        rate.add(int(text), window=window)
    yield rate
    yield _gauge("pool_miners", "Miners with a share in the last ten minutes.").add(pool["miners"])
    yield _gauge("pool_workers", "Their workers.").add(pool["workers"])
    yield _counter("pool_shares", "Good credited shares in the log.").add(pool["shares"])
    yield _counter("pool_rejects", "Shares the edges refused, by the log.").add(pool["rejects"])
    yield _counter("pool_work", "Credited work in the log, in hashes.").add(int(pool["work"]))
    yield _counter("pool_blocks", "Proven blocks in the log.").add(pool["blocks_found"])
    yield _gauge("chain_height", "The height of the chain's tip.").add(pool["height"])
    if pool["effort_ppm"] is not None:
        yield _gauge("pool_effort_ratio", "Work since the last block over a block's work.", "ratio").add(
            pool["effort_ppm"] / 1_000_000
        )


def _edges(lanes: Sequence[LaneReport]) -> Iterable[Family]:
    sessions = _gauge("edge_sessions", "Stratum connections.")
    rate = _gauge("edge_hashrate", "Hashes a second by credited work over five minutes.")
    accepted = _counter("edge_shares_accepted", "Good shares.")
    rejected = _counter("edge_shares_rejected", "Refused shares by Stratum error code.")
    bad = _counter("edge_bad_lines", "Lines that could not be read.")
    batches = _counter("edge_batches", "Batches sealed in the lane, ever.")
    unpublished = _gauge("edge_unpublished", "Sealed batches and blocks that no relay has taken yet.")
    stalled = _gauge("edge_stalled", "1 while shares can't be stored.")
    for report in lanes:
        lane, edge = str(report.lane), report.edge
        sessions.add(edge.sessions, lane=lane)
        rate.add(edge.hashrate_hs, lane=lane)
        accepted.add(edge.accepted, lane=lane)
        for code, times in sorted(edge.rejected.items()):
            rejected.add(times, lane=lane, code=str(code))
        bad.add(edge.bad_lines, lane=lane)
        batches.add(edge.batch_seq + 1, lane=lane)
        unpublished.add(edge.unpublished, lane=lane)
        stalled.add(int(edge.stalled), lane=lane)
    return sessions, rate, accepted, rejected, bad, batches, unpublished, stalled


def _relays(facts: Facts) -> Iterable[Family]:
    connected = _gauge("relay_connected", "1 while the relay is connected.")
    backlog = _gauge("relay_backlog", "Events the relay has not answered yet.")
    published = _counter("relay_published", "Events the relay accepted.")
    refused = _counter("relay_refused", "Events the relay refused for good.")
    too_large = _counter("relay_refused_by_size", "Of these, events larger than it takes.")
    refilled = _counter("relay_refilled", "Events the relay had lost and was sent again.")
    received = _counter("relay_received", "Verified events the relay sent, repeats included.")
    unwanted = _counter("relay_unwanted", "Events of the relay that the reader's terms do not allow.")
    down = _gauge("relay_down_seconds", "For how long the relay is away; 0 while it is connected.", "seconds")
    complaints = _gauge("relay_complaints", "What makes the relay less fit for its role; /healthz says what.")
    bad = _counter("relay_bad", "Frames and events of the relay that were dropped.")
    for relay in facts.relays:
        connected.add(int(relay.connected), relay=relay.url)
        backlog.add(relay.backlog, relay=relay.url)
        published.add(relay.published, relay=relay.url)
        refused.add(relay.refused, relay=relay.url)
        too_large.add(relay.refused_by_size, relay=relay.url)
        refilled.add(relay.refilled, relay=relay.url)
        received.add(relay.received, relay=relay.url)
        bad.add(relay.bad, relay=relay.url)
        unwanted.add(relay.unwanted, relay=relay.url)
        down.add(down_ms(relay, facts.now_ms) / 1000, relay=relay.url)
        complaints.add(len(relay.complaints), relay=relay.url)
    alarms = _counter("log_alarms", "Forks and unfilled gaps of chains that a reader of this process met.")
    for what in ("forks", "gaps"):
        alarms.add(facts.alarms.get(what, 0), what=what)
    served = _counter("embedded_relay", "What the embedded relay did, by what.")
    for what, times in sorted(facts.relay_counts.items()):
        served.add(times, what=what)
    relays = (connected, backlog, published, refused, too_large, refilled, received, bad, unwanted, down, complaints)
    return *relays, alarms, served


def _ledger(facts: Facts) -> Iterable[Family]:
    accounts = _gauge("ledger_msat", "The ledger's accounts in millisatoshi; an orphan takes back.", "msat")
    for name, msat in sorted(facts.pool["totals"].items()):
        accounts.add(msat, account=name.removesuffix("_msat"))
    yield accounts
    parts = facts.health["parts"]["accounting"]
    yield _counter("ledger_statements", "Statements in the books.").add(facts.statements)
    yield _counter("ledger_payouts", "Payout records in the books.").add(facts.payout_records)
    found = _counter("ledger_findings", "What the log contradicts or leaves open, by grade.")
    for grade, times in sorted(parts["findings"].items()):
        found.add(times, grade=grade)
    yield found
    yield _gauge("ledger_statements_waiting", "Blocks whose statement has to wait.").add(
        len(parts["statements_waiting"])
    )
    yield _gauge("ledger_unpublished", "Signed events that no relay has taken yet.").add(parts["unpublished"])
    yield _gauge("ledger_synced", "1 once all that the relays had is in the books.").add(int(bool(parts["synced"])))
    yield _gauge("ledger_signing", "1 while the accounting signs.").add(int(parts["signing"] == "yes"))


def _treasury(facts: Facts) -> Iterable[Family]:
    told = facts.treasury
    if told is None:
        return
    yield _gauge("treasury_owed_msat", "Matured and not paid yet, in millisatoshi.", "msat").add(told["owed_msat"])
    funds = _gauge("treasury_funds_msat", "What each place of the pool's money told last.", "msat")
    age = _gauge("treasury_age_seconds", "How long ago each place told it, by the clocks of both.", "seconds")
    silent = _gauge("treasury_silent", "1 for a place that can't be counted with: it never told, or too long ago.")
    for holding in told["holdings"]:
        where = {"place": holding["name"], "source": holding["source"] or ""}
        if holding["msat"] is not None:
            funds.add(holding["msat"], **where)
        if holding["age_ms"] is not None:
            age.add(holding["age_ms"] / 1000, **where)
        silent.add(int(holding["silence"] is not None), **where)
    yield from (funds, age, silent)
    if told["spare_msat"] is not None:
        yield _gauge("treasury_spare_msat", "Funds less what is owed; below 0 nothing covers a debt.", "msat").add(
            told["spare_msat"]
        )
    yield _gauge("treasury_alert", "1 while funds are below what is owed, or not known.").add(
        int(told["alert"] is not None)
    )


def _payouts(facts: Facts) -> Iterable[Family]:
    yield (
        _counter("payouts", "Payouts that settled or failed; `returned`: of the settled, those nobody took in time.")
        # What came back was settled before: a counter does not go down.
        .add(_count(facts, "settled") + _count(facts, "returned"), state="settled")
        .add(_count(facts, "failed"), state="failed")
        .add(_count(facts, "returned"), state="returned")
    )
    under_way = _gauge("payouts_open", "Payouts under way, by state.")
    unfinished = {state: each for state, each in facts.payouts.items() if state not in _FINAL and each.payouts}
    for state, each in sorted(unfinished.items()):
        under_way.add(each.payouts, state=state)
    yield under_way
    oldest = min((each.oldest_ms for each in unfinished.values()), default=facts.now_ms)
    yield _gauge("payouts_oldest_open_seconds", "Age of the oldest payout under way; 0 for none.", "seconds").add(
        max(0, facts.now_ms - oldest) / 1000
    )
    yield _gauge("payouts_miners_waiting", "Miners with something due that can't be paid now.").add(
        len(facts.zapper.why_unpaid)
    )
    yield _gauge("payouts_unknown", "Payouts whose outcome is not known.").add(len(facts.zapper.unknown))
    yield _gauge("payouts_blocked", "1 while nothing at all is paid.").add(int(bool(facts.zapper.blocked)))


def _web(doors: DoorTally) -> Iterable[Family]:
    refused = _counter("web_refused", "Connections and questions that the web server refused or cut off, by reason.")
    for reason in COUNTED:
        refused.add(doors.refused[reason], reason=reason)
    return _gauge("web_connections", "Open connections of the web server.").add(doors.open), refused


def _count(facts: Facts, state: str) -> int:
    return facts.payouts[state].payouts if state in facts.payouts else 0


def _disk(disk: Disk | None) -> Iterable[Family]:
    if disk is None:
        return
    yield _gauge("disk_free_bytes", "Free on the data folder's disk.", "bytes").add(disk.free)
    files = _gauge("disk_file_bytes", "What the pool's databases take there, by file.", "bytes")
    for name, size in sorted(disk.files.items()):
        files.add(size, file=name)
    yield files
    if disk.trend is not None:
        day = 86_400_000
        yield _gauge("disk_growth_bytes", "What goes of it in a day, by the last week.", "bytes").add(
            disk.trend.bytes * day // disk.trend.ms
        )
        left = "Until it is full, as it fills now; absent while it does not, or is not known for a day."
        yield _gauge("disk_left_seconds", left, "seconds").add(disk.trend.left_ms // 1000)


def _node(lanes: Sequence[LaneReport]) -> Iterable[Family]:
    lost = _gauge("node_lost_seconds", "Seconds since a Bitcoin node last answered; 0 while one does.", "seconds")
    submitted = _counter("node_submissions", "Blocks handed to the node, by outcome.")
    outcomes: Counter[str] = Counter()
    for report in lanes:
        lost.add(report.edge.node_lost_s, lane=str(report.lane))
        for outcome, times in report.edge.blocks.items():
            outcomes[outcome if _OUTCOME.fullmatch(outcome) else OTHER] += times
    # Sorted by name, so that the same ones stand by themselves from one answer to the next.
    named = sorted(outcomes)[:MAX_OUTCOMES]
    rest = sum(times for outcome, times in outcomes.items() if outcome not in named)
    for outcome in named:
        submitted.add(outcomes[outcome] + (rest if outcome == OTHER else 0), outcome=outcome)
    if rest and OTHER not in named:
        submitted.add(rest, outcome=OTHER)
    return lost, submitted
