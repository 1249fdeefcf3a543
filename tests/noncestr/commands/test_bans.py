"""`edge bans list|clear` on the files of a pool that does not run."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from noncestr.clock import WallClock
from noncestr.commands.bans import bans_app
from noncestr.edge.files import BANS
from noncestr.errors import NoncestrError
from stratum_edge.adapters.ban_files import BanFiles
from stratum_edge.bans import BanRule


@pytest.fixture
def data(tmp_path: Path) -> Path:
    bans, now = BanFiles(tmp_path / BANS, "0"), WallClock().now_ms()
    for address in ("203.0.113.7", "2001:db8::1"):
        bans.strike(address, now, BanRule(1, 600_000, 600_000), "too many errors")
    bans.refresh(now)
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(bans_app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_list_is_a_table_or_json(data: Path) -> None:
    table = run("list", "--data", str(data))
    assert all(word in table for word in ("203.0.113.7", "2001:db8::/64", "too many errors", "UTC"))
    found = json.loads(run("list", "--data", str(data), "--json"))
    assert {ban["address"] for ban in found} == {"203.0.113.7", "2001:db8::/64"}
    assert {(ban["strikes"], ban["times"]) for ban in found} == {(1, 1)}


def test_one_is_cleared_by_any_address_of_its_household_and_then_all(data: Path) -> None:
    assert run("clear", "2001:db8::99", "--data", str(data)) == "lifted: 2001:db8::/64\n"
    assert run("clear", "2001:db8::99", "--data", str(data)) == "there was no such ban\n"
    assert [ban["address"] for ban in json.loads(run("list", "--data", str(data), "--json"))] == ["203.0.113.7"]
    assert [ban["address"] for ban in json.loads(run("clear", "--data", str(data), "--json"))] == ["203.0.113.7"]
    assert run("list", "--data", str(data)) == "nobody is banned\n"
    assert run("clear", "all", "--data", str(data)) == "nobody was banned\n"


def test_what_is_no_address_is_said(data: Path) -> None:
    with pytest.raises(NoncestrError, match="'everyone' is no IPv4 or IPv6 address"):
        run("clear", "everyone", "--data", str(data))
    (data / "file").write_text("")
    with pytest.raises(NoncestrError):
        run("clear", "all", "--data", str(data / "file"))
