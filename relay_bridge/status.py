"""How things stand with a relay."""

from dataclasses import dataclass

from relay_bridge.roles import Role


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """How things stand with one relay. Counts are since the bridge started.

    `published` events it accepted, `refused` it refused for good (`refused_by_size` of them for their size), `received`
    verified events it sent and repeats of such, `bad` frames and events dropped, `backlog` events it has not answered
    yet, `refilled` events it had lost and was sent again, `unwanted` ones that a reader's terms do not allow.
    `down_since_ms`: since when it is away (Unix ms), None while it is connected. `complaints`: what it says of itself
    (NIP-11) that makes it less fit for its `roles`.
    """

    url: str
    connected: bool
    last_error: str
    published: int
    refused: int
    received: int
    bad: int
    backlog: int
    roles: tuple[Role, ...] = ()
    down_since_ms: int | None = None
    refused_by_size: int = 0
    refilled: int = 0
    unwanted: int = 0
    complaints: tuple[str, ...] = ()
