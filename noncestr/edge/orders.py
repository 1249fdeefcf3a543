"""What the pool's process and its lanes' processes tell each other, in msgpack's types."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from noncestr.config.sections import LogConfig
from stratum_edge.config import EdgeConfig
from stratum_edge.status import EdgeStatus, SessionRow


class Orders(msgspec.Struct, frozen=True):
    """What a lane's process is to do. `pool`: the address of the pool; `edge`: its ports, limits, lane; `names`,
    `payability`, `privacy`: whether the house answers for them.
    """

    pool: str
    edge: EdgeConfig
    log: LogConfig
    names: bool
    payability: bool
    privacy: bool = False


class LaneReport(msgspec.Struct, frozen=True):
    """A lane as its process tells it. `ports`: the TCP port of each port's name."""

    process: int
    pid: int
    lane: int
    ports: dict[str, int]
    edge: EdgeStatus


def _to_plain(value: Any) -> Any:
    if isinstance(value, Fraction | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be told to another process")


def _from_plain(kind: type, value: Any) -> Any:
    if kind is Fraction:
        return Fraction(value)
    if kind is Path:
        return Path(value)
    raise TypeError(f"{kind.__name__} was not expected")


def encode_orders(orders: Orders) -> bytes:
    """The orders as they cross to a lane's process."""
    return msgspec.msgpack.encode(orders, enc_hook=_to_plain)


def decode_orders(data: bytes) -> Orders:
    """Raises msgspec.ValidationError."""
    return msgspec.msgpack.decode(data, type=Orders, dec_hook=_from_plain)


def plain(value: Any) -> Any:
    """A struct or dataclass in msgpack's types."""
    return msgspec.to_builtins(value, builtin_types=(bytes,), str_keys=False)


def report_of(value: Any) -> LaneReport:
    """A lane's report. Raises msgspec.ValidationError."""
    return msgspec.convert(value, LaneReport, builtin_types=(bytes,))


def rows_of(value: Any) -> list[SessionRow]:
    """A lane's sessions. Raises msgspec.ValidationError."""
    return msgspec.convert(value, list[SessionRow], builtin_types=(bytes,))
