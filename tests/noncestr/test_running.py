"""Parts stop in reverse order; a failing part takes the rest down; a data folder has one pool."""

import resource
from pathlib import Path

import anyio
import pytest

from noncestr.errors import NoncestrError
from noncestr.running import leaves, looping, only_one, raise_file_limit, running


def part(name: str, log: list[str]):
    async def run(*, task_status=anyio.TASK_STATUS_IGNORED) -> None:
        log.append(f"{name} up")
        task_status.started()
        try:
            await anyio.sleep_forever()
        finally:
            log.append(f"{name} down")

    return run


@pytest.mark.anyio
async def test_parts_stop_in_reverse_order() -> None:
    log: list[str] = []
    async with running(part("relay", log)), running(part("edge", log)):
        log.append("work")
    assert log == ["relay up", "edge up", "work", "edge down", "relay down"]


@pytest.mark.anyio
async def test_a_failing_part_ends_the_block() -> None:
    async def fail() -> None:
        raise RuntimeError("disk")

    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with running(part("relay", log)), looping(fail):
            await anyio.sleep_forever()
    assert caught.group_contains(RuntimeError, match="disk")
    assert log == ["relay up", "relay down"]


def test_a_data_folder_has_one_pool(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(NoncestrError, match="another noncestr is running"), only_one(tmp_path):
        raise AssertionError("both hold the folder")
    with only_one(tmp_path):
        assert (tmp_path / "lock").exists()


def test_leaves_of_nested_groups() -> None:
    one, two, three = OSError("a"), ValueError("b"), KeyError("c")
    assert leaves(ExceptionGroup("x", [one, ExceptionGroup("y", [two]), three])) == [one, two, three]


def test_the_file_limit_rises_to_what_is_allowed_and_never_falls() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        assert raise_file_limit(600) == 600
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (600, before[1])
        assert raise_file_limit(100) == 600
        assert raise_file_limit(before[1] + 1) == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
