"""Where the books are kept, as the configuration says it."""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from noncestr.config.key import config_key as _key


def database_url(value: str) -> str | None:
    """Nothing, or a postgresql:// URL without a password. The complaint never quotes the value."""
    if not value:
        return None
    try:
        url = urlsplit(value)
        asked = parse_qs(url.query)
        hidden = url.password is not None or "password" in asked
    except ValueError:
        return "must be a URL, postgresql://USER@HOST/DATABASE"
    if url.scheme not in ("postgresql", "postgres"):
        return "must be a URL, postgresql://USER@HOST/DATABASE, or empty for SQLite"
    if hidden:
        return "must not hold a password: put it into a file (database_password_file) or into PGPASSWORD"
    if url.path in ("", "/"):
        return "must name the database: postgresql://USER@HOST/DATABASE"
    return None


@dataclass(frozen=True, slots=True)
class AccountingSection:
    """Where the books are kept."""

    database: str = _key(
        "",
        'Empty: ledger.sqlite in the data folder. Or PostgreSQL, "postgresql://USER@HOST/DATABASE" without a password.',
        database_url,
        secret=True,
    )
    database_password_file: str = _key("", "A file that holds the database's password alone; else PGPASSWORD is used.")
