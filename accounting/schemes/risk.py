"""What a pool needs in hand to pay per share: the float for a given probability of ruin (docs/accounting.md).

A pool that pays pps or fpps pays `cost` for each expected block and takes in one reward for each found one. Its funds
fall steadily and jump up with each block, which come as a Poisson process. In units of a reward, with u funds at the
start and q = cost / income (both for each expected block, q < 1 being what the fee is for):

    the probability that funds ever reach nothing is e^(-x u), where x > 0 solves q x = 1 - e^(-x)
    that they do until n blocks are expected: sum over k of u/(u+k) * e^(-t) t^k / k!, t = (u+k)/q <= n

The first is Lundberg's exponent, exact here since funds run out without a jump; the second is Kendall's formula, each
term the chance to run dry just after k blocks. With m = 1 - q, M. Rosenfeld, Analysis of Bitcoin Pooled Mining Reward
Systems (2011), gives u = ln(1/probability) / (2 m): simpler, and never too small, since x > 2 m.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext

from nips.pool.terms import PPM

DIGITS = 24
# A float is told to a hundredth of a block's reward, rounded up.
STEP = Decimal("0.01")
_HALVINGS = 100


@dataclass(frozen=True, slots=True)
class Margin:
    """What goes out and comes in, in msat for each block's work: `base_msat` less `fee_ppm` is paid to the miners, a
    found block brings `reward_msat`, but one in so many (`orphan_ppm`, in millionths) is lost.
    """

    base_msat: int
    reward_msat: int
    fee_ppm: int
    orphan_ppm: int = 0

    def cost(self) -> Decimal:
        """q: what is paid against what comes in; below 1 the pool gains by it. Raises ValueError without income."""
        income = self.reward_msat * (PPM - self.orphan_ppm)
        if income <= 0:
            raise ValueError("a pool without income has no float that lasts")
        with localcontext(prec=DIGITS):
            return Decimal(self.base_msat * (PPM - self.fee_ppm)) / income

    def found(self, blocks: Decimal) -> Decimal:
        """Of so many expected blocks those that are paid for: orphans are none."""
        with localcontext(prec=DIGITS):
            return blocks * (PPM - self.orphan_ppm) / PPM


def exponent(cost: Decimal) -> Decimal | None:
    """x > 0 with cost * x = 1 - e^(-x); None where there is none, since a pool without a margin is ruined for sure."""
    if cost <= 0:
        raise ValueError("miners are paid something")
    if cost >= 1:
        return None
    with localcontext(prec=DIGITS):
        low, high = 2 * (1 - cost), 1 / cost
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if cost * middle < 1 - (-middle).exp():
                low = middle
            else:
                high = middle
        return low


def float_for_good(cost: Decimal, probability: Decimal) -> Decimal | None:
    """The float, in rewards, that is ever used up with at most this probability; None: no float is enough."""
    root = exponent(cost)
    if root is None:
        return None
    with localcontext(prec=DIGITS):
        return (-probability.ln() / root).quantize(STEP, ROUND_CEILING)


def rosenfeld(cost: Decimal, probability: Decimal) -> Decimal | None:
    """Rosenfeld's float, in rewards: ln(1/probability) / (2 (1 - cost)); None without a margin."""
    if cost >= 1:
        return None
    with localcontext(prec=DIGITS):
        return (-probability.ln() / (2 * (1 - cost))).quantize(STEP, ROUND_CEILING)


def ruin(cost: Decimal, funds: Decimal, blocks: Decimal) -> Decimal:
    """The probability that `funds` (rewards, above 0) run out until so many `blocks` are expected."""
    with localcontext(prec=DIGITS):
        total, log_factorial, k = Decimal(0), Decimal(0), 0
        while (time := (funds + k) / cost) <= blocks:
            total += funds / (funds + k) * (k * time.ln() - time - log_factorial).exp()
            k += 1
            log_factorial += Decimal(k).ln()
        return total


def float_until(cost: Decimal, probability: Decimal, blocks: Decimal) -> Decimal:
    """The least float, in rewards and steps of STEP, that runs out with at most this probability until so many blocks
    are expected. What would be paid out meanwhile is always enough.
    """
    with localcontext(prec=DIGITS):
        low, high = 0, int((blocks * cost / STEP).to_integral_value(ROUND_CEILING)) + 1
        while high - low > 1:
            middle = (low + high) // 2
            if ruin(cost, middle * STEP, blocks) <= probability:
                high = middle
            else:
                low = middle
        return high * STEP
