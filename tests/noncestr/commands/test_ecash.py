"""`noncestr ecash`, on a treasury that another process works on, and on none."""

import json
from pathlib import Path

import anyio
import pytest

from noncestr.commands.ecash import show
from noncestr.errors import NoncestrError
from noncestr.payouts.ecash import FILE
from tests.zapper.mints import MemoryMint
from tests.zapper.test_treasury import fill, locked, treasury_at


def test_what_is_held_is_shown_beside_the_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        mint = MemoryMint()
        async with treasury_at(tmp_path, mint) as treasury:
            await fill(treasury)
            await treasury.send(*locked(mint, 777), max_fee=0)
            (tmp_path / FILE).symlink_to(tmp_path / "proofs.sqlite")
            await anyio.to_thread.run_sync(lambda: show(tmp_path, True))

    anyio.run(work)
    found = json.loads(capsys.readouterr().out)
    assert found["mints"]["http://mint.test"]["free"] == 10_000 - 777
    assert found["mints"]["http://mint.test"]["out"] == 777
    assert found["problems"] == []


def test_without_a_treasury_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoncestrError, match="no treasury"):
        show(tmp_path, False)
