"""One process a file: a lock that the kernel releases when its holder dies."""

import fcntl
from pathlib import Path
from typing import TextIO

from zapper.errors import StoreInUse


def take_lock(path: Path) -> TextIO:
    """Hold PATH.lock as long as what is returned is open. Raises StoreInUse when another process has it."""
    lock = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StoreInUse(str(path)) from None
    return lock
