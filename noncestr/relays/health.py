"""How the relays are, for /healthz: each with its roles, and those that have been away for long by themselves."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from relay_bridge.roles import Role
from relay_bridge.status import RelayStatus

# A restart of a relay, or of the way there, takes less; whoever is away longer needs a look.
DEAD_MS: Final = 600_000


def relay_health(relays: Sequence[RelayStatus], alarms: Mapping[str, int], now_ms: int) -> dict[str, Any]:
    """Well while a relay of the log is connected. `alarms`: what readers were told of chains, by what; `now_ms`: Unix
    ms. `dead`: the relays that are away for more than DEAD_MS.
    """
    return {
        "ok": any(relay.connected and is_log(relay) for relay in relays),
        "alarms": {"forks": alarms.get("forks", 0), "gaps": alarms.get("gaps", 0)},
        "dead": [relay.url for relay in relays if down_ms(relay, now_ms) > DEAD_MS],
        "each": [
            {
                "url": relay.url,
                "connected": relay.connected,
                "roles": [role.value for role in relay.roles],
                "down_since_ms": relay.down_since_ms,
                "last_error": relay.last_error,
                "published": relay.published,
                "refused": relay.refused,
                "refused_by_size": relay.refused_by_size,
                "refilled": relay.refilled,
                "received": relay.received,
                "bad": relay.bad,
                "unwanted": relay.unwanted,
                "backlog": relay.backlog,
                "complaints": list(relay.complaints),
            }
            for relay in relays
        ],
    }


def is_log(relay: RelayStatus) -> bool:
    """Whether the relay carries the log: each does that has no role of its own."""
    return Role.LOG in relay.roles or not relay.roles


def down_ms(relay: RelayStatus, now_ms: int) -> int:
    """For how long the relay is away, ms; 0 while it is connected."""
    return 0 if relay.down_since_ms is None else max(0, now_ms - relay.down_since_ms)
