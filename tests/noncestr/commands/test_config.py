"""`noncestr config`: what `example` prints passes `check`, and what is wrong is all told at once."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from noncestr.commands.config import config_app
from noncestr.commands.options import read_config
from noncestr.config.sections import Config
from noncestr.errors import ConfigError


def test_the_example_is_a_configuration_of_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = CliRunner().invoke(config_app, ["example"])
    (tmp_path / "noncestr.toml").write_text(printed.output)
    checked = CliRunner().invoke(config_app, ["check"])
    assert (checked.exit_code, checked.output) == (0, "the configuration is fine\n")
    assert read_config(None) == Config()


def test_every_mistake_is_told(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[alerts]\ndisk_days = -1\nnoise = 5\n[mint]\nurls = 7\n")
    found = CliRunner().invoke(config_app, ["check", "--config", str(path)])
    assert isinstance(found.exception, ConfigError)
    for what in ("[alerts] disk_days", "[alerts] noise", "[mint] urls"):
        assert what in str(found.exception)
