"""What a relay is for, and which events go where.

log       carries everything: the chained log of the pool, which readers fold and verifiers replay
social    carries what people follow: profiles, notes, zaps, reward statements, the announcement
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from nips.nip01 import is_addressable, is_ephemeral, is_replaceable
from nips.pool import kinds


class Role(enum.Enum):
    """What a relay is for."""

    LOG = "log"
    SOCIAL = "social"


# Profile and follows (NIP-01, 02), notes, deletions of notes (9), zaps (57: the request goes to no relay by itself, but
# may be posted), status (38), relay lists, mints and direct-message relays (65, 61, 17), the handler (89).
_FOLLOWED_KINDS = frozenset({0, 1, 3, 5, 9734, 9735, 10002, 10019, 10050, 30315, 31990})
# A statement's rows may stand in parts: without them it says nothing.
SOCIAL_KINDS = _FOLLOWED_KINDS | {kinds.STATEMENT, kinds.STATEMENT_PART, kinds.ANNOUNCEMENT}


def roles_of(kind: int) -> frozenset[Role]:
    """The roles whose relays get events of that kind."""
    return frozenset({Role.LOG, Role.SOCIAL} if kind in SOCIAL_KINDS else {Role.LOG})


@dataclass(frozen=True, slots=True)
class Group:
    """The relays of one role, and how many of them must take an event."""

    role: Role
    relays: frozenset[str]
    quorum: int


def is_kept(kind: int) -> bool:
    """Whether every event of that kind stays in a relay: not what newer ones replace, nor what is never stored."""
    return not (is_replaceable(kind) or is_addressable(kind) or is_ephemeral(kind))


class Routes:
    """Where events go. A relay may be named in both roles, and twice in one is once."""

    def __init__(
        self, log: Sequence[str], *, quorum: int = 1, social: Sequence[str] = (), social_quorum: int = 1
    ) -> None:
        """Raises ValueError unless 1 <= quorum <= number of relays, for each role that has relays; log must have."""
        self._log = self._group(Role.LOG, log, quorum)
        self._social = self._group(Role.SOCIAL, social, social_quorum) if social else None
        self.relays = tuple(dict.fromkeys((*log, *social)))

    @property
    def log(self) -> tuple[str, ...]:
        """The log relays, in the order given."""
        return tuple(relay for relay in self.relays if relay in self._log.relays)

    @staticmethod
    def _group(role: Role, relays: Sequence[str], quorum: int) -> Group:
        members = frozenset(relays)
        if not 1 <= quorum <= len(members):
            raise ValueError(f"a quorum of {quorum} is not possible with {len(members)} {role.value} relays")
        return Group(role, members, quorum)

    def groups(self, kind: int) -> tuple[Group, ...]:
        """The groups whose relays get events of that kind."""
        wanted = roles_of(kind)
        return tuple(group for group in (self._log, self._social) if group is not None and group.role in wanted)

    def roles(self, relay: str) -> tuple[Role, ...]:
        """What that relay is for."""
        return tuple(group.role for group in (self._log, self._social) if group is not None and relay in group.relays)
