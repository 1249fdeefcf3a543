"""The embedded chain's own coins: outputs anyone can spend, folded from the blocks of the active chain.

On regtest the subsidy is gone after some 4,950 blocks, so a pool on it would soon earn nothing. These coins pay the
fees instead: each template carries one transaction that spends the coins at hand, leaves `fee_sat` to the miner and
returns the rest to the purse. The purse is a function of the active chain alone, so it survives restarts, blocks of
either side, and blocks that leave the transaction out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from stratum_edge.wire import OutPoint, Transaction, TxInput, TxOutput

# The witness script OP_TRUE, and BIP 141's P2WSH program of it: a coin everyone may spend with the script alone.
ANYONE_SCRIPT = b"\x51"
ANYONE_OUTPUT = b"\x00\x20" + sha256(ANYONE_SCRIPT).digest()
# Consensus: a coinbase may be spent in the hundredth block after its own.
COINBASE_MATURITY = 100
# Coins one transaction spends at most. One is returned and at most one matures a block, so two is the rule; after a
# run of blocks without the transaction this catches up quickly and stays far below a block's size.
MAX_INPUTS = 50


@dataclass(frozen=True, slots=True)
class Coin:
    """An unspent output of the purse: satoshi, and the first height whose block may spend it."""

    value_sat: int
    spendable_from: int


class Purse:
    """Unspent ANYONE_OUTPUT outputs of a chain; feed it every block's transactions in order."""

    def __init__(self) -> None:
        self._coins: dict[OutPoint, Coin] = {}

    @property
    def value_sat(self) -> int:
        """What the purse holds in all, matured or not."""
        return sum(coin.value_sat for coin in self._coins.values())

    def connect(self, height: int, transactions: Iterable[Transaction]) -> None:
        """Take in the block at `height`: forget what it spends, learn what it pays to anyone."""
        for transaction in transactions:
            for txin in transaction.inputs:
                self._coins.pop(txin.spends, None)
            spendable_from = height + COINBASE_MATURITY if transaction.is_coinbase else height
            paid = [
                (index, output.value_sat)
                for index, output in enumerate(transaction.outputs)
                if output.script == ANYONE_OUTPUT and output.value_sat > 0
            ]
            if paid:
                txid = transaction.txid
                for index, value_sat in paid:
                    self._coins[OutPoint(txid, index)] = Coin(value_sat, spendable_from)

    def fee_payment(self, height: int, fee_sat: int) -> Transaction | None:
        """The transaction for the block at `height` that leaves `fee_sat` to its miner; None without the coins.

        The same chain always gives the same transaction: coins are taken in the order the chain made them.
        """
        spendable = [(point, coin) for point, coin in self._coins.items() if coin.spendable_from <= height]
        spent = spendable[:MAX_INPUTS]
        change_sat = sum(coin.value_sat for _, coin in spent) - fee_sat
        if not spent or change_sat < 0:
            return None
        return Transaction(
            version=2,
            inputs=tuple(TxInput(point, witness=(ANYONE_SCRIPT,)) for point, _ in spent),
            outputs=(TxOutput(change_sat, ANYONE_OUTPUT),),
        )
