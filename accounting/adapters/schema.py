"""The tables of the accounting's database, by the number of the migration that made them.

Written in SQLite's words; accounting.adapters.postgres_database says what PostgreSQL calls a few of them.
"""

from accounting.adapters.database import Database, StoreError

# One transaction a version; a number once released is never changed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE identity (pool TEXT NOT NULL, signer TEXT NOT NULL)",
        # `position` is the order of arrival; `checked` what hashing a batch's shares came to, so that it is done once.
        """CREATE TABLE events (
            position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL, created_at INTEGER NOT NULL,
            raw BLOB NOT NULL, checked BLOB)""",
        "CREATE INDEX events_by_time ON events (created_at)",
        "CREATE TABLE own_chain (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE REFERENCES events (id))",
        "CREATE TABLE unpublished (seq INTEGER PRIMARY KEY REFERENCES own_chain (seq))",
        # The disk itself refuses a second statement of one reward; a void one gives the name free.
        """CREATE TABLE own_statements (
            id TEXT PRIMARY KEY REFERENCES events (id), block TEXT NOT NULL, void INTEGER NOT NULL DEFAULT 0)""",
        "CREATE UNIQUE INDEX one_statement_a_reward ON own_statements (block) WHERE void = 0",
        """CREATE TABLE transactions (
            id TEXT PRIMARY KEY, created_at INTEGER NOT NULL, text TEXT NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE postings (
            transaction_id TEXT NOT NULL REFERENCES transactions (id), account TEXT NOT NULL, msat INTEGER NOT NULL,
            PRIMARY KEY (transaction_id, account)) WITHOUT ROWID""",
        "CREATE INDEX postings_by_account ON postings (account)",
        """CREATE TABLE rewards (
            statement TEXT PRIMARY KEY, block TEXT NOT NULL, height INTEGER NOT NULL, found_ms INTEGER NOT NULL,
            gross_msat INTEGER NOT NULL, fee_msat INTEGER NOT NULL, state TEXT NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE payouts (
            payout_id TEXT PRIMARY KEY, event TEXT NOT NULL, miner TEXT NOT NULL, amount_msat INTEGER NOT NULL,
            network_fee_msat INTEGER NOT NULL, method TEXT NOT NULL) WITHOUT ROWID""",
        # The newest of each addressable event, so that a restart does not tell everybody what they know.
        "CREATE TABLE views (address TEXT PRIMARY KEY, created_at INTEGER NOT NULL, content TEXT NOT NULL)",
    ),
    (
        # Archives to announce, by the hash of their lines, and the 4220 that does; `noncestr archive` asks.
        "CREATE TABLE archives (stream TEXT PRIMARY KEY, body BLOB NOT NULL, event TEXT REFERENCES events (id))",
    ),
    (
        # Numbered as they are asked for: not every database has a row's number of its own.
        """CREATE TABLE numbered_archives (
            number INTEGER PRIMARY KEY, stream TEXT NOT NULL UNIQUE, body BLOB NOT NULL,
            event TEXT REFERENCES events (id))""",
        "INSERT INTO numbered_archives (stream, body, event) SELECT stream, body, event FROM archives",
        "DROP TABLE archives",
        "ALTER TABLE numbered_archives RENAME TO archives",
    ),
    # Exports go through the books by time, a page at a time.
    ("CREATE INDEX transactions_by_time ON transactions (created_at, id)",),
    # What batches came to that end with this one: to be counted together when the log is folded anew.
    ("CREATE TABLE spans (id TEXT PRIMARY KEY REFERENCES events (id), body BLOB NOT NULL)",),
    # What miners got out of fees, as the rewards stand; a start fills it from the log.
    (
        """CREATE TABLE bonuses (
            miner TEXT PRIMARY KEY, pending_msat INTEGER NOT NULL, matured_msat INTEGER NOT NULL) WITHOUT ROWID""",
    ),
    (
        # One row: what was let go of strangers (accounting.strangers). Of this version on `raw` may be deflated
        # (accounting.kept_events), or empty: archives alone have that receipt.
        """CREATE TABLE let_go (
            events INTEGER NOT NULL, newest INTEGER NOT NULL, keys INTEGER NOT NULL, again INTEGER NOT NULL)""",
        "INSERT INTO let_go (events, newest, keys, again) VALUES (0, 0, 0, 0)",
    ),
)
# From this version on it takes requests to announce archives as they are written now.
ANNOUNCING_VERSION = 3
# And empty receipts.
PRUNING_VERSION = 7


async def migrate(database: Database) -> None:
    """Bring the tables to this version. Raises StoreError for those of a newer one."""
    version = await database.version()
    if version > len(MIGRATIONS):
        raise StoreError(
            database.place, f"it is of version {version}, this program knows {len(MIGRATIONS)}: use a newer noncestr"
        )
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        await database.migrate(number, statements)
