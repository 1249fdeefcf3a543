"""What the books take on disk, by table and kind of event, and in a month: `python -m bench.storage [SHARES [SMALL]]`.

A synthetic log, real to the last hash, read and folded as the service does: of 10,000 miners at six shares a minute
(an hour of them when not given), or with SMALL of 50 miners. Bytes are those of the values, without the databases'
own. Its nonces stand in a row and deflate better than a miner's: 59 KB with random ones come to 31 KB.
"""

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import anyio

from accounting.adapters.kept_fold import KEEP_EVENTS, fold_path
from accounting.adapters.kept_shelves import open_kept_shelves
from accounting.adapters.store import open_store
from accounting.fold import Fold, codec_of, form
from accounting.kept_events import unpack_raw
from bench.accounting_speed import HOUR_SHARES, PER_BATCH, verified
from bench.synthetic_log import ACCOUNTING, LARGE, POOL, Shape, write_log
from nips.pool import kinds

MONTH_MS = 30 * 86_400_000
# The open part of the fold, and what the log itself would take: neither is counted with the rest.
STATE = "kept"
NAMES = {number: name.lower() for name, number in vars(kinds).items() if type(number) is int}
AS_JSON = [f"{name} as JSON" for name in NAMES.values()]


async def fold(log: Path, ledger: Path) -> int:
    """Read and fold it all; how much time it spans, ms."""
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        with closing(open_kept_shelves(fold_path(ledger), codec_of, form())) as shelves:
            books = Fold(POOL, shelves, shelves.failures)
            for number, events in enumerate(verified(log)):
                for event in events:
                    books.add(event)
                await store.add_events(event for event in events if event.pubkey != ACCOUNTING.pubkey)
                for event in events:
                    if event.pubkey == ACCOUNTING.pubkey:
                        await store.add_own(event, published=True)
                books.settle()
                changes = books.take_changes()
                await store.add_checked(changes.checked)
                await store.add_spans(changes.spans)
                await store.add_books(changes.transactions, books.ledger)
                if number % (KEEP_EVENTS // 200) == 0:
                    shelves.keep(*await store.newest(), books.freeze())
            shelves.keep(*await store.newest(), books.freeze())
            found = next(iter(books.log.findings), None)
            assert found is None, found
            return max(lane.watermark_ms for lane in books.log.lanes.values()) - min(
                lane.first.from_ms for lane in books.log.lanes.values()
            )


def show(title: str, rows: list[tuple[str, int, int]], scale: float) -> None:
    """Of each: rows, bytes, and bytes of a month."""
    print(f"\n{title:<28}{'rows':>10}{'MB':>10}{'GB a month':>12}")
    growing = [row for row in rows if row[1] and row[0] not in (STATE, *AS_JSON)]
    for name, count, size in sorted(rows, key=lambda row: -row[2]):
        month = f"{size * scale / 1e9:>12.3f}" if name != STATE else f"{'does not grow':>15}"
        if count:
            print(f"{name:<28}{count:>10,}{size / 1e6:>10.2f}{month}")
    total = sum(size for _, _, size in growing)
    print(f"{'all':<28}{'':>10}{total / 1e6:>10.2f}{total * scale / 1e9:>12.3f}")


def by_table(path: Path) -> list[tuple[str, int, int]]:
    """Rows and bytes of values, of each table."""
    found = []
    with closing(sqlite3.connect(path)) as database:
        tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL").fetchall()
        for (table,) in tables:
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
            sizes = " + ".join(f'ifnull(length(CAST("{column}" AS BLOB)), 0)' for column in columns)
            count, size = database.execute(f'SELECT count(*), ifnull(sum({sizes}), 0) FROM "{table}"').fetchone()
            found.append((table, count, size))
    return found


def by_kind(ledger: Path) -> list[tuple[str, int, int]]:
    """Events as they are kept, as JSON, and what is kept of checks, by kind."""
    found: dict[str, list[int]] = {}
    with closing(sqlite3.connect(ledger)) as database:
        for kind, raw, check in database.execute("SELECT kind, raw, checked FROM events"):
            name = NAMES.get(kind, str(kind))
            for part, size in (
                (name, len(raw)),
                (f"{name} as JSON", len(unpack_raw(raw))),
                (f"{name}: checks", len(check or b"")),
            ):
                if size:
                    row = found.setdefault(part, [0, 0])
                    row[0] += 1
                    row[1] += size
    return [(name, count, size) for name, (count, size) in found.items()]


def main() -> None:
    """Make the log, fold it, tell."""
    shares = int(sys.argv[1]) if len(sys.argv) > 1 else HOUR_SHARES
    large = "SMALL" not in sys.argv
    with tempfile.TemporaryDirectory() as folder:
        log, ledger = Path(folder) / "log.jsonl", Path(folder) / "ledger.sqlite"
        write_log(log, shares, 12, PER_BATCH, LARGE if large else Shape())
        span_ms = anyio.run(fold, log, ledger)
        scale = MONTH_MS / span_ms
        print(f"{log.stat().st_size / 1e6:.0f} MB of log, {shares:,} shares, {span_ms / 60_000:.0f} minutes")
        show("events by kind", by_kind(ledger), scale)
        show(ledger.name, by_table(ledger), scale)
        show(fold_path(ledger).name, by_table(fold_path(ledger)), scale)
        for path in (ledger, fold_path(ledger)):
            print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB on disk")


if __name__ == "__main__":
    main()
