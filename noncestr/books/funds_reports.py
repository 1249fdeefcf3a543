"""What this host holds of the pool's money, told to the others by signed reports (34215, d = "treasury")."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import anyio
from anyio.abc import TaskStatus

from accounting.holders import MAX_AHEAD_S
from accounting.treasury import SILENT_MS, Holding, to_places
from nips.keys import AsyncSigner
from nips.nip01 import UnsignedEvent
from nips.pool.address import PoolAddress
from nips.pool.funds import build_funds
from noncestr.terms.promise_keeper import Publisher, publish_signed
from relay_bridge.errors import RelayBridgeError

logger = logging.getLogger("noncestr.treasury")

# Readers take a holder for silent after SILENT_MS: two reports may be lost on the way.
REPORT_MS: Final = SILENT_MS // 3
# While payouts leave: a payout is off the debts at once, and off the funds this much later at most. A relay keeps the
# newest report alone, so that only traffic speaks against more.
CHANGE_MS: Final = 60_000
# Places are asked when the process starts: until then nothing is known of them, which is not worth a report. One that
# hangs holds up the others' no longer than this.
PATIENCE_MS: Final = 60_000
LOOK_S: Final = 1.0


class FundsReports:
    """Tells on change, and every ten minutes."""

    def __init__(
        self,
        pool: PoolAddress,
        signer: AsyncSigner,
        publisher: Publisher,
        held: Callable[[], Sequence[Holding]],
        now_ms: Callable[[], int],
    ) -> None:
        """`held`: the places that this process asks itself."""
        self._pool = pool
        self._signer = signer
        self._publisher = publisher
        self._held = held
        self._now_ms = now_ms
        self._began_ms = now_ms()
        # When we reported last, by the clock (Unix ms), what (None: it did not leave), and as of which date (Unix s).
        self._said: tuple[int, dict[str, int | None] | None, int] | None = None

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Report until cancelled."""
        task_status.started()
        while True:
            report = self.due(self._held(), self._now_ms())
            if report is not None:
                try:
                    await publish_signed(self._publisher, self._signer, report)
                except RelayBridgeError as error:
                    # A full disk, say: it is tried again as what changed is told.
                    logger.warning("what this part holds is not told for now: %s", error)
                    assert self._said is not None
                    said_ms, _, last = self._said
                    self._said = (said_ms, None, last)
            await anyio.sleep(LOOK_S)

    def due(self, held: Sequence[Holding], now_ms: int) -> UnsignedEvent | None:
        """What is to be reported now; it counts as said. None when nothing is due."""
        date = now_ms // 1000
        if self._said is None:
            if now_ms < self._began_ms + PATIENCE_MS and not all(each.ms or each.error for each in held):
                return None
        else:
            said_ms, told, last = self._said
            # Less than nothing after the clock was set back, which is a reason to speak, too.
            if 0 <= now_ms - said_ms < (REPORT_MS if told == _amounts(held) else CHANGE_MS):
                return None
            # The newest stands, of two at one second the lower id (NIP-01). A date too far ahead nobody took.
            date = max(date, last + 1) if last <= date + MAX_AHEAD_S else date
        self._said = (now_ms, _amounts(held), date)
        return build_funds(self._pool, to_places(held, date * 1000), date)


def _amounts(held: Sequence[Holding]) -> dict[str, int | None]:
    return {each.name: each.msat for each in held}
