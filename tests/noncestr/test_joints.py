"""One part in the shape another asks for."""

from typing import Any

import pytest

from nips.pool.views import Balance
from noncestr.joints import OwedByAccounting


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


@pytest.mark.anyio
async def test_the_zapper_hears_of_matured_earnings_once_the_log_is_read() -> None:
    assert await OwedByAccounting(FakeAccounting(False)).owed() == []
    (owed,) = await OwedByAccounting(FakeAccounting(True)).owed()
    assert (owed.miner, owed.earned_msat, owed.applied) == ("b" * 64, 7_000, {"p1": 2_000})
    assert owed.statements == ("newest",)
