"""solo: the block's share alone, whatever its status (SPEC.md, "Splits").

Invariants: one row, the finder's, whatever anybody else mined; no work before or beside the block's share counts.
"""

from accounting.window import Counted


def count(end_ms: int, finder: str, work: int) -> Counted:
    """The work of the block's share; nothing older would count, so the window is full."""
    return Counted(end_ms, {finder: work}, full=True)
