"""What a CPU miner tells whoever runs it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Connected:
    """The pool answered at `host` and `port`."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The pool authorized `user`."""

    user: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to mine on, at the pool's difficulty."""

    job_id: str
    difficulty: float
    clean: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """The pool took a share; `block_hash` is its header's hash in serialisation order."""

    job_id: str
    difficulty: float
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """The pool refused a share, with its Stratum code and its words."""

    job_id: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Hashrate:
    """Hashes per second since the last of these, and the shares so far."""

    hps: int
    accepted: int
    rejected: int


@dataclass(frozen=True, slots=True)
class PoolSaid:
    """A message from the pool."""

    text: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone, or could not be made; the next attempt follows in `retry_ms`."""

    reason: str
    retry_ms: int


MinerEvent = Connected | LoggedIn | NewJob | Accepted | Rejected | Hashrate | PoolSaid | Disconnected
