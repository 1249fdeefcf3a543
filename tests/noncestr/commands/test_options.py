"""What commands share: which folder, which configuration."""

from pathlib import Path

import pytest

from noncestr.commands.options import folder_there, read_config
from noncestr.config.sections import Config
from noncestr.errors import ConfigError, NoncestrError


def test_a_mistyped_folder_is_no_empty_one(tmp_path: Path) -> None:
    assert folder_there(tmp_path) == tmp_path
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(NoncestrError, match="is no folder of a pool"):
            folder_there(wrong)
    assert not (tmp_path / "none").exists(), "looking makes nothing"


def test_the_file_here_is_read_unless_another_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_config(None) == Config()
    (tmp_path / "noncestr.toml").write_text('[pool]\nname = "Here"\n')
    (tmp_path / "other.toml").write_text('[pool]\nname = "Other"\n')
    assert read_config(None).pool.name == "Here"
    assert read_config(tmp_path / "other.toml").pool.name == "Other"
    monkeypatch.setenv("NONCESTR_POOL_NAME", "Environment")
    assert read_config(None).pool.name == "Environment"
    with pytest.raises(ConfigError, match=r"none\.toml"):
        read_config(tmp_path / "none.toml")
