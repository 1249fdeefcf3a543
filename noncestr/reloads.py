"""What of a configuration read again while a process runs is gone by, and what waits for a restart."""

import logging
from dataclasses import fields, replace

from noncestr.config.sections import Config

logger = logging.getLogger("noncestr")


def reloaded(before: Config, after: Config) -> Config:
    """The configuration a running process goes by once it has read `after`: its ports and limits, log, further edges.

    The coinbase's tag, how many workers there are and whether the control socket is there stay.
    """
    return replace(
        before,
        stratum=replace(after.stratum, pool_tag=before.stratum.pool_tag),
        ports=after.ports,
        log=after.log,
        edge=replace(before.edge, keys=after.edge.keys, closed=after.edge.closed, close_silent=after.edge.close_silent),
    )


def warn_of_restart(before: Config, after: Config) -> None:
    """Say which sections changed that only a restart reads."""
    going_by = reloaded(before, after)
    names = [key.name for key in fields(Config) if getattr(going_by, key.name) != getattr(after, key.name)]
    if names:
        logger.warning("a restart is needed for what changed in %s", ", ".join(f"[{name}]" for name in names))
