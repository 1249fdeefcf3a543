"""`noncestr miner`: the line as the miner gets it, and its exit status."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from noncestr.commands import mine
from noncestr.commands.miner import miner

LINE = ("--url", "stratum+tcp://127.0.0.1:3333", "--user", "npub1x.rig")


@pytest.fixture
def mined(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    found: list[tuple[tuple[str, ...], dict[str, Any]]] = []

    async def run_mine(*where: str, **how: Any) -> int:
        found.append((where, how))
        return 3

    monkeypatch.setattr(mine, "run_mine", run_mine)
    return found


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(miner)
    return CliRunner().invoke(app, list(arguments))


def test_as_fast_as_a_core_can_without_a_record(mined: Any) -> None:
    assert run(*LINE).exit_code == 3
    assert mined == [((LINE[1], LINE[3]), {"password": "x", "max_hps": None, "record": None, "until_eof": False})]


def test_all_that_can_be_asked(mined: Any) -> None:
    run(*LINE, "--password", "d=512", "--max-hps", "7", "--record", "r.jsonl", "--until-eof")
    assert mined[0][1] == {"password": "d=512", "max_hps": 7, "record": Path("r.jsonl"), "until_eof": True}


def test_what_cannot_be_is_refused(mined: Any) -> None:
    for wrong in ((), LINE[:2], (*LINE, "--max-hps", "0"), (*LINE, "--record")):
        assert run(*wrong).exit_code == 2
    assert mined == []
