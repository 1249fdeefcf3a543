"""Garbage collection that does not stall the loop.

Python's full collection walks every container there is: with 5,000 miners some 30 ms in which no share is answered, at
moments nobody chose. What the pool lets go of is freed by its reference counts (long-lived objects hold no cycles), so
full collections are taken out of the automatic ones and run seldom, when what had come at the start is out of the way.
"""

import gc
import logging
from typing import Final

import anyio

log = logging.getLogger("noncestr.garbage")

# Young objects between two looks at them: ten times Python's default, since most die by themselves within a share.
YOUNG: Final = 10_000
MIDDLE: Final = 20
# Never by itself.
OLD: Final = 1_000_000_000
# A full collection this often: the rare cycle (an exception's traceback, a library's) must not pile up for months.
FULL_EVERY_S: Final = 3600.0


def calm() -> None:
    """Set the collector up for a process that answers miners; call once everything has started."""
    gc.collect()
    # What is there now lives as long as the process: it need not be walked again.
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)


async def collect_calmly() -> None:
    """A full collection every FULL_EVERY_S, until cancelled."""
    while True:
        await anyio.sleep(FULL_EVERY_S)
        began = anyio.current_time()
        found = gc.collect()
        log.info("a full garbage collection found %d objects in %.0f ms", found, (anyio.current_time() - began) * 1000)
