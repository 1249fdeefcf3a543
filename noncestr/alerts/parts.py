"""From a running pool to the watch over it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from noncestr.alerts.operator_line import read_services
from noncestr.alerts.watch import AlertWatch, Model, payout_facts
from noncestr.clock import WallClock
from noncestr.config.sections import Config
from stratum_edge.status import EdgeStatus
from zapper.adapters.payout_counts import payout_counts
from zapper.config import ZapperStatus


def make_watch(
    config: Config,
    data: Path,
    *,
    model: Model,
    edge: Callable[[], EdgeStatus] | None,
    zapper: Callable[[], ZapperStatus],
    payouts: Path,
    clock: WallClock,
    part: str = "",
) -> AlertWatch:
    """The watch over a pool, or over that `part` of one which runs here by itself, and sends no report. `edge`: None
    where none runs. Raises NoncestrError for a bad file of services.
    """

    async def counts() -> Mapping[str, tuple[int, int]]:
        return await payout_counts(payouts)

    async def facts() -> Mapping[str, Any]:
        found = await payout_facts(counts, zapper().dead)
        lost_s = 0.0 if edge is None else edge().node_lost_s
        status = zapper()
        told = {"unsigned": status.unsigned, "sent_all_the_same": status.sent_all_the_same}
        return {**found, **told, "node_lost_ms": round(lost_s * 1000)}

    section = config.alerts
    return AlertWatch(
        f"{config.pool.name} {part}".rstrip(),
        replace(section, report="") if part else section,
        model,
        facts,
        read_services(Path(section.services)) if section.services else None,
        data=data,
        now_ms=clock.now_ms,
    )
