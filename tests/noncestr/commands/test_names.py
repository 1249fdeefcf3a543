"""`edge names list|forget` on a file that an edge has written."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nips.keys import SecretKey
from nips.nip19 import encode_npub
from noncestr.commands.names import names_app
from noncestr.edge.files import NAMES
from noncestr.errors import NoncestrError
from stratum_edge.adapters.name_pins import NamePins

KEY, OTHER = SecretKey(b"\x03" * 32).pubkey, SecretKey(b"\x04" * 32).pubkey


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with NamePins(tmp_path / NAMES) as pins:
        pins.keep("alice@example.com", KEY, 1_700_000_000_000)
        pins.keep("bob@example.com", KEY, 1_700_000_000_000)
        pins.keep("bob@example.com", OTHER, 1_700_000_100_000)
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(names_app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_changed_names_come_first_and_show_what_was_refused(data: Path) -> None:
    lines = run("list", "--data", str(data)).splitlines()
    assert lines[0].startswith(f"bob@example.com  {encode_npub(KEY)}")
    assert f"CHANGED: says {encode_npub(OTHER)} since 2023-11-14 22:15 UTC" in lines[1]
    assert lines[2].startswith("alice@example.com")
    rows = json.loads(run("list", "--data", str(data), "--json"))
    assert [row["refused"] for row in rows] == [encode_npub(OTHER), ""]


def test_a_name_is_forgotten_in_any_case_of_letters(data: Path) -> None:
    assert "bob@example.com is forgotten" in run("forget", "Bob@Example.com", "--data", str(data))
    assert "bob" not in run("list", "--data", str(data))
    run("forget", "alice@example.com", "--data", str(data))
    assert run("list", "--data", str(data)) == "no name is pinned\n"


@pytest.mark.parametrize(("address", "says"), [("carol@example.com", "not pinned"), ("carol@", "domain")])
def test_what_is_not_there_can_not_be_forgotten(data: Path, address: str, says: str) -> None:
    with pytest.raises(NoncestrError, match=says):
        run("forget", address, "--data", str(data))


def test_without_a_file_or_with_a_broken_one_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoncestrError, match="no names are kept"):
        run("list", "--data", str(tmp_path))
    (tmp_path / NAMES).write_bytes(b"not a database at all" * 100)
    with pytest.raises(NoncestrError, match="can't be used"):
        run("list", "--data", str(tmp_path))
