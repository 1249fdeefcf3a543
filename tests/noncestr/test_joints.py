"""One part in the shape another asks for."""

from typing import Any

import pytest

from nips.pool.views import Balance
from noncestr.joints import NO_WORD, ChainHeights, OwedByAccounting
from stratum_edge.errors import SourceUnavailable
from stratum_edge.ports import Tip


class FakeAccounting:
    def __init__(self, synced: bool) -> None:
        self.synced = synced

    def condition(self) -> Any:
        return self

    async def balances(self) -> dict[str, Balance]:
        return {"b" * 64: Balance("b" * 64, 5, 7_000, 2_000, None), "a" * 64: Balance("a" * 64, 9, 0, 0, None)}

    def applied_payouts(self, miner: str) -> dict[str, int]:
        return {"p1": 2_000}

    def statements_of(self, miner: str) -> tuple[str, ...]:
        return ("newest", "older")

    def last_earned_s(self, miner: str) -> int:
        return 1_800_000_000


@pytest.mark.anyio
async def test_the_zapper_hears_of_matured_earnings_once_the_log_is_read() -> None:
    assert await OwedByAccounting(FakeAccounting(False)).owed() is None
    (owed,) = await OwedByAccounting(FakeAccounting(True)).owed()
    assert (owed.miner, owed.earned_msat, owed.applied) == ("b" * 64, 7_000, {"p1": 2_000})
    assert (owed.statements, owed.active_ms) == (("newest",), 1_800_000_000_000)


class FakeChain:
    def __init__(self) -> None:
        self.answers = True

    def tip(self) -> Tip:
        if not self.answers:
            raise SourceUnavailable("no node answers")
        return Tip(7, bytes(32))

    async def confirmations(self, block_hash: bytes) -> int | None:
        self.tip()
        return {b"\x01" * 32: 3, b"\x02" * 32: -1}.get(block_hash)


@pytest.mark.anyio
async def test_the_accounting_hears_nothing_decisive_while_no_node_answers() -> None:
    chain: Any = FakeChain()
    heights = ChainHeights(chain)
    assert heights.height() == 7
    assert [await heights.confirmations(bytes([n]) * 32) for n in (1, 2, 3)] == [3, -1, None]
    chain.answers = False
    assert heights.height() == 0
    assert [await heights.confirmations(bytes([n]) * 32) for n in (1, 2, 3)] == [NO_WORD] * 3
