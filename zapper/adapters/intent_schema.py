"""The intent store's tables, as numbered steps from each layout that was ever in use to the next.

SQLite's user_version says how many of them a file has been through. Each is one transaction: a kill leaves the layout
before or the one after. Steps that were released are never changed.
"""

import aiosqlite

from zapper.errors import StoreError

_FIRST = """
CREATE TABLE IF NOT EXISTS intents (
    payout_id TEXT PRIMARY KEY,
    miner TEXT NOT NULL,
    amount_msat INTEGER NOT NULL CHECK (amount_msat > 0),
    max_fee_msat INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    step_ms INTEGER NOT NULL,
    "to" TEXT NOT NULL,
    destination TEXT NOT NULL,
    provider TEXT,
    zap_request TEXT,
    invoice TEXT UNIQUE,
    payment_hash TEXT UNIQUE,
    expires_at INTEGER,
    preimage TEXT,
    fee_msat INTEGER NOT NULL,
    receipt TEXT,
    reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS payees (
    miner TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    not_before_ms INTEGER NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY,
    payout_id TEXT NOT NULL UNIQUE REFERENCES intents (payout_id),
    event_id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    event BLOB NOT NULL,
    published INTEGER NOT NULL DEFAULT 0
);
"""

# Any rail: an invoice is one payload of several (a batch's payouts share theirs), a payment hash one kind of reference.
_RAILS = """
CREATE TABLE intents_2 (
    payout_id TEXT PRIMARY KEY,
    miner TEXT NOT NULL,
    amount_msat INTEGER NOT NULL CHECK (amount_msat > 0),
    max_fee_msat INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    step_ms INTEGER NOT NULL,
    "to" TEXT NOT NULL,
    destination TEXT NOT NULL,
    method TEXT NOT NULL,
    provider TEXT,
    zap_request TEXT,
    payload TEXT,
    reference TEXT UNIQUE,
    expires_at INTEGER,
    preimage TEXT,
    evidence TEXT NOT NULL DEFAULT '',
    once TEXT,
    fee_borne INTEGER NOT NULL DEFAULT 0,
    fee_msat INTEGER NOT NULL,
    receipt TEXT,
    reason TEXT NOT NULL,
    kept_ms INTEGER
);
INSERT INTO intents_2 (payout_id, miner, amount_msat, max_fee_msat, state, created_ms, step_ms, "to", destination,
        method, provider, zap_request, payload, reference, expires_at, preimage, fee_msat, receipt, reason)
    SELECT payout_id, miner, amount_msat, max_fee_msat, state, created_ms, step_ms, "to", destination,
        CASE WHEN zap_request IS NULL THEN 'lnurl' ELSE 'zap' END, provider, zap_request, invoice, payment_hash,
        expires_at, preimage, fee_msat, receipt, reason FROM intents;
DROP TABLE intents;
ALTER TABLE intents_2 RENAME TO intents;
CREATE UNIQUE INDEX one_open ON intents (miner) WHERE state IN ('intent', 'invoiced', 'sending', 'unknown');
CREATE UNIQUE INDEX served_once ON intents (once) WHERE once IS NOT NULL AND state != 'failed';
CREATE INDEX requests ON intents (once) WHERE once IS NOT NULL;
CREATE INDEX held ON intents (miner) WHERE state IN ('intent', 'invoiced', 'sending', 'unknown', 'settled');
CREATE INDEX settled ON intents (created_ms) WHERE state IN ('settled', 'returned');
CREATE INDEX returnable ON intents (method) WHERE state = 'settled' AND kept_ms IS NULL;
CREATE INDEX newest ON intents (created_ms);
CREATE TABLE records_2 (
    seq INTEGER PRIMARY KEY,
    payout_id TEXT NOT NULL REFERENCES intents (payout_id),
    reversal INTEGER NOT NULL DEFAULT 0,
    event_id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    event BLOB NOT NULL,
    published INTEGER NOT NULL DEFAULT 0,
    UNIQUE (payout_id, reversal)
);
INSERT INTO records_2 (seq, payout_id, event_id, created_at, event, published)
    SELECT seq, payout_id, event_id, created_at, event, published FROM records;
DROP TABLE records;
ALTER TABLE records_2 RENAME TO records;
CREATE INDEX unsent ON records (seq) WHERE published = 0;
ALTER TABLE payees ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE payees ADD COLUMN dead_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE payees ADD COLUMN named TEXT NOT NULL DEFAULT '';
"""

