"""Regtest's demo target: how hard a pool's block is made, since every second hash meets regtest's own nbits.

The mark (`block_bits` of the terms) follows the pool's hashrate, so that two CPU miners and a Bitaxe both find a block
about once a minute. Terms change only when the mark is off by a factor, so that they do not change all the time.
"""

from nips.pool.targets import bits_at_least, work_from_bits

# New terms once the expected time is off by this factor: block times vary far more than that by chance.
FACTOR = 2
# The least work of a block, in hashes: keeps the target canonical and a block rarer than a share.
LEAST_WORK = 1 << 16


def block_bits_for(hashrate: int, block_seconds: int) -> int:
    """Compact bits of a mark that `hashrate` (hashes/s) meets about every `block_seconds`."""
    work = max(hashrate * block_seconds, LEAST_WORK)
    return bits_at_least((1 << 256) // work - 1)


def adjusted_block_bits(current: int, hashrate: int, block_seconds: int) -> int | None:
    """New bits when the present ones are off by FACTOR or more for the measured hashrate, else None.

    A hashrate of 0 means that nothing was measured: the mark stays, and is met when miners come back.
    """
    if hashrate <= 0:
        return None
    wanted = block_bits_for(hashrate, block_seconds)
    have, want = work_from_bits(current), work_from_bits(wanted)
    if have < FACTOR * want and want < FACTOR * have:
        return None
    return wanted
