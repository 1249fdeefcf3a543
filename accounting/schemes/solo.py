"""solo: the block's share alone, whatever its status (SPEC.md, "Splits").

A bonus asks for no worker here: it is the finder's, if there is any.

Invariants: one row, the finder's, whatever anybody else mined; no work before or beside the block's share counts.
"""

from accounting.schemes.loyalty import Worker
from accounting.selection import Counted


def count(end_ms: int, finder: str, work: int) -> Counted:
    """The work of the block's share; nothing older would count, so the window is full."""
    return Counted(end_ms, {finder: work}, full=True, workers={Worker(finder, ""): work})
