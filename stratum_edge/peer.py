"""A miner's connection as far as every request works with it: who it is, what it was given to do, what it owes."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from stratum_edge import costs, messages
from stratum_edge.agents import UNKNOWN
from stratum_edge.config import PortConfig
from stratum_edge.costs import Meter, Standing
from stratum_edge.desk import Desk
from stratum_edge.extranonce import Seat
from stratum_edge.handed import Handed
from stratum_edge.jobs import LiveJob
from stratum_edge.logins import Logins
from stratum_edge.messages import OTHER, Request, error_reply
from stratum_edge.names import Name
from stratum_edge.pace import Pace
from stratum_edge.states import CLOSE, TRANSITIONS, State

# A jump of so many times makes what the miner holds too easy to be worth its lines: it is told to drop it.
CLEAN_JUMP: Final = 4


class Peer:
    """A connection on a port. `take_output` is what to send once the desk's turn is settled, `closing` why it ends."""

    __slots__ = (
        "_configured",
        "_desk",
        "_handed",
        "_logins",
        "_mask",
        "_meter",
        "_out",
        "_pace",
        "accepted",
        "agent",
        "closing",
        "good_at",
        "habits",
        "misbehaved",
        "port",
        "rejected",
        "seat",
        "since",
        "state",
        "unsettled",
    )

    def __init__(self, desk: Desk, port: PortConfig, mono: int) -> None:
        self.port = port
        self.state = State.CONNECTED
        # Submits that wait in the desk's turn: their replies are not there yet.
        self.unsettled = 0
        self.closing = ""
        self.agent = ""
        self.habits = UNKNOWN
        self.seat: Seat | None = None
        self.accepted = self.rejected = 0
        # When its last good share came; at first when it connected.
        self.good_at = self.since = mono
        self._desk = desk
        self._out: list[bytes] = []
        self._mask = 0
        self._configured = False
        self._meter = Meter()
        self._pace = Pace(port, mono)
        self._logins = Logins()
        self._handed = Handed()
        # Whether it is let go for what it did, which counts against its address.
        self.misbehaved = False

    def take_output(self) -> bytes:
        """All there is to send, to be written at once; empty while submits are unsettled."""
        if self.unsettled:
            return b""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def close(self, mono: int) -> None:
        """The connection is gone; its seat can be resumed."""
        if self.state is not State.CLOSED:
            self._move(CLOSE)
            if self.seat is not None:
                self._desk.seats.leave(self.seat, mono)
            for name in self.users.values():
                self._desk.counts.present.go(name)
            self._handed.clear()

    @property
    def difficulty(self) -> Fraction:
        """What was announced last, or will be first."""
        return self._handed.difficulty or self._pace.difficulty

    @property
    def miner(self) -> str:
        """The npub (hex) it mines for; "" before its login."""
        return self._logins.miner

    @property
    def users(self) -> Mapping[str, Name]:
        """Its workers, by user name as it came."""
        return self._logins.users

    @property
    def has_news(self) -> bool:
        """Whether `take_news` has something."""
        return bool(self._logins.questions or self._logins.arrived)

    def take_news(self) -> tuple[list[str], str]:
        """NIP-05 addresses that came up, each to be looked up and given an `answer`; and the npub (hex) that has just
        logged in, "" if none has.
        """
        return self._logins.take_news()

    def standing(self, mono: int) -> Standing:
        """Whether it has behaved well enough to be read from."""
        return self._meter.standing(mono)

    def hashrate(self, mono: int) -> int:
        """Hashes a second since its difficulty last changed."""
        return self._pace.hashrate(mono)

    def tick(self, mono: int) -> None:
        """Look at the difficulty again: silence is only seen by looking."""
        if self.state is State.MINING:
            self._retarget(mono)

    def assign(self, live: LiveJob, clean: bool) -> None:
        """Give the session a job at its difficulty; one that its firmware would spoil ends the connection instead."""
        if live.coinbase_size > self.habits.largest_coinbase or len(live.job.merkle) > self.habits.most_branches:
            self.closing = (
                f"a coinbase of {live.coinbase_size} bytes with {len(live.job.merkle)} branches is more than "
                f"{self.agent or 'this firmware'} takes"
            )
            self._out.append(error_reply(b"null", OTHER, self.closing))
            return
        self._out.append(self._handed.add(live, self._pace.difficulty, self.miner, clean, self._desk.knows))

    def _move(self, event: str) -> None:
        before = self.state
        self.state = TRANSITIONS[before, event]
        if self.state is State.MINING and before is not State.MINING:
            current = self._desk.current(self.port.offer)
            assert current is not None, "the edge listens once it has a job"
            self.assign(current, clean=True)

    def _refuse(self, request: Request, code: int, text: str) -> None:
        self._out.append(error_reply(request.id, code, text))

    def _pay(self, cost: int, mono: int) -> None:
        if self._meter.pay(cost, mono) is Standing.CLOSE and not self.closing:
            self._out.append(error_reply(b"null", OTHER, "too many errors, closing the connection"))
            self.closing = "too many errors"
            self.misbehaved = True

    def tell(self, text: str) -> None:
        """Show the miner's owner a sentence, where the device can."""
        if self.habits.shows_messages:
            self._out.append(messages.show_message(text))

    # Difficulty

    def _wish(self, wish: Fraction, mono: int) -> None:
        wanted = self._pace.admit(wish)
        self._pay(costs.REPEATED_REQUEST_MS if wanted == self._pace.difficulty else costs.WISH_MS, mono)
        self._change(wanted, mono)

    def _retarget(self, mono: int) -> None:
        wanted = self._pace.retarget(mono)
        if wanted is not None:
            self._change(wanted, mono)

    def _change(self, wanted: Fraction, mono: int) -> None:
        before = self._pace.difficulty
        self._pace.restart(wanted, mono)
        self._set(wanted, clean=wanted >= CLEAN_JUMP * before)

    def _set(self, wanted: Fraction, *, clean: bool) -> None:
        """A new difficulty is a new Stratum job id over the same job event; shares on older ones keep their own."""
        live = self._desk.current(self.port.offer)
        if self.state is not State.MINING or live is None:
            return
        latest = self._handed.latest
        if latest is None or live.grade(wanted).difficulty != latest.difficulty:
            self.assign(live, clean=clean)
