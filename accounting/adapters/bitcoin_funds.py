"""The pool's coins as a Bitcoin node tells them: its own wallet's, or those that output descriptors can spend."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Protocol

MSAT_PER_BTC: Final = 100_000_000_000
# A wallet answers at once; one that loads its blocks takes longer.
WALLET_S: Final = 60.0
# The node walks through all unspent outputs: some minutes on the main network.
SCAN_S: Final = 1800.0


class Rpc(Protocol):
    """A node's JSON-RPC."""

    async def call(self, method: str, *params: Any, timeout_s: float) -> bytes:
        """The result's JSON. Raises an Exception."""


def _msat(value: object) -> int:
    """An amount in bitcoin as the node writes it. Raises ValueError."""
    if not isinstance(value, Decimal | int) or isinstance(value, bool):
        raise ValueError("the node told an amount that is no number")
    return int(Decimal(value) * MSAT_PER_BTC)


def _read(answer: bytes) -> dict[str, Any]:
    found = json.loads(answer, parse_float=Decimal)
    if not isinstance(found, dict):
        raise ValueError("the node told something else than asked for")
    return found


class NodeWallet:
    """`accounting.ports.Funds`: what the node's own wallet can spend, confirmed or its own change."""

    interval_s = 60.0

    def __init__(self, rpc: Rpc) -> None:
        """`rpc`: with the wallet's path."""
        self._rpc = rpc

    @property
    def name(self) -> str:
        """See `Funds`."""
        return "node"

    async def balance_msat(self) -> int:
        """See `Funds`. Coins that a block has just made are not counted: they pend like the rewards they are."""
        mine = _read(await self._rpc.call("getbalances", timeout_s=WALLET_S)).get("mine")
        if not isinstance(mine, dict):
            raise ValueError("the node told no balance of its own")
        return _msat(mine.get("trusted"))


class DescriptorFunds:
    """`accounting.ports.Funds`: confirmed coins of output descriptors, as of a cold wallet; no wallet is needed."""

    interval_s = 3600.0

    def __init__(self, rpc: Rpc, descriptors: Sequence[str], *, maturity_blocks: int = 100) -> None:
        """`maturity_blocks`: a coinbase is counted from so many confirmations on (consensus: 100)."""
        self._rpc = rpc
        self._descriptors = tuple(descriptors)
        self._maturity = maturity_blocks

    @property
    def name(self) -> str:
        """See `Funds`."""
        return "descriptors"

    async def balance_msat(self) -> int:
        """See `Funds`."""
        found = _read(await self._rpc.call("scantxoutset", "start", list(self._descriptors), timeout_s=SCAN_S))
        height, unspents = found.get("height"), found.get("unspents")
        if found.get("success") is not True or not isinstance(height, int) or not isinstance(unspents, list):
            raise ValueError("the node did not finish its walk through the coins")
        total = 0
        for coin in unspents:
            young = coin.get("coinbase") is True and coin["height"] > height - self._maturity + 1
            total += 0 if young else _msat(coin.get("amount"))
        return total
