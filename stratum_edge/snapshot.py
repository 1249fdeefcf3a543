"""A lane and its sessions as one snapshot."""

from collections.abc import Sequence

from stratum_edge.desk import Desk
from stratum_edge.session import Session
from stratum_edge.status import EdgeStatus


def edge_status(desk: Desk, sessions: Sequence[Session], node_lost_s: float, mono: int) -> EdgeStatus:
    """The snapshot of a lane and its sessions; only those that are authorized count as miners and workers."""
    users = [name for session in sessions for name in session.users.values()]
    counts, current, head = desk.counts, desk.current(desk.offers[0]), desk.lane.head
    return EdgeStatus(
        sessions=len(sessions),
        miners=len({name.miner for name in users}),
        workers=len(set(users)),
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
