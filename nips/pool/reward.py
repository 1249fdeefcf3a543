"""What a reward statement (4214) is about: a block, or a period of an offer that pays each share (SPEC.md)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from nips.errors import InvalidPoolEvent
from nips.pool.content import parse_id, read_dict, read_int, read_str


@dataclass(frozen=True, slots=True)
class BlockReward:
    """A reward of type "block": found_ms is the time of the share that is the block."""

    type: ClassVar[str] = "block"
    block: str
    height: int
    found_ms: int
    gross_msat: int

    @property
    def end_ms(self) -> int:
        """Up to when work counts (Unix ms)."""
        return self.found_ms

    def key(self, _offer: str) -> str:
        """What no two statements that stand may share."""
        return self.block

    def to_json(self) -> dict[str, Any]:
        """The reward as it stands in a statement."""
        return {
            "type": "block",
            "block": self.block,
            "height": self.height,
            "found_ms": self.found_ms,
            "gross_msat": self.gross_msat,
        }


@dataclass(frozen=True, slots=True)
class PeriodReward:
    """A reward of type "period": what the work from `from_ms` up to `to_ms` (Unix ms) is worth, block or no block.

    It has no block: `block` is "" and `height` 0, so that lists of rewards can show both.
    """

    type: ClassVar[str] = "period"
    block: ClassVar[str] = ""
    height: ClassVar[int] = 0
    from_ms: int
    to_ms: int
    gross_msat: int

    @property
    def end_ms(self) -> int:
        """Up to when work counts (Unix ms)."""
        return self.to_ms

    @property
    def found_ms(self) -> int:
        """The period's end, beside the time of a block."""
        return self.to_ms

    def key(self, offer: str) -> str:
        """What no two statements that stand may share."""
        return f"period {self.to_ms} {offer}"

    def to_json(self) -> dict[str, Any]:
        """The reward as it stands in a statement."""
        return {"type": "period", "from_ms": self.from_ms, "to_ms": self.to_ms, "gross_msat": self.gross_msat}


Reward = BlockReward | PeriodReward


def parse_reward(fields: dict[str, Any]) -> Reward:
    """A statement's reward. Raises InvalidPoolEvent."""
    reward = read_dict(fields, "reward")
    kind = read_str(reward, "type")
    if kind == PeriodReward.type:
        from_ms = read_int(reward, "from_ms")
        return PeriodReward(from_ms, read_int(reward, "to_ms", from_ms + 1), read_int(reward, "gross_msat"))
    if kind != BlockReward.type:
        raise InvalidPoolEvent(f"a reward of type {kind[:32]!r} is not known here")
    return BlockReward(
        block=parse_id(reward.get("block"), "block"),
        height=read_int(reward, "height"),
        found_ms=read_int(reward, "found_ms"),
        gross_msat=read_int(reward, "gross_msat"),
    )
