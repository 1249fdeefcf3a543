"""Bans on disk: over restarts, between lanes, lifted from outside, and files that are not what they should be."""

import logging
from pathlib import Path

import pytest

from stratum_edge.adapters import ban_files
from stratum_edge.adapters.ban_files import BanFiles, bans_in, clear_bans
from stratum_edge.bans import BanRule
from stratum_edge.households import parse_networks

NOW = 1_700_000_000_000
RULE = BanRule(strikes=2, window_ms=600_000, ban_ms=600_000)
PEER, OTHER = "203.0.113.7", "2001:db8::1"


def ban(bans: BanFiles, address: str, now: int = NOW) -> int:
    assert bans.strike(address, now, RULE, "too many errors") == 0
    until = bans.strike(address, now, RULE, "too many errors")
    assert until > now
    bans.refresh(now)
    return until


def test_a_ban_outlives_a_restart_and_grows_over_it(tmp_path: Path) -> None:
    until = ban(BanFiles(tmp_path, "0"), PEER)
    again = BanFiles(tmp_path, "0")
    assert again.until(PEER, NOW) == until == NOW + 600_000
    assert ban(again, PEER, until) == until + 1_200_000
    assert BanFiles(tmp_path, "0").until(PEER, until) == until + 1_200_000


def test_lanes_see_each_others_bans_at_their_next_look(tmp_path: Path) -> None:
    zero, one = BanFiles(tmp_path, "0"), BanFiles(tmp_path, "1")
    until = ban(zero, PEER)
    assert one.until(PEER, NOW) == 0
    one.refresh(NOW)
    assert one.until(PEER, NOW) == until
    ban(one, OTHER)
    assert [entry.address for entry in bans_in(tmp_path, NOW)] == ["2001:db8::/64", PEER]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lane-0.json", "lane-1.json"]


def test_clearing_reaches_running_lanes_and_those_that_start_later(tmp_path: Path) -> None:
    zero = BanFiles(tmp_path, "0")
    ban(zero, PEER)
    ban(zero, OTHER)
    assert [entry.address for entry in clear_bans(tmp_path, PEER, NOW + 1)] == [PEER]
    assert zero.until(PEER, NOW + 1), "not looked yet"
    later = BanFiles(tmp_path, "0")
    zero.refresh(NOW + 1)
    for lane in (zero, later):
        assert not lane.until(PEER, NOW + 1)
        assert lane.until(OTHER, NOW + 1)
    assert len(clear_bans(tmp_path, None, NOW + 2)) == 1
    zero.refresh(NOW + 2)
    assert not zero.until(OTHER, NOW + 2)
    assert bans_in(tmp_path, NOW + 2) == []
    assert clear_bans(tmp_path, None, NOW + 3) == []
    assert (tmp_path / "lane-0.json").read_text() == "[]"
    ban(zero, PEER, NOW + 4)
    assert bans_in(tmp_path, NOW + 4)


def test_a_folder_that_is_not_there_is_no_ban_and_is_made_when_needed(tmp_path: Path) -> None:
    folder = tmp_path / "bans"
    assert bans_in(folder, NOW) == []
    bans = BanFiles(folder, "0")
    bans.refresh(NOW)
    assert not folder.exists()
    ban(bans, PEER)
    assert bans_in(folder, NOW)
    assert clear_bans(tmp_path / "new", None, NOW) == []


@pytest.mark.parametrize("content", [b"", b"[{]", b'[{"address": 3}]', b'{"all": "x"}', b"\xff" * 100, b"[1]" * 9])
def test_an_unreadable_file_is_said_put_aside_and_not_fatal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    for name in ("lane-0.json", "lane-1.json", "cleared.json"):
        (tmp_path / name).write_bytes(content)
    with caplog.at_level(logging.ERROR):
        bans = BanFiles(tmp_path, "0")
    assert [record.getMessage().count("can't be read") for record in caplog.records] == [1, 1, 1]
    assert (tmp_path / "lane-0.json.unreadable").read_bytes() == content
    ban(bans, PEER)
    assert bans_in(tmp_path, NOW)


def test_a_file_too_large_or_no_file_at_all_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ban_files, "MAX_FILE_BYTES", 10)
    (tmp_path / "lane-0.json").write_bytes(b"[" + b" " * 20 + b"]")
    (tmp_path / "lane-1.json").mkdir()
    ban(BanFiles(tmp_path, "2"), PEER)
    assert (tmp_path / "lane-0.json.unreadable").exists()
    assert (tmp_path / "lane-1.json.unreadable").is_dir()


def test_a_full_disk_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bans = BanFiles(tmp_path, "0")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(ban_files, "_write", full)
        until = ban(bans, PEER)
        bans.refresh(NOW)
        assert [record.getMessage().count("No space left") for record in caplog.records] == [1]
        assert bans.until(PEER, NOW) == until
    assert bans_in(tmp_path, NOW) == []
    bans.refresh(NOW)
    assert bans_in(tmp_path, NOW)


def test_trusted_networks_can_change_while_running(tmp_path: Path) -> None:
    bans = BanFiles(tmp_path, "0")
    until = ban(bans, PEER)
    bans.trust(parse_networks(["203.0.113.0/24"]))
    assert bans.until(PEER, NOW) == 0
    bans.trust(())
    assert bans.until(PEER, NOW) == until
