"""An audit at rest: all of the fold that is not on its shelves, as one value, and the fold made of it again.

What stands here is bounded by what is open (lanes, live jobs, waiting events, miners), not by the log's length. The
fold is taken before its audit is finished, since what is missing at the end of one day may come on the next.
"""

from typing import Any

import accounting.announced
import accounting.books
import accounting.chains
import accounting.checks
import accounting.drafts
import accounting.earlier
import accounting.facts
import accounting.findings
import accounting.judging
import accounting.lanes
import accounting.shares
import accounting.statements
import accounting.summaries
import accounting.told
import accounting.totals
import nips.nip01
import nips.pool.address
import nips.pool.archive
import nips.pool.attestation
import nips.pool.attestation_part
import nips.pool.block
import nips.pool.chain
import nips.pool.job
import nips.pool.payout
import nips.pool.receipt
import nips.pool.reward
import nips.pool.settings
import nips.pool.settings_part
import nips.pool.statement
import nips.pool.statement_rows
import nips.pool.summary
import nips.pool.terms
from accounting.chains import Chain
from accounting.freeze import Codec, Unreadable, classes_of
from accounting.judging import Seen
from accounting.lanes import Lane
from accounting.log import PoolLog
from accounting.mining import Mining
from accounting.verifier import Audit

# Counts up when the state below, or what the fold makes of events, changes otherwise than its classes show.
FORM = 8
CODEC = Codec(
    classes_of(
        accounting.announced,
        accounting.attendance,
        accounting.books,
        accounting.chains,
        accounting.checks,
        accounting.drafts,
        accounting.earlier,
        accounting.facts,
        accounting.findings,
        accounting.judging,
        accounting.lanes,
        accounting.shares,
        accounting.statements,
        accounting.summaries,
        accounting.told,
        accounting.totals,
        nips.nip01,
        nips.pool.address,
        nips.pool.archive,
        nips.pool.attestation,
        nips.pool.attestation_part,
        nips.pool.block,
        nips.pool.chain,
        nips.pool.job,
        nips.pool.payout,
        nips.pool.receipt,
        nips.pool.reward,
        nips.pool.settings,
        nips.pool.settings_part,
        nips.pool.statement,
        nips.pool.statement_rows,
        nips.pool.summary,
        nips.pool.terms,
    ),
)
_CHAIN = ("head", "created_at", "accepted", "waiting", "closed", "by_line", "broken", "line")
_LOG = ("findings", "read", "ignored", "unverified", "judged", "judged_ok")
_TERMS = ("by_id", "replaced_ms", "roles", "closed", "revoked")
_MINING = (
    "totals", "newest_job", "jobs_read", "jobs_good", "refused_jobs", "unknown_jobs", "unlike_heights", "sealed",
    "batches",
)  # fmt: skip
_ANNOUNCED = ("refused", "unproven", "waiting")
_BOOKS = ("graded", "rows", "paid", "fees_borne_msat", "payout_count")


def _fields(of: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}


def _set(of: object, names: tuple[str, ...], values: dict[str, Any]) -> None:
    for name in names:
        setattr(of, name, values[name])


def _lane_state(lane: Lane) -> dict[str, Any]:
    batches = lane.batches
    return {
        "chain": _fields(lane.chain, _CHAIN),
        "batches": [batches.first, batches.hot, batches.shelved, batches.digests],
        **_fields(lane, ("started", "fin", "holes")),
    }


def _mining_state(mining: Mining) -> dict[str, Any]:
    return {
        **_fields(mining, _MINING),
        "announced": _fields(mining.announced, _ANNOUNCED),
        "live": sorted(mining.live),
        # The marks stand in the batches too.
        "seen": {job: (seen.batches, seen.places) for job, seen in mining.seen.items()},
        "lanes": {key: _lane_state(lane) for key, lane in mining.lanes.items()},
    }


def freeze_log(log: PoolLog) -> bytes:
    """A settled fold, less what its shelves hold."""
    return CODEC.dumps(
        {
            "log": _fields(log, _LOG),
            "terms": {"chain": _fields(log.terms.chain, _CHAIN), **_fields(log.terms, _TERMS)},
            "mining": _mining_state(log.mining),
            "books": _fields(log.books, _BOOKS),
            "parts": log.statements.parts,
            "let go": log.parked.let_go,
            "accounting": {key: _fields(chain, _CHAIN) for key, chain in log.accounting.items()},
            "payouts": {key: _fields(chain, _CHAIN) for key, chain in log.payouts.items()},
        }
    )


def freeze_audit(audit: Audit) -> bytes:
    """A settled audit that is not finished, less what its shelves hold."""
    told = audit.told
    return CODEC.dumps(
        {
            "log": freeze_log(audit.log),
            "summaries": audit.summaries,
            "told": [told.waiting, told.judged, told.held],
        }
    )


def thaw_audit(audit: Audit, data: bytes) -> None:
    """Let a fresh audit, on the shelves of the old one, be what `freeze_audit` was given. Raises Unreadable."""
    state = CODEC.loads(data)
    try:
        waiting, judged, held = state["told"]
        audit.take_summaries(state["summaries"], waiting)
        audit.told.judged, audit.told.held = judged, held
        thaw_log(audit.log, state["log"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"the checkpoint's state: {error!r}") from None


def thaw_log(log: PoolLog, data: bytes) -> None:
    """Let a fresh fold, on the shelves of the old one, be what `freeze_log` was given. Raises Unreadable."""
    try:
        state = CODEC.loads(data)
        _set(log, _LOG, state["log"])
        log.remember_findings()
        _set(log.terms, _TERMS, state["terms"])
        _set(log.terms.chain, _CHAIN, state["terms"]["chain"])
        _set(log.books, _BOOKS, state["books"])
        log.statements.parts.update(state["parts"])
        log.parked.let_go = state["let go"]
        for name, chains in (("accounting", log.accounting), ("payouts", log.payouts)):
            for key, told in state[name].items():
                chain: Chain[Any] = log.terms.new_chain(f"{key}/{name}", log.report, log.shelves)
                _set(chain, _CHAIN, told)
                chains[key] = chain
        _thaw_mining(log.mining, state["mining"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"the checkpoint's state: {error!r}") from None


def _thaw_mining(mining: Mining, state: dict[str, Any]) -> None:
    _set(mining, _MINING, state)
    _set(mining.announced, _ANNOUNCED, state["announced"])
    for key, told in state["lanes"].items():
        lane = mining.lanes[key] = mining.new_lane(key)
        _set(lane.chain, _CHAIN, told["chain"])
        _set(lane, ("started", "fin", "holes"), told)
        batches = lane.batches
        batches.first, batches.hot, batches.shelved, batches.digests = told["batches"]
    for job, (seen_batches, places) in state["seen"].items():
        seen = mining.seen[job] = Seen(places=places)
        for batch in seen_batches:
            seen.take(batch)
    for job in state["live"]:
        mining.judged_job(job)
