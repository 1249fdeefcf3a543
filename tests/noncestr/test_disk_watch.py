"""The data folder's disk over restarts, a file that can't be read, and one that can't be written."""

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from noncestr import disk_watch
from noncestr.disk_trend import HOUR_MS, Reading
from noncestr.disk_watch import MAX_FILES, READINGS, DiskWatch, disk_now, file_sizes, load_readings

pytestmark = pytest.mark.anyio
TOTAL = 10**12
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """`free` is what is free."""
    now = {"free": 500 * 10**9}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(TOTAL, TOTAL - now["free"], now["free"]))
    return now


async def test_how_it_fills_is_known_over_restarts(tmp_path: Path, disk: dict[str, int]) -> None:
    for hour in range(40):
        disk["free"] -= 10**9
        # A restart every hour, and many looks between.
        watch = DiskWatch(tmp_path)
        for minute in (0, 1, 30):
            free, trend = await watch.look(hour * HOUR_MS + minute * 60_000)
            assert free == disk["free"]
            assert (trend is None) == (hour < 24)
    assert trend is not None
    assert (trend.bytes, trend.ms) == (39 * 10**9, 39 * HOUR_MS + 30 * 60_000)
    assert len(load_readings(tmp_path)) == 40
    told = disk_now(tmp_path, 39 * HOUR_MS + 30 * 60_000)
    assert (told.free, told.trend) == (disk["free"], trend)


async def test_a_file_of_nonsense_is_begun_anew(tmp_path: Path, disk: dict[str, int]) -> None:
    for nonsense in (b"", b"\xff", b'{"a":1}', b'[{"ms":"x"}]'):
        (tmp_path / READINGS).write_bytes(nonsense)
        assert load_readings(tmp_path) == ()
        await DiskWatch(tmp_path).look(5)
        assert load_readings(tmp_path) == (Reading(5, disk["free"], TOTAL),)
    assert json.loads((tmp_path / READINGS).read_bytes()) == [{"ms": 5, "free": disk["free"], "total": TOTAL}]


async def test_a_full_disk_is_still_told_of(
    tmp_path: Path, disk: dict[str, int], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(disk_watch, "write_whole", full)
    disk["free"] = 0
    assert await DiskWatch(tmp_path).look(5) == (0, None)
    assert "No space left" in caplog.text


def test_what_the_databases_take(tmp_path: Path) -> None:
    for name, size in (("ledger.sqlite", 5), ("ledger.sqlite-wal", 3), ("ledger.fold.sqlite", 7), ("terms.jsonl", 9)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert file_sizes(tmp_path) == {"ledger.sqlite": 8, "ledger.fold.sqlite": 7}
    for number in range(2 * MAX_FILES):
        (tmp_path / f"copy{number}.sqlite").write_bytes(b"xx")
    sizes = file_sizes(tmp_path)
    assert len(sizes) == MAX_FILES
    assert sizes["ledger.sqlite"] == 8
    assert file_sizes(tmp_path / "none") == {}
