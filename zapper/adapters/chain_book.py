"""What the on-chain rail remembers of its coins, in the intent store's file."""

from collections.abc import Collection

import aiosqlite
import anyio

from zapper.adapters.transactions import transaction
from zapper.node_wallet import Coin


class SqliteChainBook:
    """See `zapper.node_wallet.ChainBook`. `lock`: the connection's."""

    def __init__(self, connection: aiosqlite.Connection, lock: anyio.Lock) -> None:
        self._db = connection
        self._lock = lock

    async def keep(self, coins: Collection[Coin]) -> None:
        """These coins are about to be locked in the wallet for a batch."""
        async with transaction(self._db, self._lock):
            await self._db.executemany("INSERT OR IGNORE INTO kept_coins (txid, vout) VALUES (?, ?)", coins)

    async def kept(self) -> set[Coin]:
        """The coins that may be locked."""
        return {(txid, vout) for txid, vout in await self._rows("SELECT txid, vout FROM kept_coins")}

    async def forget(self, coins: Collection[Coin]) -> None:
        """They are locked no more."""
        async with transaction(self._db, self._lock):
            await self._db.executemany("DELETE FROM kept_coins WHERE txid = ? AND vout = ?", coins)

    async def set_psbt(self, txid: str, psbt: str) -> None:
        """The PSBT (base64) of a batch that is about to wait for a signature."""
        async with transaction(self._db, self._lock):
            await self._db.execute("INSERT OR REPLACE INTO psbts (txid, psbt) VALUES (?, ?)", (txid, psbt))

    async def psbt(self, txid: str) -> str:
        """Of this batch; "" if there is none."""
        rows = await self._rows("SELECT psbt, 0 FROM psbts WHERE txid = ?", txid)
        return rows[0][0] if rows else ""

    async def forget_psbts(self, but: Collection[str]) -> None:
        """Of all batches but these (by txid)."""
        marks = ", ".join("?" * len(but))
        async with transaction(self._db, self._lock):
            await self._db.execute(f"DELETE FROM psbts WHERE txid NOT IN ({marks})", tuple(but))  # noqa: S608 - question marks

    async def set_shown(self, txid: str, now_ms: int) -> None:
        """Somebody is about to see this batch's PSBT. The first time counts."""
        async with transaction(self._db, self._lock):
            await self._db.execute("INSERT OR IGNORE INTO shown_psbts (txid, shown_ms) VALUES (?, ?)", (txid, now_ms))

    async def shown(self) -> dict[str, int]:
        """txid -> since when (Unix ms) somebody may have a copy of its PSBT."""
        return dict(await self._rows("SELECT txid, shown_ms FROM shown_psbts"))

    async def set_spend_first(self, coin: Coin) -> None:
        """The next batch is to spend this coin."""
        async with transaction(self._db, self._lock):
            await self._db.execute("INSERT OR IGNORE INTO spend_first (txid, vout) VALUES (?, ?)", coin)

    async def spend_first(self) -> list[Coin]:
        """The coins so named, spent or not."""
        return [(txid, vout) for txid, vout in await self._rows("SELECT txid, vout FROM spend_first ORDER BY 1, 2")]

    async def _rows(self, sql: str, *values: str) -> list[tuple[str, int]]:
        rows: list[tuple[str, int]] = []
        with anyio.CancelScope(shield=True):
            async with self._lock, self._db.execute(sql, values) as cursor:
                rows = [(str(text), int(number)) for text, number in await cursor.fetchall()]
        return rows
