"""The web's wiring: what stands while a store is silent."""

import pytest

from noncestr.web.metrics import PayoutCount
from noncestr.web.parts import lasting_counts


@pytest.mark.anyio
async def test_a_store_that_is_silent_takes_no_counter_back() -> None:
    answers = iter([{}, {"settled": (3, 1)}, {}, {"settled": (4, 1), "failed": (1, 2)}])

    async def ask() -> dict[str, tuple[int, int]]:
        return next(answers)

    counts = lasting_counts(ask)
    told = [await counts() for _ in range(4)]
    assert told[:3] == [{}, {"settled": PayoutCount(3, 1)}, {"settled": PayoutCount(3, 1)}]
    assert told[3] == {"settled": PayoutCount(4, 1), "failed": PayoutCount(1, 2)}
