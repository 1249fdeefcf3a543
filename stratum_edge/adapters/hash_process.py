"""The process that hashes (`hash_worker`), as its parent sees it: orders in, reports out."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from stratum_edge.errors import MinerError
from stratum_edge.miner_work import Work

# A report holds some hundred nonces (`hash_worker.MOST_FOUND`).
MAX_REPORT_BYTES: Final = 1 << 16
# The worker must find the same packages, wherever it is started.
PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
WORKER: Final = "stratum_edge.adapters.hash_worker"


@dataclass
class HashProcess:
    """A running one."""

    process: anyio.abc.Process
    reports: BufferedByteReceiveStream

    async def order(self, work_id: int, work: Work | None) -> None:
        """Drop what it hashes and turn to `work` (None: rest)."""
        order: dict[str, int | str] = {"id": work_id}
        if work is not None:
            order |= {"header": work.header76.hex(), "target": f"{work.job.target:064x}"}
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send(json.dumps(order).encode() + b"\n")
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise MinerError("the hashing process died") from error

    async def report(self) -> dict[str, Any]:
        """The next report: {"id", "hashes", "found", "done"} of `hash_worker`."""
        try:
            line = await self.reports.receive_until(b"\n", MAX_REPORT_BYTES)
        except (OSError, anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise MinerError("the hashing process died") from error
        report: dict[str, Any] = json.loads(line)
        return report


@asynccontextmanager
async def open_hash_process(max_hps: int | None) -> AsyncIterator[HashProcess]:
    """A hashing process for the time of the block."""
    path = os.pathsep.join(filter(None, (str(PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
    process = await anyio.open_process(
        [sys.executable, "-m", WORKER, str(max_hps or 0)],
        stdin=PIPE,
        stdout=PIPE,
        stderr=None,
        env={**os.environ, "PYTHONPATH": path},
        # Its own session: a Ctrl-C at the terminal is for the parent, whose end it follows.
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield HashProcess(process, BufferedByteReceiveStream(process.stdout))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
