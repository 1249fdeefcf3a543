"""A lane, and each of its sessions, as the operator sees them."""

from stratum_edge.desk import Desk
from stratum_edge.session import Session
from stratum_edge.status import EdgeStatus, SessionRow, shown


def edge_status(desk: Desk, sessions: int, node_lost_s: float, mono: int) -> EdgeStatus:
    """The snapshot of a lane with so many connections; only who is authorized counts as miner and worker."""
    counts, current, head = desk.counts, desk.current(desk.offers[0]), desk.lane.head
    return EdgeStatus(
        sessions=sessions,
        miners=counts.present.miners,
        workers=counts.present.workers,
        hashrate_hs=counts.hashrate.per_second(mono),
        accepted=counts.accepted,
        rejected=dict(counts.rejected),
        bad_lines=counts.bad_lines,
        height=0 if current is None else current.job.height,
        job="" if current is None else current.job.id,
        batch_seq=-1 if head is None else head.seq,
        batch_id=desk.lane.head_id,
        unpublished=desk.unpublished,
        stalled=desk.journal.failed,
        blocks=dict(counts.blocks),
        node_lost_s=node_lost_s,
    )


def session_row(session: Session, address: str, mono: int) -> SessionRow:
    """A connection from an address."""
    return SessionRow(
        address=address,
        port=session.port.name,
        miner=session.miner,
        workers=shown(name.worker for name in session.users.values()),
        agent=session.agent,
        difficulty=str(session.difficulty),
        hashrate_hs=session.hashrate(mono),
        accepted=session.accepted,
        rejected=session.rejected,
        since_ms=mono - session.since,
        idle_ms=mono - session.good_at,
    )
