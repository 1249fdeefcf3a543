"""Files of earlier versions are brought to today's layout with all they hold; files of later ones are left alone."""

import sqlite3
from pathlib import Path

import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, encode_event
from zapper.adapters.intent_schema import _FIRST, STEPS
from zapper.adapters.intent_store import open_intent_store
from zapper.errors import Conflict, StoreError
from zapper.payout import Intent, State
from zapper.ports import Payee

pytestmark = pytest.mark.anyio
RECORD = SecretKey(b"\x01" * 32).sign(UnsignedEvent(4215, 100, (("seq", "0"),), "{}"))
# As the first release made its file, with one payout settled and recorded, one unknown and one that failed.
OLD = (
    _FIRST
    + """
CREATE UNIQUE INDEX one_open ON intents (miner) WHERE state IN ('intent','invoiced','sending','unknown');
CREATE INDEX unsent ON records (seq) WHERE published = 0;
CREATE INDEX settled ON intents (created_ms) WHERE state = 'settled';
INSERT INTO intents VALUES ('p1', 'aa', 5000, 10, 'settled', 1, 4, 'ee', 'a@b', 'cc', 'request', 'ln1', 'h1', 9, 'dd',
    3, 'rr', '');
INSERT INTO intents VALUES ('p2', 'bb', 7000, 10, 'unknown', 2, 5, 'ee', 'a@b', NULL, NULL, 'ln2', 'h2', 9, NULL, 0,
    NULL, 'timeout');
INSERT INTO intents VALUES ('p3', 'aa', 6000, 10, 'failed', 3, 6, 'ee', 'a@b', NULL, NULL, NULL, NULL, NULL, NULL, 0,
    NULL, 'no route');
INSERT INTO payees VALUES ('aa', 2, 77, 'no route');
"""
)


async def test_a_file_of_the_first_version_keeps_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "intents.sqlite"
    with sqlite3.connect(path) as old:
        old.executescript(OLD)
        old.execute("INSERT INTO records VALUES (0, 'p1', ?, 100, ?, 1)", (RECORD.id, encode_event(RECORD)))
    old.close()
    for _opening in range(2):
        async with open_intent_store(path) as store:
            assert await store.get("p1") == Intent(
                "p1", "aa", 5000, 10, State.SETTLED, 1, 4, "ee", "a@b", "zap", "cc", "request", "ln1", "h1", 9, "dd",
                fee_msat=3, receipt="rr",
            )  # fmt: skip
            [unknown] = await store.open_intents()
            assert (unknown.method, unknown.reference, unknown.state) == ("lnurl", "h2", State.UNKNOWN)
            assert await store.holds("aa") == {"p1": 5000}
            assert await store.payee("aa") == Payee("aa", 2, 77, "no route")
            head = await store.chain_head(RECORD.pubkey)
            assert head is not None
            assert head.head == (0, RECORD.id)
            assert (await store.unrecorded(), await store.unpublished()) == ([], [])
            with pytest.raises(Conflict):
                await store.append_record("p1", 1, RECORD)
    with sqlite3.connect(path) as made:
        assert made.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
        assert made.execute("PRAGMA foreign_key_check").fetchall() == []
        assert made.execute("PRAGMA foreign_key_list(records)").fetchone()[2] == "intents"
    made.close()


async def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "intents.sqlite"
    with sqlite3.connect(path) as later:
        later.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    later.close()
    with pytest.raises(StoreError, match="later version"):
        async with open_intent_store(path):
            pass
