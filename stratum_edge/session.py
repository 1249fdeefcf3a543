"""A miner's connection as a state machine without I/O: lines in, bytes out.

Which request moves it where stands in TRANSITIONS; which request does what in HANDLERS. A connection is one npub's,
since the binding is per npub and notify per connection. Nothing is notified before authorize: no npub yet.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from fractions import Fraction
from typing import Any, Final

from nips.errors import InvalidKey
from nips.pool.binding import binding
from stratum_edge import messages, wishes
from stratum_edge.config import PortConfig
from stratum_edge.desk import Desk
from stratum_edge.errors import MalformedLine
from stratum_edge.extranonce import Seat
from stratum_edge.framing import HTTP_ANSWER, is_http
from stratum_edge.jobs import LiveJob
from stratum_edge.lane import SessionKey
from stratum_edge.messages import NOT_SUBSCRIBED, OTHER, STALE, UNAUTHORIZED, Request, error_reply, reply, true_reply
from stratum_edge.names import Name, parse_user
from stratum_edge.shares import EXTRANONCE2_HEX, Assigned, MalformedShare, judge, parse_submission
from stratum_edge.status import SessionRow
from stratum_edge.turn import Submit
from stratum_edge.vardiff import QUICK_SHARES, History, Policy, retarget


class State(Enum):
    """How far a connection has come."""

    CONNECTED = "connected"
    SUBSCRIBED = "subscribed"
    AUTHORIZED = "authorized"
    MINING = "mining"
    CLOSED = "closed"


SUBSCRIBE: Final = "subscribe"
AUTHORIZE: Final = "authorize"
CLOSE: Final = "close"

# The order of subscribe and authorize varies by firmware; both may come again.
TRANSITIONS: Final[dict[tuple[State, str], State]] = {
    (State.CONNECTED, SUBSCRIBE): State.SUBSCRIBED,
    (State.CONNECTED, AUTHORIZE): State.AUTHORIZED,
    (State.SUBSCRIBED, SUBSCRIBE): State.SUBSCRIBED,
    (State.SUBSCRIBED, AUTHORIZE): State.MINING,
    (State.AUTHORIZED, SUBSCRIBE): State.MINING,
    (State.AUTHORIZED, AUTHORIZE): State.AUTHORIZED,
    (State.MINING, SUBSCRIBE): State.MINING,
    (State.MINING, AUTHORIZE): State.MINING,
    (State.CONNECTED, CLOSE): State.CLOSED,
    (State.SUBSCRIBED, CLOSE): State.CLOSED,
    (State.AUTHORIZED, CLOSE): State.CLOSED,
    (State.MINING, CLOSE): State.CLOSED,
}

# A peer that only errs pays: each error costs, the cost decays, and at MAX_COST the connection ends. A miner with a
# bad chip (some low shares a minute) never gets there; a flood of garbage does within 25 lines.
COST_OVERSIZE: Final = 5.0
COST_BAD_LINE: Final = 1.0
COST_UNAUTHORIZED: Final = 2.0
COST_BAD_SHARE: Final = 0.2
# A wish that changes the difficulty makes a job of its own, kept for twenty minutes: honest miners have two or three.
COST_WISH: Final = 1.0
MAX_COST: Final = 25.0
COST_DECAY_PER_MS: Final = 0.5 / 1000
# A proxy may have many workers behind one connection; names beyond this are refused, since each takes memory.
MAX_WORKERS: Final = 1024
MAX_AGENT: Final = 64
# Expected hashes for a share of difficulty 1: 2^256 / (0xffff << 208), for people to read.
HASHES_PER_DIFFICULTY: Final = 2**48 / 0xFFFF
# A jump of so many times makes what the miner holds too easy to be worth its lines: it is told to drop it.
CLEAN_JUMP: Final = 4
# Replies a miner may send to questions we don't ask; ESP-Miner writes them as a method.
_IGNORED: Final = frozenset({"pong", "mining.pong"})


class Session:
    """One connection on a port. `receive` takes its lines; `take_output` gives what to send, once the desk's turn is
    settled; `closing` says why it must end.
    """

    __slots__ = (
        "_assigned",
        "_configured",
        "_cost",
        "_cost_at",
        "_desk",
        "_history",
        "_latest",
        "_mask",
        "_out",
        "_policy",
        "_sent_difficulty",
        "_since",
        "accepted",
        "agent",
        "closing",
        "good_at",
        "miner",
        "port",
        "rejected",
        "seat",
        "state",
        "unsettled",
        "users",
    )

    def __init__(self, desk: Desk, port: PortConfig, mono: int) -> None:
        self.port = port
        self.state = State.CONNECTED
        # Submits that wait in the desk's turn: their replies are not there yet.
        self.unsettled = 0
        self.closing = ""
        self.agent = ""
        self.miner = ""
        self.users: dict[str, Name] = {}
        self.seat: Seat | None = None
        self.accepted = self.rejected = 0
        # When its last good share came; at first when it connected.
        self.good_at = self._since = mono
        self._desk = desk
        self._out: list[bytes] = []
        self._mask = 0
        self._configured = False
        self._cost = 0.0
        self._cost_at = mono
        self._history = History(port.start_difficulty, mono)
        self._policy = port.policy
        # What this session was given, by Stratum job id; shares on anything else are not its own.
        self._assigned: dict[str, Assigned] = {}
        self._latest: Assigned | None = None
        self._sent_difficulty: Fraction | None = None

    # The shell's side

    def receive(self, lines: Sequence[bytes | None], mono: int) -> None:
        """Take lines as `LineBuffer` cuts them; `mono` is monotonic ms. Submits wait in the desk's turn."""
        for line in lines:
            if self.closing:
                return
            if line is None:
                self._desk.counts.bad_lines += 1
                self._out.append(error_reply(b"null", OTHER, "line too long"))
                self._pay(COST_OVERSIZE, mono)
                continue
            if not line or line.isspace():
                continue
            try:
                request = messages.parse_request(line)
            except MalformedLine as error:
                self._malformed(line, str(error), mono)
                continue
            self._handle(request, mono)

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
            self._assigned.clear()

    def row(self, address: str, mono: int) -> SessionRow:
        """What the operator sees of it."""
        history = self._history
        difficulty = history.difficulty if self._sent_difficulty is None else self._sent_difficulty
        elapsed = max(mono - history.since_ms, 1)
        hashes = history.shares * float(history.difficulty) * HASHES_PER_DIFFICULTY
        return SessionRow(
            address=address,
            port=self.port.name,
            miner=self.miner,
            workers=tuple(sorted({name.worker for name in self.users.values()})),
            agent=self.agent,
            difficulty=str(difficulty),
            hashrate_hs=int(hashes * 1000 / elapsed),
            accepted=self.accepted,
            rejected=self.rejected,
            since_ms=mono - self._since,
            idle_ms=mono - self.good_at,
        )

    def tick(self, mono: int) -> None:
        """Look at the difficulty again: silence is only seen by looking."""
        if self.state is State.MINING:
            self._retarget(mono)

    def assign(self, live: LiveJob, clean: bool) -> None:
        """Give the session a job at its difficulty, with a set_difficulty right before where that is new to it."""
        assert self.seat is not None
        grade = live.grade(self._history.difficulty)
        if grade.stratum_id in self._assigned:
            grade = live.fresh_grade(grade.difficulty)
        if grade.difficulty != self._sent_difficulty:
            self._out.append(messages.set_difficulty(grade.difficulty))
            self._sent_difficulty = grade.difficulty
        if len(self._assigned) > 1:
            knows = self._desk.knows
            for id in [id for id, work in self._assigned.items() if not knows(work.live.job.id)]:
                del self._assigned[id]
        self._latest = Assigned(live, grade, self.miner, self.seat.extranonce1)
        self._assigned[grade.stratum_id] = self._latest
        bound = binding(bytes.fromhex(live.job.id), bytes.fromhex(self.miner), grade.share_bits)
        self._out.append(live.form.line(grade.stratum_id, bound, clean))

    # The machine

    def _move(self, event: str) -> None:
        before = self.state
        self.state = TRANSITIONS[before, event]
        if self.state is State.MINING and before is not State.MINING:
            current = self._desk.current(self.port.offer)
            assert current is not None, "the edge listens once it has a job"
            self.assign(current, clean=True)

    def _handle(self, request: Request, mono: int) -> None:
        method = request.method
        if method == "mining.submit":
            self._submit(request, mono)
            return
        if method is None or method in _IGNORED:
            return
        handler = HANDLERS.get(method)
        if handler is None:
            # An error, never a disconnect: firmwares ask for all sorts of things.
            self._refuse(request, OTHER, "unknown method")
            return
        params = request.params if request.params is not None else []
        if type(params) is not list:
            self._refuse(request, OTHER, "params must be an array")
            self._pay(COST_BAD_LINE, mono)
            return
        handler(self, request, params, mono)

    def _refuse(self, request: Request, code: int, text: str) -> None:
        self._out.append(error_reply(request.id, code, text))

    def _malformed(self, line: bytes, text: str, mono: int) -> None:
        self._desk.counts.bad_lines += 1
        if self.state is State.CONNECTED and is_http(line):
            self._out.append(HTTP_ANSWER)
            self.closing = "HTTP on the Stratum port"
            return
        self._out.append(error_reply(b"null", OTHER, text))
        self._pay(COST_BAD_LINE, mono)

    def _pay(self, cost: float, mono: int) -> None:
        self._cost = max(0.0, self._cost - (mono - self._cost_at) * COST_DECAY_PER_MS) + cost
        self._cost_at = mono
        if self._cost >= MAX_COST:
            self._out.append(error_reply(b"null", OTHER, "too many errors, closing the connection"))
            self.closing = "too many errors"

    # Requests other than submit

    def _subscribe(self, request: Request, params: list[Any], mono: int) -> None:
        if self.seat is None:
            resume = params[1] if len(params) > 1 and type(params[1]) is str else None
            self.seat = self._desk.seats.take(mono, resume)
            if params and type(params[0]) is str:
                self.agent = params[0][:MAX_AGENT]
        # Some clients subscribe twice: the answer is the same.
        id = self.seat.session_id
        channels = [["mining.set_difficulty", id], ["mining.notify", id]]
        self._out.append(reply(request.id, [channels, self.seat.extranonce1.hex(), EXTRANONCE2_HEX // 2]))
        self._move(SUBSCRIBE)

    def _authorize(self, request: Request, params: list[Any], mono: int) -> None:
        if not params or type(params[0]) is not str:
            self._refuse(request, UNAUTHORIZED, "mining.authorize takes [user, password]")
            self._pay(COST_UNAUTHORIZED, mono)
            return
        user = params[0]
        try:
            name = parse_user(user)
        except InvalidKey as error:
            self._refuse(request, UNAUTHORIZED, str(error))
            self._pay(COST_UNAUTHORIZED, mono)
            return
        if self.miner and name.miner != self.miner:
            self._refuse(request, UNAUTHORIZED, "open another connection: this one mines for another npub")
            return
        if user not in self.users and len(self.users) >= MAX_WORKERS:
            self._refuse(request, UNAUTHORIZED, f"a connection has at most {MAX_WORKERS} workers")
            return
        if not self.miner:
            wish = wishes.difficulty_of_password(params[1], bare=self.port.bare_password) if len(params) > 1 else None
            start = self._history.difficulty if wish is None else self._policy.admit(wish)
            self._history.restart(start, mono)
        self.miner = name.miner
        self.users[user] = name
        self._out.append(true_reply(request.id))
        self._move(AUTHORIZE)

    def _configure(self, request: Request, params: list[Any], mono: int) -> None:
        extensions = params[0] if params and type(params[0]) is list else []
        options = params[1] if len(params) > 1 and type(params[1]) is dict else {}
        answer: dict[str, object] = {}
        for extension in extensions:
            if type(extension) is not str:
                continue
            if extension == "version-rolling":
                self._mask = wishes.rolling_mask(options)
                self._configured = self._mask != 0
                answer[extension] = self._configured
                if self._configured:
                    answer["version-rolling.mask"] = f"{self._mask:08x}"
            elif extension == "minimum-difficulty":
                wish = wishes.difficulty(options.get("minimum-difficulty.value"))
                if wish is not None:
                    self._not_below(wish, mono)
                answer[extension] = wish is not None and wish <= self._policy.highest
            else:
                answer[extension] = extension in ("subscribe-extranonce", "info")
        self._out.append(reply(request.id, answer))
        if self._configured and "version-rolling" in answer:
            # Only for who configured: cpuminer fails on methods it does not know.
            self._out.append(messages.set_version_mask(self._mask))

    def _suggest_difficulty(self, request: Request, params: list[Any], mono: int) -> None:
        wish = wishes.difficulty(params[0]) if params else None
        if wish is None:
            self._refuse(request, OTHER, "mining.suggest_difficulty takes a positive number")
            return
        self._out.append(true_reply(request.id))
        self._wish(wish, mono)

    def _suggest_target(self, request: Request, params: list[Any], mono: int) -> None:
        wish = wishes.difficulty_of_target(params[0]) if params else None
        if wish is None:
            self._refuse(request, OTHER, "mining.suggest_target takes a target in hex")
            return
        self._out.append(true_reply(request.id))
        self._wish(wish, mono)

    def _extranonce_subscribe(self, request: Request, _params: list[Any], _mono: int) -> None:
        self._out.append(true_reply(request.id))

    def _ping(self, request: Request, _params: list[Any], _mono: int) -> None:
        self._out.append(reply(request.id, "pong"))

    # Difficulty

    def _not_below(self, wish: Fraction, mono: int) -> None:
        """The miner takes no shares below a difficulty: its own bound within the port's."""
        policy = self.port.policy
        self._policy = Policy(policy.shares_per_minute, policy.admit(wish), policy.highest)
        if self._history.difficulty < self._policy.lowest:
            self._wish(self._policy.lowest, mono)

    def _wish(self, wish: Fraction, mono: int) -> None:
        wanted = self._policy.admit(wish)
        if wanted != self._history.difficulty:
            self._pay(COST_WISH, mono)
        self._change(wanted, mono)

    def _retarget(self, mono: int) -> None:
        if self.port.fixed:
            return
        wanted = retarget(self._history, mono, self._policy)
        if wanted is not None:
            self._change(wanted, mono)

    def _change(self, wanted: Fraction, mono: int) -> None:
        """A new difficulty is a new Stratum job id over the same job event; shares on older ones keep their own."""
        before = self._history.difficulty
        self._history.restart(wanted, mono)
        if self.state is not State.MINING or wanted == before:
            return
        live = self._desk.current(self.port.offer)
        if live is None:
            return  # the port is being closed
        if self._latest is None or live.grade(wanted).difficulty != self._latest.grade.difficulty:
            self.assign(live, clean=wanted >= CLEAN_JUMP * before)

    # Shares

    def _submit(self, request: Request, mono: int) -> None:
        params = request.params
        if self.state is not State.MINING:
            if self.seat is None:
                self._reject(request, None, NOT_SUBSCRIBED, "not subscribed")
            else:
                self._reject(request, None, UNAUTHORIZED, "not authorized")
            self._pay(COST_BAD_LINE, mono)
            return
        try:
            if type(params) is not list:
                raise MalformedShare("params must be an array")
            share = parse_submission(params, self._mask if self._configured else None)
        except MalformedShare as error:
            self._desk.counts.bad_lines += 1
            self._reject(request, None, OTHER, str(error))
            self._pay(COST_BAD_LINE, mono)
            return
        user, id = params[0], params[1]
        name = self.users.get(user) if type(user) is str else None
        if name is None:
            self._reject(request, None, UNAUTHORIZED, "this worker is not authorized on this connection")
            self._pay(COST_BAD_SHARE, mono)
            return
        work = self._assigned.get(id) if type(id) is str else None
        if work is None:
            self._reject(request, None, STALE, "job not found")
            self._pay(COST_BAD_SHARE, mono)
            return
        key = work.keys.get(user)
        if key is None:
            assert self.seat is not None
            key = SessionKey(name.miner, name.worker, self.seat.extranonce1, work.grade.share_bits)
            work.keys[user] = key
        # The reply's place is kept: it is judged with all that came in this turn of the loop.
        self.unsettled += 1
        self._out.append(b"")
        self._desk.turn.put(Submit(self, request.id, len(self._out) - 1, work, key, share, self._mask))

    def settle(self, submit: Submit, digest: bytes, now: int, mono: int) -> None:
        """Judge a submit of the turn by its header's hash, write it down, and put the reply in its place."""
        self.unsettled -= 1
        desk, work, key = self._desk, submit.work, submit.key
        at = desk.time_for(key, work.live, now)
        verdict = judge(work, submit.share, digest, submit.mask, at)
        if desk.journal.failed and verdict.status is not None and not verdict.is_block:
            work.live.seen.discard(verdict.hash)
            desk.refuse(key, OTHER)
            self._out[submit.slot] = error_reply(submit.id, OTHER, "the pool can't store shares now: not counted")
            return
        if verdict.status is not None:
            desk.write(work, key, submit.share, verdict, at, mono)
        if verdict.code:
            self.rejected += 1
            desk.refuse(key, verdict.code)
            self._out[submit.slot] = error_reply(submit.id, verdict.code, verdict.text)
            if verdict.code != STALE:
                # Stale shares are the network's doing, not the miner's.
                self._pay(COST_BAD_SHARE, mono)
            return
        self._out[submit.slot] = true_reply(submit.id)
        self.accepted += 1
        self.good_at = mono
        history = self._history
        history.count(work.grade.difficulty)
        if history.shares >= QUICK_SHARES and self.state is State.MINING:
            self._retarget(mono)

    def _reject(self, request: Request, key: SessionKey | None, code: int, text: str) -> None:
        self.rejected += 1
        self._desk.refuse(key, code)
        self._out.append(error_reply(request.id, code, text))


HANDLERS: Final[dict[str, Callable[[Session, Request, list[Any], int], None]]] = {
    "mining.subscribe": Session._subscribe,
    "mining.authorize": Session._authorize,
    "mining.configure": Session._configure,
    "mining.suggest_difficulty": Session._suggest_difficulty,
    "mining.suggest_target": Session._suggest_target,
    "mining.extranonce.subscribe": Session._extranonce_subscribe,
    "mining.ping": Session._ping,
}
