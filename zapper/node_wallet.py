"""What on-chain payouts ask of a Bitcoin node's wallet, and of the disk about its coins."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

SAT = 100_000_000
# RPC_INVALID_ADDRESS_OR_KEY: the wallet knows no such transaction, the mempool has none.
UNKNOWN_TRANSACTION = -5
# RPC_INVALID_PARAMETER: what lockunspent says of a coin that is spent, or not locked any more.
INVALID_PARAMETER = -8

# An output: its transaction's id in hex, its number.
Coin = tuple[str, int]


class NodeRefusal(Exception):
    """The node or its wallet said no: code and words of its RPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} (code {self.code})"


class NodeWallet(Protocol):
    """Bitcoin Core's RPC of one wallet."""

    async def call(self, method: str, *params: Any) -> Any:
        """The decoded result, amounts as Decimal. Raises NodeRefusal, and any Exception when the node is away."""


class ChainBook(Protocol):
    """What the rail remembers beside the payouts; on disk when a call returns."""

    async def keep(self, coins: Collection[Coin]) -> None:
        """These coins are about to be locked in the wallet for a batch."""

    async def kept(self) -> set[Coin]:
        """The coins that may be locked."""

    async def forget(self, coins: Collection[Coin]) -> None:
        """They are locked no more."""

    async def set_psbt(self, txid: str, psbt: str) -> None:
        """The PSBT (base64) of a batch that is about to wait for a signature: once, not with each of its payouts."""

    async def psbt(self, txid: str) -> str:
        """Of this batch; "" if there is none."""

    async def forget_psbts(self, but: Collection[str]) -> None:
        """Of all batches but these (by txid)."""

    async def set_shown(self, txid: str, now_ms: int) -> None:
        """Somebody is about to see this batch's PSBT, and may sign it from then on. The first time counts."""

    async def shown(self) -> dict[str, int]:
        """txid -> since when (Unix ms) somebody may have a copy of its PSBT."""

    async def set_spend_first(self, coin: Coin) -> None:
        """The next batch is to spend this coin: with it dies a cancelled PSBT that somebody may have kept."""

    async def spend_first(self) -> list[Coin]:
        """The coins so named, spent or not."""


def sats(value: Any) -> int:
    """An RPC amount (Decimal bitcoin) in sat. Raises ValueError."""
    amount = Decimal(value) * SAT
    if amount != int(amount):
        raise ValueError(f"{value} bitcoin are no whole satoshis")
    return int(amount)


def bitcoin(sat: int) -> str:
    """Satoshis as an RPC amount."""
    return f"{sat // SAT}.{sat % SAT:08d}"


def pays(output: Mapping[str, Any], address: str, sat: int) -> bool:
    """Whether a decoded output pays the address this amount exactly."""
    return output["scriptPubKey"].get("address") == address and sats(output["value"]) == sat


def coins_of(decoded: Mapping[str, Any]) -> tuple[Coin, ...]:
    """What a decoded transaction spends."""
    return tuple((spent["txid"], int(spent["vout"])) for spent in decoded["vin"])


def outpoints(coins: Sequence[Coin]) -> list[dict[str, Any]]:
    """Coins as RPC arguments."""
    return [{"txid": txid, "vout": vout} for txid, vout in coins]


async def transaction(wallet: NodeWallet, txid: str) -> dict[str, Any] | None:
    """What the wallet knows of a transaction, decoded too; None if nothing. Raises as `call`."""
    try:
        return dict(await wallet.call("gettransaction", txid, True, True))
    except NodeRefusal as error:
        if error.code == UNKNOWN_TRANSACTION:
            return None
        raise


async def in_mempool(wallet: NodeWallet, txid: str) -> bool:
    """Whether the node has it waiting. Raises as `call`."""
    try:
        await wallet.call("getmempoolentry", txid)
    except NodeRefusal as error:
        if error.code == UNKNOWN_TRANSACTION:
            return False
        raise
    return True


async def is_unspent(wallet: NodeWallet, coin: Coin) -> bool:
    """Whether neither the chain nor the mempool spends it. Raises as `call`."""
    return await wallet.call("gettxout", *coin, True) is not None
