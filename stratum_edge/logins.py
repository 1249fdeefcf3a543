"""Who mines on a connection: one npub with its workers, since the binding is per npub and notify per connection."""

from typing import Any, Final, NamedTuple

from nips.errors import InvalidKey
from stratum_edge.names import Name, parse_login

# A proxy may have many workers behind one connection; names beyond this are refused, since each takes memory.
MAX_WORKERS: Final = 1024
# Their names in all, in characters, since one may have 1,024: that many of an npub and a worker's 32 characters fit.
MAX_NAMES: Final = 100_000
# NIP-05 names a connection may have looked up at the same time.
MAX_ASKING: Final = 4


class Login(NamedTuple):
    """An authorize request: the reply's id, the user name and password as they came."""

    id: bytes
    user: str
    password: Any


class Logins:
    """The users let in on one connection, and those whose NIP-05 names are being looked up."""

    __slots__ = ("_asking", "_characters", "arrived", "miner", "questions", "users")

    def __init__(self) -> None:
        # The x-only key (hex) of the one npub; "" before the first login.
        self.miner = ""
        self.users: dict[str, Name] = {}
        # NIP-05 addresses somebody should look up; `take_waiting` gives who waits for the answer.
        self.questions: list[str] = []
        # The npub, when it is new since the last `take_news`.
        self.arrived = ""
        self._asking: dict[str, list[tuple[Login, str]]] = {}
        self._characters = 0

    def parse(self, login: Login) -> Name | None:
        """Whom a login means; None while its name is looked up. Raises InvalidKey with advice for the miner."""
        found = parse_login(login.user)
        if isinstance(found, Name):
            return found
        if found.address not in self._asking:
            if len(self._asking) >= MAX_ASKING:
                raise InvalidKey("too many names are being looked up for this connection")
            self.questions.append(found.address)
        waiting = self._asking.setdefault(found.address, [])
        if len(waiting) >= MAX_WORKERS:
            raise InvalidKey(f"a connection has at most {MAX_WORKERS} workers")
        waiting.append((login, found.worker))
        return None

    def take_waiting(self, address: str) -> list[tuple[Login, str]]:
        """The logins, and their workers, that waited for an address."""
        return self._asking.pop(address, [])

    def admit(self, login: Login, name: Name) -> str:
        """Let a worker in; else why not, for the miner."""
        if self.miner and name.miner != self.miner:
            return "open another connection: this one mines for another npub"
        if login.user not in self.users:
            if len(self.users) >= MAX_WORKERS:
                return f"a connection has at most {MAX_WORKERS} workers"
            if self._characters + len(login.user) > MAX_NAMES:
                return f"the names of a connection's workers have at most {MAX_NAMES} characters together"
            self._characters += len(login.user)
        if not self.miner:
            self.miner = self.arrived = name.miner
        self.users[login.user] = name
        return ""

    def take_news(self) -> tuple[list[str], str]:
        """The questions and the new npub since the last time."""
        news = self.questions, self.arrived
        self.questions, self.arrived = [], ""
        return news
