"""`noncestr alerts`."""

import json

import pytest
from typer.testing import CliRunner

from noncestr.alerts.watch import MEMORY
from noncestr.cli import command_line
from noncestr.errors import NoncestrError


def run(*args):
    result = CliRunner().invoke(command_line(), [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_lasting_troubles_are_shown(tmp_path):
    assert run("alerts", "show", "--data", tmp_path).output == "no trouble is known\n"
    lasting = {"disk": {"since_ms": 1_800_000_000_000, "said_ms": 0, "text": "12 MiB are left"}}
    (tmp_path / MEMORY).write_text(json.dumps(lasting))
    assert run("alerts", "show", "--data", tmp_path).output == "since 2027-01-15 08:00 UTC: 12 MiB are left\n"


def test_a_test_that_nobody_takes(tmp_path, free_tcp_port):
    config = tmp_path / "noncestr.toml"
    services = tmp_path / "services"
    services.write_text(f"json://127.0.0.1:{free_tcp_port}/secret\n")
    services.chmod(0o600)
    config.write_text(f'[alerts]\nservices = "{services}"\n')
    result = run("alerts", "test", "--config", config)
    assert result.exit_code == 1
    assert result.output == "json:// did not take it\n"
    config.write_text("")
    with pytest.raises(NoncestrError, match="names no file"):
        run("alerts", "test", "--config", config)
