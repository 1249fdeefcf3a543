"""Numbers as people read them: difficulties, hashrates, sats, luck."""

import math
from typing import Final

from nips.pool.targets import DIFFICULTY_1_TARGET

_UNITS: Final = ((10**18, "E"), (10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
_SECOND_MS: Final = 1000
_SPANS: Final = ((86_400 * _SECOND_MS, "day"), (3_600 * _SECOND_MS, "hour"), (60 * _SECOND_MS, "minute"))
_SMALL: Final = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
# Rarer than one in so many is told with this number: nobody pictures a larger one.
MAX_ODDS: Final = 1_000_000


def difficulty_text(target: int) -> str:
    """The difficulty of a target, or of a hash as a number: some digits with a unit, small ones as they are."""
    target = max(target, 1)
    for unit, letter in _UNITS:
        tenths = DIFFICULTY_1_TARGET * 10 // (target * unit)
        if tenths >= 10:
            return f"{tenths // 10:,}.{tenths % 10}{letter}"
    small = DIFFICULTY_1_TARGET / target
    # Four digits, never an exponent.
    return f"{small:.4g}" if small >= 1 else f"{small:.{3 - math.floor(math.log10(small))}f}"


def hashrate_text(per_second: int) -> str:
    """Hashes a second with a unit: 1.23 PH/s."""
    for unit, letter in _UNITS:
        if per_second >= unit:
            hundredths = per_second * 100 // unit
            return f"{hundredths // 100:,}.{hundredths % 100:02} {letter}H/s"
    return f"{per_second} H/s"


def sat_text(msat: int) -> str:
    """Whole sats, rounded towards zero: 1,234 sat."""
    sat = abs(msat) // 1000
    return f"{'-' if msat < 0 and sat else ''}{sat:,} sat"


def counted(number: int, noun: str) -> str:
    """1 block, 3 blocks; nouns whose plural takes an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def ago_text(passed_ms: int) -> str:
    """How long ago, in the largest unit that fits."""
    for span, noun in _SPANS:
        if passed_ms >= span:
            return f"{counted(passed_ms // span, noun)} ago"
    return f"{counted(max(passed_ms, 0) // _SECOND_MS, 'second')} ago"


def and_list(names: list[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def effort_percent(work: int, expected: int) -> int:
    """The work done for a block in per cent of what one takes on average."""
    return work * 100 // max(expected, 1)


def luck_text(work: int, expected: int) -> str:
    """What a pool's miners may think of the work their block took. Blocks come at random, so that the part of them that
    takes no more than e times the average is 1 - exp(-e).
    """
    effort = work / max(expected, 1)
    early, late = -math.expm1(-effort), math.exp(-min(effort, math.log(MAX_ODDS)))
    if early <= 0.4:
        return f"lucky, one block in {_odds(early)} comes this early"
    if late <= 0.25:
        return f"it took its time, one block in {_odds(late)} takes this long"
    return "about what one expects"


def _odds(chance: float) -> str:
    number = min(round(1 / chance), MAX_ODDS) if chance * MAX_ODDS > 1 else MAX_ODDS
    return _SMALL[number] if number < len(_SMALL) else f"{number:,}"
