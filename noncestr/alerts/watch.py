"""Looks at the running pool every half minute, logs what is wrong, and tells the operator."""

import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import msgspec

from noncestr.alerts.conditions import (
    DAY_MS,
    HOUR_MS,
    Alert,
    AlertLimits,
    Facts,
    Lasting,
    Said,
    conditions,
    news,
    report,
)
from noncestr.citizen.words import counted
from noncestr.config.alerts import AlertsSection
from noncestr.disk_watch import DiskWatch
from noncestr.lifetime import MENDABLE
from noncestr.whole_file import write_whole
from zapper.schedule import next_round_ms

logger = logging.getLogger("noncestr.alerts")

LOOK_S: Final = 30.0
# Told troubles, so that a restart neither repeats them nor forgets to say that they are over.
MEMORY: Final = "alerts.json"
# Lines that no service takes are kept for the next look, the newest of them.
MAX_UNSENT: Final = 100
# The trouble of a pool that does not answer the watch; what else lasts is not known meanwhile.
BLIND: Final = "watch"


class Line(Protocol):
    """A way to the operator, or several."""

    count: int

    async def send(self, title: str, text: str) -> list[str]:
        """The services that did not take it."""


class Model(Protocol):
    """The pool, as far as it is watched."""

    async def health(self) -> dict[str, Any]:
        """How the parts are."""

    async def pool(self) -> dict[str, Any]:
        """The numbers."""

    async def treasury(self) -> dict[str, Any] | None:
        """Debts and funds, as `accounting.treasury.to_json` has them."""


class AlertWatch:
    """`facts` gives what the read model does not say: payouts under way, the node."""

    def __init__(
        self,
        name: str,
        config: AlertsSection,
        model: Model,
        facts: Callable[[], Awaitable[Mapping[str, Any]]],
        line: Line | None,
        *,
        data: Path,
        now_ms: Callable[[], int],
    ) -> None:
        self._name = name
        self._config = config
        self.limits = AlertLimits(
            backlog=config.backlog,
            payout_ms=config.payout_hours * HOUR_MS,
            disk_bytes=config.disk_mib * 2**20,
            disk_ms=config.disk_days * DAY_MS,
        )
        self._model = model
        self._facts = facts
        self._line = line
        self._data = data
        self._now_ms = now_ms
        self._memory = load_memory(data / MEMORY)
        self._disk = DiskWatch(data)
        self._reported_ms = now_ms()
        # What services did not take, to be sent with the next look.
        self._unsent: tuple[str, ...] = ()

    async def run(self) -> None:
        """Until cancelled; nothing that is looked at ends it."""
        while True:
            try:
                await self.look()
            except Exception:  # whatever part failed: the next look asks it again
                logger.exception("the watch could not look at the pool")
            await anyio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once, and tell what is new; then the report, if its time has come."""
        try:
            found = await self._look_at()
        except MENDABLE as error:
            # A database that is away, say: its words are enough.
            await self._tell(self._blind(str(error)))
            return
        except Exception as error:  # whatever part failed: a pool that can't be looked at is a trouble itself
            if BLIND not in self._memory:
                logger.exception("the watch could not look at the pool")
            await self._tell(self._blind(f"{type(error).__name__}, see its log"))
            return
        await self._tell(self._news(conditions(found, self.limits), self._memory))
        if self._is_due(found.now_ms):
            self._reported_ms = found.now_ms
            lasting = [each.text for each in self._memory.values() if each.said_ms]
            await self._send(f"{self._name}: report", report(found, await self._model.pool(), lasting))

    def _news(self, found: Iterable[Alert], memory: Mapping[str, Lasting]) -> Said:
        return news(found, memory, now_ms=self._now_ms(), repeat_ms=self._config.repeat_hours * HOUR_MS)

    def _blind(self, why: str) -> Said:
        """Nothing is known but that nothing is known: no other trouble begins, or is over."""
        others = {key: lasting for key, lasting in self._memory.items() if key != BLIND}
        known = {key: lasting for key, lasting in self._memory.items() if key == BLIND}
        said = self._news([Alert(BLIND, f"The pool can't be looked at: {why}", settles=True)], known)
        return Said(said.lines, {**others, **said.memory})

    async def _tell(self, said: Said) -> None:
        for line in said.lines:
            logger.warning("%s", line)
        # Kept first: a crash in between costs a message, and never sends one at every start.
        if said.memory != self._memory:
            self._memory = dict(said.memory)
            try:
                await anyio.to_thread.run_sync(save_memory, self._data / MEMORY, said.memory)
            except OSError as error:
                # A full disk is what the operator is to hear of.
                logger.error("what was told can't be kept in %s: %s", MEMORY, error)
        lines = (*self._unsent, *said.lines)[-MAX_UNSENT:]
        if lines:
            told = await self._send(f"{self._name}: {counted(len(lines), 'alert')}", "\n".join(lines))
            self._unsent = () if told else lines

    async def _look_at(self) -> Facts:
        pool, now_ms = await self._model.pool(), self._now_ms()
        free, trend = await self._disk.look(now_ms)
        return Facts(
            now_ms=now_ms,
            health=await self._model.health(),
            lanes=pool.get("lanes", ()),
            treasury=await self._model.treasury(),
            free_bytes=free,
            disk=trend,
            told=frozenset(key for key, lasting in self._memory.items() if lasting.said_ms),
            **await self._facts(),
        )

    def _is_due(self, now_ms: int) -> bool:
        if not self._config.report:
            return False
        return next_round_ms(self._config.report, self._reported_ms) <= now_ms

    async def _send(self, title: str, text: str) -> bool:
        """Whether somebody was told: one service is enough, or those that work would hear all of it again with every
        look. Without any the log is enough.
        """
        if self._line is None:
            return True
        failed = await self._line.send(title, text)
        if failed:
            logger.error("the operator was not told by %s", ", ".join(failed))
        return len(failed) < self._line.count


def load_memory(path: Path) -> dict[str, Lasting]:
    """What was told before; a file that cannot be read is none: then it is told once more."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Lasting])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        logger.warning("%s cannot be read, troubles are told anew: %s", path, error)
        return {}


def save_memory(path: Path, memory: Mapping[str, Lasting]) -> None:
    """Raises OSError."""
    write_whole(path, json.dumps({key: asdict(value) for key, value in memory.items()}).encode())


async def payout_facts(
    counts: Callable[[], Awaitable[Mapping[str, tuple[int, int]]]], dead: Mapping[str, str]
) -> dict[str, Any]:
    """The zapper's part of the facts. `counts`: (how many, created_ms of the oldest, Unix ms) by state."""
    try:
        found = await counts()
    except sqlite3.Error:
        found = {}
    oldest = [created_ms for state, (_, created_ms) in found.items() if state not in ("settled", "failed")]
    return {"oldest_payout_ms": min(oldest, default=None), "dead": dict(dead)}
