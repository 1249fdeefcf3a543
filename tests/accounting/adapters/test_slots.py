"""The places of a ledger that is made anew: whenever the change is stopped, one whole ledger stands in its place."""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from accounting.adapters.slots import FileSlots

# Killed with all that it wrote beside the file.
KILLED = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode=WAL")
db.execute("CREATE TABLE t (x)")
db.execute("INSERT INTO t VALUES ('old')")
db.commit()
os._exit(9)
"""


def says(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT x FROM t").fetchall()


@pytest.mark.anyio
async def test_what_a_kill_left_beside_the_old_ledger_never_gets_into_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = FileSlots(tmp_path / "ledger.sqlite")
    await anyio.run_process([sys.executable, "-c", KILLED, str(slots.ledger)], check=False)
    assert (tmp_path / "ledger.sqlite-wal").stat().st_size > 0
    with closing(sqlite3.connect(slots.draft)) as draft:
        draft.execute("CREATE TABLE t (x)")
        draft.execute("INSERT INTO t VALUES ('new')")
        draft.commit()
    replace = os.replace

    def replace_and_die(source: Path, target: Path) -> None:
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace_and_die)
    with pytest.raises(KeyboardInterrupt):
        await slots.take()
    assert says(slots.ledger) == [("new",)]
    assert says(slots.before) == [("old",)]
