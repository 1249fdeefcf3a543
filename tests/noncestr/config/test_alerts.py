"""[alerts]: when and of what the operator is told."""

from pathlib import Path

import pytest

from noncestr.config.alerts import AlertsSection, cron
from noncestr.config.file import load_config
from noncestr.errors import ConfigError


def load(tmp_path: Path, text: str, **env: str) -> AlertsSection:
    path = tmp_path / "noncestr.toml"
    path.write_text(f"[alerts]\n{text}\n")
    return load_config(path, env).alerts


def test_a_report_has_a_schedule_or_none() -> None:
    assert cron("") is None
    assert cron("0 8 * * *") is None
    for wrong in ("tomorrow", "0 8 * *", "61 8 * * *", "* * * * * *"):
        assert cron(wrong)


def test_what_is_told_can_be_set_in_the_file_and_the_environment(tmp_path: Path) -> None:
    found = load(tmp_path, 'report = "0 8 * * *"\ndisk_days = 0', NONCESTR_ALERTS_DISK_MIB="0")
    assert (found.report, found.disk_days, found.disk_mib) == ("0 8 * * *", 0, 0)
    assert found.repeat_hours == AlertsSection().repeat_hours


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("report", '"at eight"'),
        ("repeat_hours", "0"),
        ("backlog", "0"),
        ("payout_hours", "721"),
        ("disk_mib", "-1"),
        ("disk_days", "3651"),
        ("services", "[]"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"\[alerts\] {key}"):
        load(tmp_path, f"{key} = {value}")
