"""What miners ask for in their own words: difficulties as numbers, targets and password options, version masks.

Everything here comes from strangers: a wish that makes no sense is None, never an exception.
"""

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from nips.pool.targets import DIFFICULTY_1_TARGET
from stratum_edge.jobs import ROLLING_MASK

# "d=N" or "diff=N" between other options; no real wish has more digits than the greatest target.
_NUMBER: Final = re.compile(r"([0-9]{1,80}(?:\.[0-9]{1,80})?(?:[eE][+-]?[0-9]{1,3})?)")
_PASSWORD: Final = re.compile(rf"(?:^|[,;\s])d(?:iff)?={_NUMBER.pattern}(?=$|[,;\s])")
_HEX: Final = re.compile(r"[0-9a-fA-F]{1,64}")


def difficulty(value: object) -> Fraction | None:
    """A difficulty as a positive JSON number (`mining.suggest_difficulty`)."""
    if type(value) is int:
        return Fraction(value) if 0 < value < 1 << 256 else None
    if type(value) is float and math.isfinite(value) and value > 0:
        return Fraction(value)
    return None


def difficulty_of_target(value: object) -> Fraction | None:
    """The difficulty of a target in hex (`mining.suggest_target`)."""
    target = int(value, 16) if type(value) is str and _HEX.fullmatch(value) else 0
    return Fraction(DIFFICULTY_1_TARGET, target) if target else None


def difficulty_of_password(value: object, *, bare: bool = False) -> Fraction | None:
    """The difficulty a password names; its other text is free. `bare`: a number alone is one, too."""
    if type(value) is not str:
        return None
    found = _PASSWORD.search(value) or (_NUMBER.fullmatch(value.strip()) if bare else None)
    if found is None:
        return None
    return Fraction(found[1]) or None


def rolling_mask(options: Mapping[str, Any]) -> int:
    """The version bits a miner may roll (BIP 310): those it asked for out of BIP 320's; all if it named none."""
    value = options.get("version-rolling.mask", "ffffffff")
    asked = int(value, 16) if type(value) is str and len(value) <= 8 and _HEX.fullmatch(value) else 0
    return asked & ROLLING_MASK
