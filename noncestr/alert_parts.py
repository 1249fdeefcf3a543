"""From a running pool to the watch over it; and `noncestr alerts`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import typer

from noncestr.alert_watch import MEMORY, AlertWatch, Model, load_memory, payout_facts
from noncestr.clock import WallClock
from noncestr.config import Config
from noncestr.errors import NoncestrError
from noncestr.operator_line import read_services
from noncestr.options import ConfigOption, DataOption, folder_there, read_config
from stratum_edge.status import EdgeStatus
from zapper.adapters.payout_counts import payout_counts
from zapper.config import ZapperStatus

alerts_app = typer.Typer(help="What wakes the operator.", no_args_is_help=True)


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
        return {**found, "unsigned": zapper().unsigned, "node_lost_ms": round(lost_s * 1000)}

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


@alerts_app.command("test")
def send_test(config: ConfigOption = None) -> None:
    """Send a test message to every service of [alerts] services. Exit status 1 if one did not take it."""
    loaded = read_config(config)
    if not loaded.alerts.services:
        raise NoncestrError("[alerts] services names no file: nobody is told of anything")
    line = read_services(Path(loaded.alerts.services))
    failed = anyio.run(line.send, f"{loaded.pool.name}: test", "A test message of your mining pool: alerts reach you.")
    for scheme in failed:
        typer.echo(f"{scheme}:// did not take it")
    if failed:
        raise typer.Exit(1)
    typer.echo("every service took it")


@alerts_app.command("show")
def show(data: DataOption = Path("data")) -> None:
    """The troubles that last, since when."""
    lasting = load_memory(folder_there(data) / MEMORY)
    for _, trouble in sorted(lasting.items(), key=lambda item: item[1].since_ms):
        since = datetime.fromtimestamp(trouble.since_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        typer.echo(f"since {since} UTC: {trouble.text}")
    if not lasting:
        typer.echo("no trouble is known")
