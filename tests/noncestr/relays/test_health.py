"""How the relays are: by role, by how long they are away, with what is wrong with them."""

import pytest

from noncestr.relays.health import DEAD_MS, down_ms, relay_health
from relay_bridge.roles import Role
from relay_bridge.status import RelayStatus

NOW = 1_700_000_000_000


def relay(url: str, *roles: Role, away_ms: int | None = None, **more: object) -> RelayStatus:
    since = None if away_ms is None else NOW - away_ms
    return RelayStatus(url, away_ms is None, "", 1, 2, 3, 4, 5, roles=roles, down_since_ms=since, **more)  # type: ignore[arg-type]  # its fields, by name


def test_each_is_told_with_all_that_is_known_of_it() -> None:
    told = relay_health([relay("ws://a", Role.LOG, complaints=("unfit: small",), refilled=9)], {"forks": 1}, NOW)
    assert told == {
        "ok": True,
        "alarms": {"forks": 1, "gaps": 0},
        "dead": [],
        "each": [
            {
                "url": "ws://a",
                "connected": True,
                "roles": ["log"],
                "down_since_ms": None,
                "last_error": "",
                "published": 1,
                "refused": 2,
                "refused_by_size": 0,
                "refilled": 9,
                "received": 3,
                "bad": 4,
                "unwanted": 0,
                "backlog": 5,
                "complaints": ["unfit: small"],
            }
        ],
    }


@pytest.mark.parametrize(
    ("relays", "well"),
    [
        ([], False),
        ([relay("ws://a", Role.LOG, away_ms=1)], False),
        ([relay("ws://a", Role.LOG, away_ms=1), relay("ws://b", Role.SOCIAL)], False),
        ([relay("ws://a", Role.LOG, away_ms=1), relay("ws://b", Role.LOG, Role.SOCIAL)], True),
    ],
)
def test_a_relay_of_the_log_has_to_be_there(relays: list[RelayStatus], well: bool) -> None:
    assert relay_health(relays, {}, NOW)["ok"] is well


def test_who_is_away_for_long_is_dead() -> None:
    long, short = relay("ws://long", away_ms=DEAD_MS + 1), relay("ws://short", away_ms=DEAD_MS)
    assert relay_health([long, short, relay("ws://here")], {}, NOW)["dead"] == ["ws://long"]
    assert [down_ms(each, NOW) for each in (long, short, relay("ws://ahead", away_ms=-5))] == [DEAD_MS + 1, DEAD_MS, 0]
