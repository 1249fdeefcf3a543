"""`noncestr miner`: the CPU miner on a terminal."""

import signal
import sys
from pathlib import Path

import anyio
import anyio.to_thread

from stratum_edge.adapters.cpu_miner import run_miner
from stratum_edge.errors import MinerError
from stratum_edge.miner_events import (
    Accepted,
    Connected,
    Disconnected,
    Hashrate,
    LoggedIn,
    MinerEvent,
    NewJob,
    PoolSaid,
    Rejected,
)

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


async def _end_of_input() -> None:
    """Return when standard input is closed: its other end died, however it died."""
    while await anyio.to_thread.run_sync(sys.stdin.buffer.read, 1024, abandon_on_cancel=True):
        pass


async def run_mine(
    url: str, user: str, *, password: str, max_hps: int | None, record: Path | None, until_eof: bool = False
) -> int:
    """Mine until SIGINT or SIGTERM, with `until_eof` also until standard input ends. The exit status: 0 stopped, 1 the
    pool refused the user, 2 asked wrongly.
    """
    if user.strip().lower().startswith("nsec"):
        print("noncestr: this is an nsec, a secret key: nothing was sent; mine with your npub", file=sys.stderr)
        return WRONG_USE
    status = 0

    async def stop_on_signal(scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                scope.cancel()
                return

    async def stop_on_eof(scope: anyio.CancelScope) -> None:
        await _end_of_input()
        scope.cancel()

    def show(event: MinerEvent) -> None:
        text = sentence(event)
        if text is not None:
            print(text, flush=True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signal, tasks.cancel_scope)
        if until_eof:
            tasks.start_soon(stop_on_eof, tasks.cancel_scope)
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
