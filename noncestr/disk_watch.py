"""The data folder's disk: how much is free, what the pool's files take, and how fast it fills, over restarts."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import anyio
import msgspec

from noncestr.disk_trend import Reading, Trend, is_due, noted, trend_of
from noncestr.whole_file import write_whole

logger = logging.getLogger("noncestr.alerts")

# An hour's reading a line, of a week.
READINGS: Final = "disk.json"
# The files that grow; with what SQLite keeps beside them.
FILES: Final = "*.sqlite"
# A pool has ten; names that a person copies there are not to become labels without bound.
MAX_FILES: Final = 24


@dataclass(frozen=True, slots=True)
class Disk:
    """How a data folder's disk is: bytes free, what the pool's databases take by file name, and how it fills."""

    free: int
    files: Mapping[str, int]
    trend: Trend | None


def disk_now(data: Path, now_ms: int) -> Disk:
    """By the readings that a `DiskWatch` of this folder keeps. Raises OSError."""
    now = read_disk(data, now_ms)
    return Disk(now.free, file_sizes(data), trend_of(load_readings(data), now))


class DiskWatch:
    """Of one data folder. Raises OSError."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._readings: Sequence[Reading] = load_readings(data)

    async def look(self, now_ms: int) -> tuple[int, Trend | None]:
        """How much is free, and how it fills; notes a reading when it is time for one."""
        now = read_disk(self._data, now_ms)
        if is_due(self._readings, now_ms):
            self._readings = noted(self._readings, now)
            try:
                text = json.dumps([asdict(each) for each in self._readings]).encode()
                await anyio.to_thread.run_sync(write_whole, self._data / READINGS, text)
            except OSError as error:
                # A full disk is what the operator is to hear of.
                logger.error("the disk's readings can't be kept in %s: %s", READINGS, error)
        return now.free, trend_of(self._readings, now)


def read_disk(data: Path, now_ms: int) -> Reading:
    """The disk now. Raises OSError."""
    usage = shutil.disk_usage(data)
    return Reading(now_ms, usage.free, usage.total)


def load_readings(data: Path) -> Sequence[Reading]:
    """What was read before; a file that cannot be read is none: then the trend is known a day later."""
    try:
        return msgspec.json.decode((data / READINGS).read_bytes(), type=tuple[Reading, ...])
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        logger.warning("%s cannot be read, the disk is read anew: %s", READINGS, error)
        return ()


def file_sizes(data: Path) -> Mapping[str, int]:
    """What the pool's databases take, bytes, by file name, the largest of them; what is gone meanwhile is left out."""
    sizes: dict[str, int] = {}
    for path in sorted(data.glob(FILES)):
        for part in (path, path.with_name(path.name + "-wal")):
            try:
                sizes[path.name] = sizes.get(path.name, 0) + part.stat().st_size
            except OSError:
                continue
    return dict(sorted(sizes.items(), key=lambda item: -item[1])[:MAX_FILES])
