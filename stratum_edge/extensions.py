"""`mining.configure` (BIP 310): what a miner asks for, and the answer to every extension it lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from stratum_edge import wishes


@dataclass(frozen=True, slots=True)
class Extensions:
    """What was asked: `listed` in its order, `mask` the version bits to roll (None: not asked, 0: none of those asked
    are free), `least` the easiest difficulty it takes.
    """

    listed: tuple[str, ...]
    mask: int | None
    least: Fraction | None

    @classmethod
    def read(cls, extensions: Sequence[Any], options: Mapping[str, Any]) -> "Extensions":
        """From the two parameters; what is no text is left out."""
        listed = tuple(extension for extension in extensions if type(extension) is str)
        return cls(
            listed,
            wishes.rolling_mask(options) if "version-rolling" in listed else None,
            wishes.difficulty(options.get("minimum-difficulty.value")) if "minimum-difficulty" in listed else None,
        )

    def answer(self, highest: Fraction) -> dict[str, object]:
        """An entry for every extension listed, with false for what can't be; `highest`: the port's hardest."""
        answer: dict[str, object] = {}
        for extension in self.listed:
            if extension == "version-rolling":
                answer[extension] = bool(self.mask)
                if self.mask:
                    answer["version-rolling.mask"] = f"{self.mask:08x}"
            elif extension == "minimum-difficulty":
                answer[extension] = self.least is not None and self.least <= highest
            else:
                answer[extension] = extension in ("subscribe-extranonce", "info")
        return answer
