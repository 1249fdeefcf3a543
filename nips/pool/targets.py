"""Targets, difficulty and work, in integers (SPEC.md, "Targets and work").

A share target is compact bits, the encoding of a header's nBits, in canonical form. Work is Bitcoin Core's measure:
the expected number of hashes, floor(2^256 / (target + 1)).
"""

from fractions import Fraction

from nips.errors import InvalidPoolEvent

# Stratum's difficulty 1 (pdiff): 0xffff * 2^208.
DIFFICULTY_1_TARGET = 0xFFFF << 208
# The easiest Stratum difficulty is 1/2^32: one more halving and the target would pass 2^256.
MAX_FRACTION_BITS = 32
# 2^208 makes the target 0xffff: below that compact bits lose their meaning.
MAX_DIFFICULTY = 2**208
_MANTISSA_LOW, _MANTISSA_HIGH = 0x008000, 0x7FFFFF
# The largest that compact bits can write below 2^256 (2100ffff): difficulty 1/2^32.
MAX_TARGET = 0xFFFF << 240


def target_from_bits(bits: int) -> int:
    """The 256-bit target of canonical compact bits (u32). Raises InvalidPoolEvent for any other u32."""
    size, mantissa = bits >> 24, bits & 0xFFFFFF
    if not 0 <= bits <= 0xFFFFFFFF or not _MANTISSA_LOW <= mantissa <= _MANTISSA_HIGH:
        raise InvalidPoolEvent(f"{bits:08x} is not compact bits in canonical form")
    if size >= 3:
        target = mantissa << (8 * (size - 3))
    else:
        if mantissa & ((1 << (8 * (3 - size))) - 1):
            raise InvalidPoolEvent(f"{bits:08x} is not compact bits in canonical form")
        target = mantissa >> (8 * (3 - size))
    if not 0 < target < 1 << 256:
        raise InvalidPoolEvent(f"the target of {bits:08x} is not between 1 and 2^256 - 1")
    return target


def bits_at_least(target: int) -> int:
    """The smallest canonical compact target that is not below `target` (1 .. MAX_TARGET), as bits."""
    if not 0 < target <= MAX_TARGET:
        raise ValueError("a target that compact bits can reach lies between 1 and 0xffff * 2^240")
    size = (target.bit_length() + 7) // 8
    while True:
        shift = 8 * (size - 3)
        mantissa = -(-target >> shift) if shift >= 0 else target << -shift
        if mantissa <= _MANTISSA_HIGH:
            break
        size += 1
    return size << 24 | mantissa


def bits_at_most(target: int) -> int:
    """The largest canonical compact target that is not above `target`, as bits."""
    if not 0 < target < 1 << 256:
        raise ValueError("a target lies between 1 and 2^256 - 1")
    size = (target.bit_length() + 7) // 8
    shift = 8 * (size - 3)
    mantissa = target >> shift if shift >= 0 else target << -shift
    if mantissa > _MANTISSA_HIGH:
        size, mantissa = size + 1, mantissa >> 8
    return size << 24 | mantissa


def work_from_target(target: int) -> int:
    """Expected hashes for one at or below the target."""
    return (1 << 256) // (target + 1)


def work_from_bits(bits: int) -> int:
    """Expected hashes for one share or block at these compact bits. Raises InvalidPoolEvent."""
    return work_from_target(target_from_bits(bits))


def check_difficulty(difficulty: Fraction | int) -> Fraction:
    """A Stratum difficulty as the protocol allows it: a whole number, or 1/2^k with k up to 32. Raises ValueError."""
    exact = Fraction(difficulty)
    whole = exact.denominator == 1 and 1 <= exact <= MAX_DIFFICULTY
    power = exact.denominator.bit_count() == 1 and exact.denominator.bit_length() <= MAX_FRACTION_BITS + 1
    if not whole and not (exact.numerator == 1 and power):
        raise ValueError(f"{difficulty} is neither a whole difficulty nor 1/2^k with k up to {MAX_FRACTION_BITS}")
    return exact


def share_bits_from_difficulty(difficulty: Fraction | int) -> int:
    """Compact bits of a Stratum difficulty: never harder than announced, at most 2^-15 of credit lost.

    Raises ValueError for a difficulty outside the protocol's.
    """
    exact = check_difficulty(difficulty)
    return bits_at_least(DIFFICULTY_1_TARGET * exact.denominator // exact.numerator)


def difficulty_from_bits(bits: int) -> Fraction:
    """The exact ratio of difficulty 1's target to this one. Raises InvalidPoolEvent."""
    return Fraction(DIFFICULTY_1_TARGET, target_from_bits(bits))
