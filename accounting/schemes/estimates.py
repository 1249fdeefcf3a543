"""What a miner may expect, and how lucky the pool was: whole numbers from work, targets and rates (docs/accounting.md).

Work is expected hashes, so work(nbits) hashes find a block on average, however long it has been since the last one.
"""

from collections.abc import Iterable
from decimal import Decimal, localcontext
from fractions import Fraction

from nips.pool.targets import work_from_bits
from nips.pool.terms import PPM

SECOND_MS = 1000
DAY_S = 86_400
# Digits of a probability's exponential; far more than its millionths need.
DIGITS = 28


def effort_ppm(rounds: Iterable[tuple[int, int]]) -> int:
    """Work done against a block's, in millionths: sum of work / work(nbits) over (work, nbits) since the last block.

    1,000,000 is what a block takes on average.
    """
    return int(sum(Fraction(work * PPM, work_from_bits(nbits)) for work, nbits in rounds))


def luck_ppm(blocks: int, effort: int) -> int | None:
    """Blocks found against blocks expected, in millionths; `effort` (ppm) of all work meanwhile. Above 1,000,000 is
    lucky. None before any work.
    """
    return blocks * PPM * PPM // effort if effort else None


def expected_ms(hashrate: int, nbits: int) -> int | None:
    """The mean time to a block, from any moment on; `hashrate` in hashes a second. None without hashrate."""
    return work_from_bits(nbits) * SECOND_MS // hashrate if hashrate else None


def chance_ppm(hashrate: int, nbits: int, span_ms: int) -> int:
    """The probability of one block or more within a span, in millionths: 1 - e^(-span / mean time)."""
    with localcontext(prec=DIGITS):
        blocks = Decimal(hashrate) * span_ms / (SECOND_MS * Decimal(work_from_bits(nbits)))
        return int((1 - (-blocks).exp()) * PPM)


def daily_msat(hashrate: int, nbits: int, reward_msat: int, fee_ppm: int) -> int:
    """What a hashrate earns a day on average, under any scheme, at a steady difficulty."""
    return hashrate * DAY_S * reward_msat * (PPM - fee_ppm) // (PPM * work_from_bits(nbits))


def pending_msat(reward_msat: int, fee_ppm: int, work: int, total: int) -> int:
    """A miner's row if a block worth `reward_msat` were found now; `work` of `total` in the window or round."""
    pot = reward_msat - reward_msat * fee_ppm // PPM
    return pot * work // total if total else 0
