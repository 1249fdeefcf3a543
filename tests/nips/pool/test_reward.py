"""What a statement is about: there and back, the names that no two may share, and what is no reward."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.pool.reward import BlockReward, PeriodReward, parse_reward

BLOCK = "ab" * 32
number = st.integers(0, 2**53 - 1)
periods = st.tuples(st.integers(0, 2**53 - 2), number).map(lambda two: (two[0], max(two[0] + 1, two[1])))


@given(st.builds(BlockReward, st.binary(min_size=32, max_size=32).map(bytes.hex), number, number, number))
def test_a_block_there_and_back(reward: BlockReward) -> None:
    assert parse_reward(json.loads(json.dumps({"reward": reward.to_json()}))) == reward
    assert reward.end_ms == reward.found_ms
    # Its block names it, whatever the offer: two offers never share one.
    assert reward.key("main") == reward.key("lunch") == reward.block


@given(periods, number)
def test_a_period_there_and_back(period: tuple[int, int], gross_msat: int) -> None:
    reward = PeriodReward(*period, gross_msat)
    assert parse_reward(json.loads(json.dumps({"reward": reward.to_json()}))) == reward
    assert reward.end_ms == reward.found_ms == period[1]
    # Shown in one list with blocks, and never taken for one.
    assert (reward.block, reward.height) == ("", 0)
    assert reward.key("main") != reward.key("lunch")
    assert reward.key("main") != PeriodReward(period[0], period[1] + 1, gross_msat).key("main")
    assert reward.key("main") == PeriodReward(max(0, period[0] - 1), period[1], gross_msat).key("main")


GOOD: dict[str, Any] = BlockReward(BLOCK, 5, 6, 7).to_json()
PERIOD: dict[str, Any] = PeriodReward(5, 6, 7).to_json()


@pytest.mark.parametrize(
    "reward",
    [
        None,
        [],
        {},
        {**GOOD, "type": "upstream"},
        {**GOOD, "type": "advance"},
        {**GOOD, "type": None},
        {**GOOD, "type": ["block"]},
        {**GOOD, "block": ""},
        {**GOOD, "block": BLOCK.upper()},
        {**GOOD, "block": BLOCK[:-2]},
        {**GOOD, "height": -1},
        {**GOOD, "found_ms": "6"},
        {**GOOD, "gross_msat": 2**53},
        {**GOOD, "gross_msat": True},
        {**PERIOD, "to_ms": 5},
        {**PERIOD, "to_ms": 4},
        {**PERIOD, "from_ms": -1},
        {**PERIOD, "gross_msat": 1.0},
        {name: value for name, value in PERIOD.items() if name != "from_ms"},
    ],
)
def test_what_is_no_reward(reward: Any) -> None:
    with pytest.raises(InvalidPoolEvent):
        parse_reward({"reward": reward})


def test_fields_of_tomorrow_are_ignored() -> None:
    assert parse_reward({"reward": {**GOOD, "memo": 1}, "other": 2}) == BlockReward(BLOCK, 5, 6, 7)
