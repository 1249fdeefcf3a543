"""A node's wallet that keeps Bitcoin Core's forms, for tests: it funds, signs and remembers; blocks come when told."""

from collections.abc import Collection
from decimal import Decimal
from typing import Any

import anyio.lowlevel

from zapper.node_wallet import Coin, NodeRefusal, bitcoin, sats


class Book:
    """`zapper.node_wallet.ChainBook` in memory."""

    def __init__(self) -> None:
        self.coins: set[Coin] = set()
        self.seen: dict[str, int] = {}
        self.first: list[Coin] = []
        self.psbts: dict[str, str] = {}

    async def keep(self, coins: Collection[Coin]) -> None:
        self.coins |= set(coins)

    async def kept(self) -> set[Coin]:
        return set(self.coins)

    async def forget(self, coins: Collection[Coin]) -> None:
        self.coins -= set(coins)

    async def set_psbt(self, txid: str, psbt: str) -> None:
        self.psbts[txid] = psbt

    async def psbt(self, txid: str) -> str:
        return self.psbts.get(txid, "")

    async def forget_psbts(self, but: Collection[str]) -> None:
        self.psbts = {txid: psbt for txid, psbt in self.psbts.items() if txid in but}

    async def set_shown(self, txid: str, now_ms: int) -> None:
        self.seen.setdefault(txid, now_ms)

    async def shown(self) -> dict[str, int]:
        return dict(self.seen)

    async def set_spend_first(self, coin: Coin) -> None:
        self.first.append(coin)

    async def spend_first(self) -> list[Coin]:
        return list(self.first)


