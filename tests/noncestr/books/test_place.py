"""Where the books are: a file, or a server whose password is in no configuration, message or log."""

import pytest

from accounting.adapters.postgres_database import PostgresPlace
from noncestr.books.place import find_database, ledger_place
from noncestr.config.file import load_config
from noncestr.config.ledger import AccountingSection, database_url
from noncestr.errors import ConfigError, NoncestrError

URL = "postgresql://noncestr@db.example.com:5433/books"


def test_without_a_url_it_is_a_file(tmp_path):
    assert ledger_place(AccountingSection(), tmp_path) == tmp_path / "ledger.sqlite"
    assert find_database(AccountingSection()) is None


def test_the_password_comes_from_its_file_and_is_never_shown(tmp_path):
    path = tmp_path / "password"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    section = AccountingSection(URL, str(path))
    place = ledger_place(section, tmp_path)
    assert place == PostgresPlace(URL, "correct horse")
    assert str(place) == "postgresql://db.example.com:5433/books (schema noncestr)"
    for shown in (str(place), repr(place), repr(section)):
        assert "correct horse" not in shown
    path.chmod(0o644)
    with pytest.raises(NoncestrError, match="chmod 600"):
        find_database(section)
    with pytest.raises(NoncestrError, match="cannot read"):
        find_database(AccountingSection(URL, str(tmp_path / "none")))


def test_a_socket_is_named_by_its_folder():
    place = PostgresPlace("postgresql://noncestr@/books?host=/var/run/postgresql")
    assert str(place) == "postgresql:///var/run/postgresql/books (schema noncestr)"
    assert str(PostgresPlace("postgresql:///books")) == "postgresql://localhost/books (schema noncestr)"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://a:secret@host/books", "must not hold a password"),
        ("postgresql://host/books?password=secret", "must not hold a password"),
        ("mysql://secret@host/books", "must be a URL"),
        ("/var/secret", "must be a URL"),
        ("postgresql://[secret/books", "must be a URL"),
        ("postgresql://secret@host", "must name the database"),
    ],
)
def test_a_bad_url_is_refused_and_not_quoted(url, says):
    complaint = database_url(url)
    assert complaint is not None
    assert says in complaint
    for loaded in (
        lambda: load_config(None, {"NONCESTR_ACCOUNTING_DATABASE": url}),
        lambda: load_config(None, {"NONCESTR_ACCOUNTING_DATABASE": url, "NONCESTR_WEB_PORT": "x"}),
    ):
        with pytest.raises(ConfigError) as refused:
            loaded()
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["", URL, "postgres://host/books", "postgresql:///books?host=/run/postgresql"])
def test_good_ones(url):
    assert database_url(url) is None
