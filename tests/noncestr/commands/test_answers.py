"""Who answers about payouts: the pool that runs on the folder, the folder itself, or nobody."""

from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from noncestr.commands.answers import answer
from noncestr.edge.control import CONTROL, serve_services
from noncestr.errors import NoncestrError
from noncestr.payouts.wiring import STORE
from noncestr.running import only_one, running
from zapper.adapters.intent_store import open_intent_store

pytestmark = pytest.mark.anyio


async def asked(data: Path, name: str, *args: Any) -> Any:
    """From another thread, as another process would: the command has a loop of its own."""
    return await anyio.to_thread.run_sync(lambda: answer(data, name, *args, timeout_s=60))


async def test_a_stopped_pools_folder_answers_by_itself(tmp_path: Path) -> None:
    with pytest.raises(NoncestrError, match="has no payouts yet"):
        await asked(tmp_path, "payouts_show", "", 5)
    async with open_intent_store(tmp_path / STORE):
        pass
    assert (await asked(tmp_path, "payouts_show", "", 5))["payouts"] == []


async def test_a_running_pool_answers_on_its_socket(tmp_path: Path) -> None:
    async def show(which: str, limit: int) -> Any:
        return {"which": which, "limit": limit}

    with only_one(tmp_path):
        async with running(lambda **told: serve_services(tmp_path / CONTROL, {"payouts_show": show}, **told)):
            assert await asked(tmp_path, "payouts_show", "npub", 7) == {"which": "npub", "limit": 7}
            with pytest.raises(NoncestrError):
                await asked(tmp_path, "payouts_plan")
        # It holds the folder, and no longer answers.
        with pytest.raises(NoncestrError):
            await asked(tmp_path, "payouts_show", "", 5)


async def test_a_mistyped_folder_is_said_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(NoncestrError, match="no folder of a pool"):
        await asked(tmp_path / "none", "payouts_show", "", 5)
    assert not (tmp_path / "none").exists()
