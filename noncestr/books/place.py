"""Where the accounting keeps its books: a file of the data folder, or a PostgreSQL database."""

from pathlib import Path
from typing import Final

from accounting.adapters.postgres_database import PostgresPlace
from accounting.adapters.store import StorePlace
from noncestr.config.ledger import AccountingSection
from noncestr.errors import NoncestrError

LEDGER: Final = "ledger.sqlite"


def find_database(section: AccountingSection) -> PostgresPlace | None:
    """The configured server; None for the file. Raises NoncestrError."""
    if not section.database:
        return None
    password = None
    if section.database_password_file:
        path = Path(section.database_password_file).expanduser()
        try:
            password = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NoncestrError(f"[accounting] database_password_file: cannot read {path}: {error}") from None
        if path.stat().st_mode & 0o077:
            raise NoncestrError(f"[accounting] database_password_file: others can read it: run chmod 600 {path}")
    return PostgresPlace(section.database, password)


def ledger_place(section: AccountingSection, data: Path) -> StorePlace:
    """Where the books are. Raises NoncestrError."""
    return find_database(section) or data / LEDGER
