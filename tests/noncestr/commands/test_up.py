"""`noncestr up`: what the line says goes to the pool, again at every reload."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from noncestr import compose
from noncestr.commands.up import up


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, Path, dict[str, Any]]]:
    """How pools were started: configuration, data folder, the rest."""
    found: list[tuple[Any, Path, dict[str, Any]]] = []

    async def run_pool(config: Any, data: Path, **options: Any) -> None:
        found.append((config, data, options))

    monkeypatch.setattr(compose, "run_pool", run_pool)
    monkeypatch.setattr("noncestr.logs.set_up_logging", lambda _: None)
    monkeypatch.setattr("noncestr.running.raise_file_limit", lambda: None)
    monkeypatch.chdir(tmp_path)
    return found


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(up)
    return CliRunner().invoke(app, list(arguments))


def test_a_pool_of_the_defaults(started: Any) -> None:
    assert run().exit_code == 0
    ((config, data, options),) = started
    assert data == Path("data")
    assert (options["lan"], options["demo"]) == (False, True)
    assert options["reread"]() == config


def test_the_line_outranks_the_file_and_does_so_at_every_reload(started: Any, tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    path.write_text('[pool]\nname = "One"\n[edge]\nworkers = 1\n')
    assert run("--config", str(path), "--data", "there", "--lan", "--no-demo", "--workers", "3").exit_code == 0
    ((config, data, options),) = started
    assert (data, options["lan"], options["demo"], config.edge.workers) == (Path("there"), True, False, 3)
    path.write_text('[pool]\nname = "Two"\n[edge]\nworkers = 2\n')
    again = options["reread"]()
    assert (again.pool.name, again.edge.workers) == ("Two", 3)


@pytest.mark.parametrize("workers", ["0", "65", "many"])
def test_a_number_of_processes_that_cannot_be_is_refused(started: Any, workers: str) -> None:
    assert run("--workers", workers).exit_code == 2
    assert started == []
