"""What becomes of a block's reward, by what the chain says of the block."""

from accounting.ledger import PENDING
from nips.pool.statement import MATURED, ORPHANED

# A block off the chain may still win: its branch needs one more block than the other. So many blocks above its height
# no rival was ever overtaken by chance, and waiting costs nobody anything, since what pends is not payable.
ORPHAN_DEPTH = 6
# A node that is behind or was rebuilt has not seen the block yet either. One that is twice maturity past its height
# has: a block it lacks by then is in no chain it knows.
UNSEEN_MATURITIES = 2


def due_status(state: str, confirmations: int | None, *, height: int, tip: int, maturity_blocks: int) -> str | None:
    """The status to issue for a reward in `state` now, or None to leave it as it is.

    `confirmations`: 1 at the tip, -1 off the chain, None never seen. `height`: the block's; `tip`: the chain's. A
    matured reward is orphaned all the same when a reorganisation reaches it, and an orphan matures when one brings it
    back.
    """
    if confirmations is None:
        gone = state == PENDING and tip >= height + UNSEEN_MATURITIES * maturity_blocks
        return ORPHANED if gone else None
    if confirmations < 0:
        buried = tip >= height + min(ORPHAN_DEPTH, maturity_blocks)
        return ORPHANED if buried and state in (PENDING, MATURED) else None
    return MATURED if confirmations >= maturity_blocks and state in (PENDING, ORPHANED) else None
