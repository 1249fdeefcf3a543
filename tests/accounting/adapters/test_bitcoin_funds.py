"""Funds as a node tells them, with answers as Bitcoin Core 28 writes them."""

import json

import pytest

from accounting.adapters.bitcoin_funds import DescriptorFunds, NodeWallet

pytestmark = pytest.mark.anyio


class ScriptedNode:
    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked = []

    async def call(self, method, *params, timeout_s):
        self.asked.append((method, *params))
        return self.answer.encode()


async def test_the_nodes_own_wallet_without_what_is_immature():
    node = ScriptedNode('{"mine":{"trusted":1.23456789,"untrusted_pending":5.0,"immature":50.00000000}}')
    assert await NodeWallet(node).balance_msat() == 123_456_789_000
    assert node.asked == [("getbalances",)]


async def test_no_satoshi_is_lost_to_floating_point():
    node = ScriptedNode('{"mine":{"trusted":20999999.97690001}}')
    assert await NodeWallet(node).balance_msat() == 2_099_999_997_690_001_000


async def test_descriptors_are_counted_without_young_coinbases():
    coins = [
        {"amount": 0.1, "coinbase": False, "height": 899_999},
        {"amount": 3.125, "coinbase": True, "height": 899_901},
        {"amount": 3.125, "coinbase": True, "height": 899_902},
    ]
    node = ScriptedNode(json.dumps({"success": True, "height": 900_000, "unspents": coins, "total_amount": 6.35}))
    funds = DescriptorFunds(node, ["wpkh(xpub/0/*)"])
    assert await funds.balance_msat() == 322_500_000_000
    assert node.asked == [("scantxoutset", "start", ["wpkh(xpub/0/*)"])]


@pytest.mark.parametrize(
    "answer", ["[]", "{}", '{"mine":{}}', '{"mine":{"trusted":"1"}}', '{"mine":{"trusted":true}}', "nonsense"]
)
async def test_what_is_no_balance_is_none(answer):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        await NodeWallet(ScriptedNode(answer)).balance_msat()
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        await DescriptorFunds(ScriptedNode(answer), ["d"]).balance_msat()
