"""prop: all work since the offer's last reward, equally for each unit of it (SPEC.md, "Splits").

Invariants: every unit of a round's work earns the same; a round's end leaves nothing over for the next; the order of
shares, and how many npubs a miner has, make no difference. Work at the start of a round is worth more than work at its
end, so that whoever comes for the start alone (a hopper) earns at the others' cost: bench/schemes.py shows how much.
"""

from collections.abc import Iterable

from accounting.selection import Counted, Placed


def count(end_ms: int, shares: Iterable[Placed]) -> Counted:
    """The work each miner has in the round; `shares`: S less what earlier statements held, in any order."""
    counted = Counted(end_ms)
    for share in shares:
        counted.work[share.miner] = counted.work.get(share.miner, 0) + share.work
        counted.from_ms = min(counted.from_ms, share.t)
    return counted
