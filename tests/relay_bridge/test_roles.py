"""Which events go to which relays."""

import pytest

from nips.pool import kinds
from relay_bridge.roles import Role, Routes, roles_of

LOG, SOCIAL = "ws://log", "ws://social"


@pytest.mark.parametrize("kind", [0, 1, 9735, 10002, kinds.STATEMENT, kinds.STATEMENT_PART, kinds.ANNOUNCEMENT])
def test_what_people_follow_goes_everywhere(kind: int) -> None:
    assert roles_of(kind) == {Role.LOG, Role.SOCIAL}


@pytest.mark.parametrize("kind", [kinds.TERMS, kinds.JOB, kinds.RECEIPT, kinds.PAYOUT, kinds.STATISTICS, 9321, 30000])
def test_the_rest_is_for_the_log(kind: int) -> None:
    assert roles_of(kind) == {Role.LOG}


def test_groups_and_roles() -> None:
    routes = Routes([LOG, LOG, "ws://both"], quorum=2, social=[SOCIAL, "ws://both"])
    assert routes.relays == (LOG, "ws://both", SOCIAL)
    assert routes.log == (LOG, "ws://both")
    assert [(group.role, group.quorum) for group in routes.groups(1)] == [(Role.LOG, 2), (Role.SOCIAL, 1)]
    assert [group.role for group in routes.groups(kinds.JOB)] == [Role.LOG]
    assert routes.roles("ws://both") == (Role.LOG, Role.SOCIAL)
    assert routes.roles(SOCIAL) == (Role.SOCIAL,)
    assert [group.role for group in Routes([LOG]).groups(1)] == [Role.LOG]


def test_impossible_quorums() -> None:
    with pytest.raises(ValueError, match="log relays"):
        Routes([LOG], quorum=2)
    with pytest.raises(ValueError, match="social relays"):
        Routes([LOG], social=[SOCIAL], social_quorum=2)
    with pytest.raises(ValueError, match="log relays"):
        Routes([])
