"""A miner's own record of what it handed in, on a disk."""

import json
import time
from typing import Any, TextIO

from stratum_edge.miner_work import Job, Share


class Evidence:
    """The miner's own record of what it handed in: JSON lines, each job before its first share.

    With its job's notify and extranonce1, a share's header can be rebuilt and hashed by anyone, so a miner can check
    that the pool's receipts hold all its work, and show it if they don't.
    """

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self._told: Job | None = None

    def add(self, share: Share, answer: Any) -> None:
        """One submission; `answer` is true, the pool's error, or None if the connection ended first."""
        job = share.work.job
        if job is not self._told:
            self._told = job
            self._line(
                type="job",
                job=job.job_id,
                notify=job.params,
                extranonce1=job.extranonce1.hex(),
                difficulty=job.difficulty,
            )
        header = share.work.header76 + share.nonce.to_bytes(4, "little")
        self._line(type="share", job=job.job_id, params=share.params, header=header.hex(), answer=answer)

    def _line(self, **fields: Any) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"ms": time.time_ns() // 1_000_000, **fields}) + "\n")
            self._file.flush()
