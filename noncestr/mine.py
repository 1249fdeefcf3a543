"""`noncestr miner`: the CPU miner on a terminal."""

import signal
import sys
from pathlib import Path

import anyio

from stratum_edge.adapters.cpu_miner import (
    Accepted,
    Connected,
    Disconnected,
    Hashrate,
    LoggedIn,
    MinerEvent,
    NewJob,
    PoolSaid,
    Rejected,
    run_miner,
)
from stratum_edge.errors import MinerError

REFUSED = 1
WRONG_USE = 2


def sentence(event: MinerEvent) -> str | None:
    """What a person reads of an event; None for what says nothing new."""
    match event:
        case Connected(host, port):
            return f"connected to {host}:{port}"
        case LoggedIn(user):
            return f"logged in as {user}"
        case NewJob(job_id, difficulty, clean):
            return f"job {job_id} at difficulty {difficulty:.6g}{', a new block' if clean else ''}"
        case Accepted(job_id, difficulty, block_hash):
            return f"share accepted: job {job_id}, difficulty {difficulty:.6g}, {block_hash[::-1].hex()}"
        case Rejected(job_id, code, reason):
            return f"share refused: job {job_id}, {reason} ({code})"
        case Hashrate(hps, accepted, rejected):
            return f"{hps / 1000:.1f} kH/s, {accepted} accepted, {rejected} refused"
        case PoolSaid(text):
            return f"the pool says: {text}"
        case Disconnected(reason, retry_ms):
            return f"disconnected ({reason}), next try in {retry_ms / 1000:.0f} s"


async def run_mine(url: str, user: str, *, password: str, max_hps: int | None, record: Path | None) -> int:
    """Mine until SIGINT or SIGTERM; the exit status: 0 stopped, 1 the pool refused the user, 2 asked wrongly."""
    status = 0

    async def stop_on_signal(scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                scope.cancel()
                return

    def show(event: MinerEvent) -> None:
        text = sentence(event)
        if text is not None:
            print(text, flush=True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signal, tasks.cancel_scope)
        try:
            await run_miner(url, user, password, max_hps=max_hps, on_event=show, record=record)
        except MinerError as error:
            print(f"noncestr: {error}", file=sys.stderr)
            status = REFUSED
        except (ValueError, OSError) as error:
            print(f"noncestr: {error}", file=sys.stderr)
            status = WRONG_USE
        tasks.cancel_scope.cancel()
    return status