class Node:
    """A wallet that funds, signs and remembers; blocks come when told. Transaction n has the txid n, the PSBT `psbtn`
    (with signatures `psbtn+sig`, with some `psbtn+half`), and spends output 7 of n + 1000 if not told otherwise.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fee_sat = 600
        self.balance_sat = 10**9
        self.locked: set[Coin] = set()
        self.made: dict[str, list[dict[str, Any]]] = {}
        self.spends: dict[str, list[Coin]] = {}
        self.known: dict[str, int] = {}
        self.dropped: set[str] = set()
        self.conflicts: dict[str, list[str]] = {}
        self.refuse: dict[str, NodeRefusal] = {}
        self.verdict: dict[str, Any] = {"allowed": True}
        self.lies = False
        self.complete = True
        self.kind = "witness_v0_keyhash"
        self.away = False

    async def call(self, method: str, *params: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        self.calls.append(method)
        if self.away:
            raise OSError("the node is away")
        if method in self.refuse:
            raise self.refuse[method]
        return getattr(self, f"_{method}")(*params)

    def add(self, number: int, vout: list[dict[str, Any]], spends: list[Coin]) -> str:
        """A transaction of the wallet's, made by others."""
        txid = f"{number:064x}"
        self.made[txid] = vout
        self.spends[txid] = spends
        return txid

    def _validateaddress(self, address: str) -> Any:
        good = address.lower().startswith("bcrt1")
        return {"isvalid": True, "address": address.lower()} if good else {"isvalid": False, "error": "x"}

    def _walletcreatefundedpsbt(self, inputs: Any, outputs: Any, locktime: int, options: Any) -> Any:
        assert locktime == 0
        assert "lockUnspents" not in options
        assert options["add_inputs"] is True
        assert options["replaceable"] is False
        spent = sum(sats(value) for output in outputs for value in output.values())
        if spent + self.fee_sat > self.balance_sat:
            raise NodeRefusal(-4, "Insufficient funds")
        number = len(self.made) + 1
        vout = [
            {"n": n, "value": Decimal(value), "scriptPubKey": {"address": address}}
            for n, output in enumerate(outputs)
            for address, value in output.items()
        ]
        vout.append({"n": len(vout), "value": Decimal("1.5"), "scriptPubKey": {"address": "bcrt1change"}})
        assert options["changePosition"] == len(vout) - 1
        if self.lies:
            vout[0]["value"] += Decimal("0.00000001")
        self.add(number, vout, [(each["txid"], each["vout"]) for each in inputs] or [(f"{number + 1000:064x}", 7)])
        return {"psbt": f"psbt{number}", "fee": Decimal(bitcoin(self.fee_sat)), "changepos": len(vout) - 1}

    def _decoded(self, number: int) -> Any:
        txid = f"{number:064x}"
        if txid not in self.made:
            raise NodeRefusal(-22, "TX decode failed")
        vin = [{"txid": coin, "vout": vout} for coin, vout in self.spends[txid]]
        return {"txid": txid, "vin": vin, "vout": self.made[txid]}

    def _decodepsbt(self, psbt: str) -> Any:
        tx = self._decoded(_number(psbt))
        return {"tx": tx, "inputs": [{"witness_utxo": {"scriptPubKey": {"type": self.kind}}} for _ in tx["vin"]]}

    def _walletprocesspsbt(self, psbt: str, sign: bool) -> Any:
        assert sign
        return {"psbt": psbt + "+sig" if self.complete else psbt, "complete": self.complete}

    def _combinepsbt(self, psbts: list[str]) -> str:
        assert len({_number(psbt) for psbt in psbts}) == 1
        return max(psbts, key=len)

    def _finalizepsbt(self, psbt: str) -> Any:
        if not psbt.endswith("+sig"):
            return {"psbt": psbt, "complete": False}
        return {"hex": raw_of(_number(psbt)), "complete": True}

    def _decoderawtransaction(self, raw: str) -> Any:
        return self._decoded(int(raw[2:], 16))

    def _testmempoolaccept(self, raws: list[str]) -> Any:
        return [self.verdict for _ in raws]

    def _sendrawtransaction(self, raw: str) -> str:
        txid = f"{int(raw[2:], 16):064x}"
        self.known.setdefault(txid, 0)
        self.dropped.discard(txid)
        return txid

    def _getmempoolentry(self, txid: str) -> Any:
        if self.known.get(txid) != 0 or txid in self.dropped:
            raise NodeRefusal(-5, "Transaction not in mempool")
        return {"vsize": 141}

    def _gettransaction(self, txid: str, watch: bool, verbose: bool) -> Any:
        assert watch
        assert verbose
        if txid not in self.known:
            raise NodeRefusal(-5, "Invalid or non-wallet transaction id")
        return {
            "confirmations": self.known[txid],
            "walletconflicts": self.conflicts.get(txid, []),
            "hex": raw_of(int(txid, 16)),
            "decoded": self._decoded(int(txid, 16)),
        }

    def _gettxout(self, txid: str, vout: int, mempool: bool) -> Any:
        assert mempool
        return None if any((txid, vout) in self.spends[spender] for spender in self.known) else {"confirmations": 9}

    def _lockunspent(self, unlock: bool, coins: Any, persistent: bool = False) -> bool:
        for coin in coins:
            pair = (coin["txid"], coin["vout"])
            if unlock:
                self.locked.discard(pair)
            else:
                assert persistent
                self.locked.add(pair)
        return True

    def _listunspent(self, least: int, most: int, addresses: list[str], unsafe: bool) -> Any:
        assert (least, addresses, unsafe) == (0, [], False)
        return [{"amount": Decimal(bitcoin(self.balance_sat))}]

    def _listlockunspent(self) -> Any:
        return [{"txid": txid, "vout": vout} for txid, vout in self.locked]

    def _getbalances(self) -> Any:
        return {"mine": {"trusted": Decimal(bitcoin(self.balance_sat))}}


def raw_of(number: int) -> str:
    """A signed transaction."""
    return f"aa{number:08x}"


def _number(psbt: str) -> int:
    if not psbt.startswith("psbt"):
        raise NodeRefusal(-22, "TX decode failed invalid base64")
    return int(psbt[4:].partition("+")[0])