# The newest moment of the schedule whose round has ended: one row, or none before the first start.
_ROUNDS = """
CREATE TABLE last_round (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schedule TEXT NOT NULL,
    moment_ms INTEGER NOT NULL,
    ended_ms INTEGER
);
"""

# The newest of what each payee has said of being paid, since relays may bring back what came before it; and what was
# new of it and sent money elsewhere, of which the miner is told.
_SAID = """
CREATE TABLE said (
    miner TEXT NOT NULL,
    kind INTEGER NOT NULL,
    event BLOB NOT NULL,
    PRIMARY KEY (miner, kind)
);
CREATE TABLE moves (
    event TEXT PRIMARY KEY,
    miner TEXT NOT NULL,
    kind INTEGER NOT NULL,
    goes TEXT NOT NULL,
    seen_ms INTEGER NOT NULL
);
CREATE INDEX moves_by_time ON moves (seen_ms);
"""

# A zapper whose key is replaced begins a chain of its own beside those of the keys before. Rows stand in order of time.
_SIGNERS = """
CREATE TABLE records_5 (
    signer TEXT NOT NULL,
    seq INTEGER NOT NULL,
    payout_id TEXT NOT NULL REFERENCES intents (payout_id),
    reversal INTEGER NOT NULL DEFAULT 0,
    event_id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    event BLOB NOT NULL,
    published INTEGER NOT NULL DEFAULT 0,
    UNIQUE (signer, seq),
    UNIQUE (payout_id, reversal)
);
INSERT INTO records_5 (signer, seq, payout_id, reversal, event_id, created_at, event, published)
    SELECT json_extract(CAST(event AS TEXT), '$.pubkey'), seq, payout_id, reversal, event_id, created_at, event,
        published
    FROM records ORDER BY seq;
DROP TABLE records;
ALTER TABLE records_5 RENAME TO records;
CREATE INDEX unsent ON records (seq) WHERE published = 0;
"""

# Payouts that wait for the operator's signature are open and hold their amount; and what the on-chain rail keeps.
_SIGNING = """
DROP INDEX one_open;
DROP INDEX held;
CREATE UNIQUE INDEX one_open ON intents (miner)
    WHERE state IN ('intent', 'awaiting', 'invoiced', 'sending', 'unknown');
CREATE INDEX held ON intents (miner)
    WHERE state IN ('intent', 'awaiting', 'invoiced', 'sending', 'unknown', 'settled');
CREATE TABLE kept_coins (txid TEXT NOT NULL, vout INTEGER NOT NULL, PRIMARY KEY (txid, vout));
CREATE TABLE spend_first (txid TEXT NOT NULL, vout INTEGER NOT NULL, PRIMARY KEY (txid, vout));
CREATE TABLE shown_psbts (txid TEXT PRIMARY KEY, shown_ms INTEGER NOT NULL);
"""

# A batch's PSBT may be large: it is kept once, not in the payload of each of its payouts.
_PSBTS = """
CREATE TABLE psbts (txid TEXT PRIMARY KEY, psbt TEXT NOT NULL);
"""

# Batches that were cancelled and sent all the same, for the operator to hear of; and cancelled payouts are looked for.
_SENT = """
CREATE TABLE sent_all_the_same (txid TEXT PRIMARY KEY, found_ms INTEGER NOT NULL);
CREATE INDEX cancelled ON intents (created_ms)
    WHERE state = 'failed' AND method = 'onchain' AND reason >= 'cancelled' AND reason < 'cancellee';
"""

STEPS = (_FIRST, _RAILS, _ROUNDS, _SAID, _SIGNERS, _SIGNING, _PSBTS, _SENT)


async def migrate(connection: aiosqlite.Connection) -> None:
    """Bring the file to the newest layout. Foreign keys must be off: tables are made anew under their names.

    Raises StoreError for a file of a later version.
    """
    async with connection.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    version = int(row[0]) if row is not None else 0
    if version > len(STEPS):
        raise StoreError(f"the intent store is of a later version ({version}; this one knows {len(STEPS)})")
    for number, step in enumerate(STEPS[version:], version + 1):
        await connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;")
