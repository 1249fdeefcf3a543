"""What becomes of a block's reward, by what the chain says of the block."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from accounting.ledger import PENDING, BookedReward
from accounting.ports import ChainView
from nips.pool.hashing import from_display
from nips.pool.statement import MATURED, ORPHANED, VOID

# A block off the chain may still win: its branch needs one more block than the other. So many blocks above its height
# no rival was ever overtaken by chance, and waiting costs nobody anything, since what pends is not payable.
ORPHAN_DEPTH = 6
# A node that is behind or was rebuilt has not seen the block yet either. One that is twice maturity past its height
# has: a block it lacks by then is in no chain it knows.
UNSEEN_MATURITIES = 2
# Rewards are asked for at every new tip until they are so many maturities deep.
LOOKED_AT_MATURITIES = 2 * UNSEEN_MATURITIES


class Due(NamedTuple):
    """A status to sign: the statement's id, and what its reward has come to."""

    statement: str
    status: str


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


async def due_statuses(
    rewards: Iterable[BookedReward],
    maturity_of: Callable[[BookedReward], int | None],
    chain: ChainView,
    tip: int,
    *,
    all_of_them: bool = False,
) -> list[Due]:
    """What to sign now, the lowest block first. `maturity_of`: confirmations needed, None for a reward that is not ours
    to judge.

    However deep the chain was reorganised: the walk goes from the highest block down, and asks of old rewards until it
    meets a matured one whose block is still in the chain. Below that nothing has changed, since a block names all
    before it. That holds if all that was due before was signed; else, as at start, look at `all_of_them`.
    """
    due: list[Due] = []
    as_it_was = False
    for booked in sorted(rewards, key=lambda each: (each.statement.reward.height, each.number), reverse=True):
        maturity = maturity_of(booked) if booked.is_block and booked.state != VOID else None
        if maturity is None:
            continue
        reward = booked.statement.reward
        # What pends is always asked for.
        old = tip > reward.height + LOOKED_AT_MATURITIES * maturity
        if as_it_was and old and not all_of_them and booked.state != PENDING:
            continue
        confirmations = await chain.confirmations(from_display(reward.block))
        as_it_was |= booked.state == MATURED and confirmations is not None and confirmations > 0
        status = due_status(booked.state, confirmations, height=reward.height, tip=tip, maturity_blocks=maturity)
        if status is not None:
            due.append(Due(booked.statement.id, status))
    return due[::-1]
