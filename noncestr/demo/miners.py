"""Demo miners: separate processes of `noncestr miner`, each with its own npub, profile and lightning address."""

import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import anyio
import anyio.abc

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.nip19 import encode_npub
from noncestr.citizen.profiles import profile
from noncestr.keys.files import load_or_create

logger = logging.getLogger("noncestr.demo")

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
# A miner that ends by itself is started again, not faster than this.
RESTART_SECONDS = 5.0
# How long a miner may take to end when told to.
STOP_SECONDS = 2.0


class Clock(Protocol):
    """The time of day."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""


class DemoMiners:
    """Starts the miners and keeps them running until cancelled."""

    def __init__(
        self,
        *,
        keys_dir: Path,
        network: str,
        count: int,
        max_hps: int,
        url: str,
        lightning: str,
        publish: Callable[[VerifiedEvent], Awaitable[None]],
        clock: Clock,
        log_dir: Path,
    ) -> None:
        """Raises ValueError on any network but regtest: they mine play money."""
        if network != "regtest":
            raise ValueError(f"demo miners are for regtest, not for {network}")
        self._miners = [(self._name(n), load_or_create(keys_dir, f"demo-{self._name(n)}")) for n in range(count)]
        self._max_hps = max_hps
        self._url = url
        self._lightning = lightning
        self._publish = publish
        self._clock = clock
        self._log_dir = log_dir

    @staticmethod
    def _name(number: int) -> str:
        return NAMES[number] if number < len(NAMES) else f"miner{number + 1}"

    def users(self) -> dict[str, str]:
        """The miners' names at the demo wallet, and their public keys."""
        return {name: key.pubkey for name, key in self._miners}

    def keys(self) -> dict[str, SecretKey]:
        """The miners' names and keys."""
        return dict(self._miners)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Publish the profiles, then mine."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        for name, key in self._miners:
            await self._publish(
                profile(
                    key,
                    self._clock.now_ms() // 1000,
                    name=name,
                    about="A demo miner of a noncestr pool.",
                    lud16=f"{name}@{self._lightning}",
                )
            )
        task_status.started()
        async with anyio.create_task_group() as tasks:
            for name, key in self._miners:
                tasks.start_soon(self._keep_mining, name, key)

    async def _keep_mining(self, name: str, key: SecretKey) -> None:
        command = [
            *(sys.executable, "-m", "noncestr", "miner", "--url", self._url),
            *("--user", f"{encode_npub(key.pubkey)}.{name}", "--max-hps", str(self._max_hps)),
            # Its input is a pipe from us: a pool that is killed leaves no miner behind.
            "--until-eof",
        ]
        while True:
            with (self._log_dir / f"{name}.log").open("wb") as log:
                process = await anyio.open_process(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
            try:
                code = await process.wait()
            finally:
                with anyio.CancelScope(shield=True):
                    await _end(process)
            logger.warning("demo miner %s ended with status %d, see %s.log", name, code, self._log_dir / name)
            await anyio.sleep(RESTART_SECONDS)


async def _end(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(STOP_SECONDS):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
