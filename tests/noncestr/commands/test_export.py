"""`noncestr accounting export`: files for other programs, or a plain refusal."""

import anyio
import pytest
import typer
from beancount import loader
from typer.testing import CliRunner

from accounting.adapters.store import open_store
from nips.nip19 import encode_npub
from noncestr.commands.accounting import accounting_app
from noncestr.errors import NoncestrError
from tests.vectors.example_log import ACCOUNTING, POOL

MINER = encode_npub(ACCOUNTING.pubkey)


def export(*words):
    app = typer.Typer()
    app.add_typer(accounting_app, name="accounting")
    return CliRunner().invoke(app, ["accounting", "export", *map(str, words)])


@pytest.fixture
def data(tmp_path):
    async def make():
        async with open_store(tmp_path / "ledger.sqlite", POOL, ACCOUNTING.pubkey):
            pass

    anyio.run(make)
    return tmp_path


def test_books_without_an_entry_are_whole_files(data, tmp_path):
    books, table = tmp_path / "books.beancount", tmp_path / "taxes.csv"
    assert export("beancount", "--data", data, "--out", books).exit_code == 0
    _, errors, options = loader.load_file(str(books))
    assert errors == []
    assert options["title"] == f"Books of the pool {POOL}"
    assert export("csv", "--npub", MINER, "--year", 2026, "--data", data, "--out", table).exit_code == 0
    assert table.read_text().startswith("time,type,sat,msat,")
    assert sorted(tmp_path.glob("*.part")) == []
    assert export("csv", "--npub", MINER, "--year", 2026, "--data", data).stdout.startswith("time,")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("csv", "--npub", "npub1nobody", "--year", 2026), "this npub"),
        (("csv", "--npub", MINER, "--year", 12), "no year"),
        (("beancount", "--data", "/nowhere"), "there are no books"),
    ],
)
def test_what_cannot_be_exported_is_said(words, said, data):
    done = export(*words, *(() if "--data" in words else ("--data", data)))
    assert isinstance(done.exception, NoncestrError)
    assert said in str(done.exception)
