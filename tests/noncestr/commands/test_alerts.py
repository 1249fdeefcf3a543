"""`noncestr alerts`: whether a test reaches every service, and what lasts."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from noncestr.alerts.conditions import Lasting
from noncestr.alerts.operator_line import OperatorLine
from noncestr.alerts.watch import MEMORY, save_memory
from noncestr.commands.alerts import alerts_app
from noncestr.errors import NoncestrError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(alerts_app, list(arguments))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    services = tmp_path / "services"
    services.write_text("json://127.0.0.1:9/\nntfy://127.0.0.1:9/topic\n")
    services.chmod(0o600)
    path = tmp_path / "noncestr.toml"
    path.write_text(f'[pool]\nname = "Example"\n[alerts]\nservices = "{services}"\n')
    return path


def test_every_service_gets_the_test(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str]] = []

    async def send(_line: OperatorLine, title: str, text: str) -> list[str]:
        sent.append((title, text))
        return []

    monkeypatch.setattr(OperatorLine, "send", send)
    found = run("test", "--config", str(config))
    assert (found.exit_code, found.output) == (0, "every service took it\n")
    assert [title for title, _ in sent] == ["Example: test"]


def test_one_that_does_not_take_it_is_named_without_its_secrets(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(_line: OperatorLine, _title: str, _text: str) -> list[str]:
        return ["ntfy"]

    monkeypatch.setattr(OperatorLine, "send", send)
    found = run("test", "--config", str(config))
    assert (found.exit_code, found.output) == (1, "ntfy:// did not take it\n")


def test_without_services_nobody_is_told_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "noncestr.toml"
    path.write_text("")
    found = run("test", "--config", str(path))
    assert isinstance(found.exception, NoncestrError)
    assert "nobody is told" in str(found.exception)


def test_what_lasts_is_shown_the_oldest_first_and_says_since_when(tmp_path: Path) -> None:
    assert run("show", "--data", str(tmp_path)).output == "no trouble is known\n"
    since = 1_800_000_000_000
    save_memory(
        tmp_path / MEMORY,
        {"b": Lasting(since + 60_000, 0, "later"), "a": Lasting(since, since, "the disk fills")},
    )
    assert run("show", "--data", str(tmp_path)).output.splitlines() == [
        "since 2027-01-15 08:00 UTC: the disk fills",
        "since 2027-01-15 08:01 UTC: later",
    ]
    (tmp_path / MEMORY).write_text(json.dumps(["nonsense"]))
    assert run("show", "--data", str(tmp_path)).output == "no trouble is known\n"
    assert isinstance(run("show", "--data", str(tmp_path / "mistyped")).exception, NoncestrError)
