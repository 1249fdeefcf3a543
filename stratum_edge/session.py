"""A miner's connection as a state machine without I/O: lines in, bytes out.

Which request moves it where stands in states.TRANSITIONS, which request does what in HANDLERS. A connection is one
npub's, since the binding is per npub and notify per connection. Nothing is notified before authorize: no npub yet.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from nips.errors import InvalidKey
from stratum_edge import costs, messages, wishes
from stratum_edge.agents import habits_of
from stratum_edge.errors import MalformedLine
from stratum_edge.extensions import Extensions
from stratum_edge.framing import HTTP_ANSWER, is_http
from stratum_edge.lane import SessionKey
from stratum_edge.logins import Login
from stratum_edge.messages import NOT_SUBSCRIBED, OTHER, STALE, UNAUTHORIZED, Request, error_reply, reply, true_reply
from stratum_edge.names import Name
from stratum_edge.peer import Peer
from stratum_edge.shares import EXTRANONCE2_HEX, MalformedShare, judge, parse_submission
from stratum_edge.states import AUTHORIZE, SUBSCRIBE, State
from stratum_edge.turn import Submit

MAX_AGENT: Final = 64
# Replies a miner may send to questions we don't ask; ESP-Miner writes them as a method.
_IGNORED: Final = frozenset({"pong", "mining.pong"})


class Session(Peer):
    """A connection whose lines `receive` takes; `take_output` gives what to send, once the desk's turn is settled."""

    __slots__ = ()

    # The shell's side

    def receive(self, lines: Sequence[bytes | None], mono: int) -> None:
        """Take lines as `LineBuffer` cuts them; `mono` is monotonic ms. Submits wait in the desk's turn."""
        for line in lines:
            if self.closing:
                return
            if line is None:
                self._desk.counts.bad_lines += 1
                self._out.append(error_reply(b"null", OTHER, "line too long"))
                self._pay(costs.OVERSIZE_LINE_MS, mono)
                continue
            if not line or line.isspace():
                self._pay(costs.IDLE_LINE_MS, mono)
                continue
            try:
                request = messages.parse_request(line)
            except MalformedLine as error:
                self._malformed(line, str(error), mono)
                continue
            self._handle(request, mono)

    # The machine

    def _handle(self, request: Request, mono: int) -> None:
        method = request.method
        if method == "mining.submit":
            self._submit(request, mono)
            return
        if method is None or method in _IGNORED:
            self._pay(costs.IDLE_LINE_MS, mono)
            return
        handler = HANDLERS.get(method)
        if handler is None:
            # An error, not a disconnect: firmwares ask for all sorts of things, each once.
            self._refuse(request, OTHER, "unknown method")
            self._pay(costs.UNKNOWN_METHOD_MS, mono)
            return
        params = request.params if request.params is not None else []
        if type(params) is not list:
            self._refuse(request, OTHER, "params must be an array")
            self._pay(costs.BAD_LINE_MS, mono)
            return
        handler(self, request, params, mono)

    def _malformed(self, line: bytes, text: str, mono: int) -> None:
        self._desk.counts.bad_lines += 1
        if self.state is State.CONNECTED and is_http(line):
            self._out.append(HTTP_ANSWER)
            self.closing = "HTTP on the Stratum port"
            return
        self._out.append(error_reply(b"null", OTHER, text))
        self._pay(costs.BAD_LINE_MS, mono)

    # Requests other than submit

    def _subscribe(self, request: Request, params: list[Any], mono: int) -> None:
        if self.seat is None:
            resume = params[1] if len(params) > 1 and type(params[1]) is str else None
            self.seat = self._desk.seats.take(mono, resume)
            if params and type(params[0]) is str:
                self.agent = "".join(sign for sign in params[0][:MAX_AGENT] if sign.isprintable())
                self.habits = habits_of(self.agent)
        else:
            self._pay(costs.REPEATED_REQUEST_MS, mono)
        # Some clients subscribe twice: the answer is the same.
        id = self.seat.session_id
        channels = [["mining.set_difficulty", id], ["mining.notify", id]]
        self._out.append(reply(request.id, [channels, self.seat.extranonce1.hex(), EXTRANONCE2_HEX // 2]))
        self._move(SUBSCRIBE)

    def _authorize(self, request: Request, params: list[Any], mono: int) -> None:
        if not params or type(params[0]) is not str:
            self._refuse(request, UNAUTHORIZED, "mining.authorize takes [user, password]")
            self._pay(costs.UNAUTHORIZED_MS, mono)
            return
        login = Login(request.id, params[0], params[1] if len(params) > 1 else None)
        try:
            name = self._logins.parse(login)
        except InvalidKey as error:
            self._refuse(request, UNAUTHORIZED, str(error))
            self._pay(costs.UNAUTHORIZED_MS, mono)
            return
        if name is not None:
            self._admit(login, name, mono)

    def answer(self, address: str, miner: str, refusal: str, mono: int) -> None:
        """What became of a question: the address's key (hex), or "" and the reason for the miner."""
        for login, worker in self._logins.take_waiting(address):
            if self.closing or self.state is State.CLOSED:
                return
            if miner:
                self._admit(login, Name(miner, worker), mono)
            else:
                self._out.append(error_reply(login.id, UNAUTHORIZED, refusal))
                self._pay(costs.UNAUTHORIZED_MS, mono)

    def _admit(self, login: Login, name: Name, mono: int) -> None:
        is_first, is_again = not self.miner, login.user in self.users
        refusal = self._logins.admit(login, name)
        if refusal:
            self._out.append(error_reply(login.id, UNAUTHORIZED, refusal))
            self._pay(costs.UNAUTHORIZED_MS, mono)
            return
        if is_again:
            self._pay(costs.REPEATED_REQUEST_MS, mono)
        else:
            self._desk.counts.present.come(name)
        if is_first:
            wish = wishes.difficulty_of_password(login.password, bare=self.port.bare_password)
            self._pace.restart(self._pace.difficulty if wish is None else self._pace.admit(wish), mono)
        self._out.append(true_reply(login.id))
        self._move(AUTHORIZE)

    def _configure(self, request: Request, params: list[Any], mono: int) -> None:
        extensions = params[0] if params and type(params[0]) is list else []
        options = params[1] if len(params) > 1 and type(params[1]) is dict else {}
        asked = Extensions.read(extensions, options)
        if asked.least is not None:
            least = self._pace.not_below(asked.least)
            if self._pace.difficulty < least:
                self._wish(least, mono)
        self._pay(costs.REPEATED_REQUEST_MS, mono)
        self._out.append(reply(request.id, asked.answer(self._pace.highest)))
        if asked.mask is not None:
            self._mask, self._configured = asked.mask, asked.mask != 0
            if self._configured:
                # Only for who configured: cpuminer fails on methods it does not know.
                self._out.append(messages.set_version_mask(self._mask))

    def _suggest_difficulty(self, request: Request, params: list[Any], mono: int) -> None:
        wish = wishes.difficulty(params[0]) if params else None
        if wish is None:
            self._refuse(request, OTHER, "mining.suggest_difficulty takes a positive number")
            self._pay(costs.BAD_LINE_MS, mono)
            return
        self._out.append(true_reply(request.id))
        self._wish(wish, mono)

    def _suggest_target(self, request: Request, params: list[Any], mono: int) -> None:
        wish = wishes.difficulty_of_target(params[0]) if params else None
        if wish is None:
            self._refuse(request, OTHER, "mining.suggest_target takes a target in hex")
            self._pay(costs.BAD_LINE_MS, mono)
            return
        self._out.append(true_reply(request.id))
        self._wish(wish, mono)

    def _extranonce_subscribe(self, request: Request, _params: list[Any], mono: int) -> None:
        self._out.append(true_reply(request.id))
        self._pay(costs.REPEATED_REQUEST_MS, mono)

    def _ping(self, request: Request, _params: list[Any], mono: int) -> None:
        self._out.append(reply(request.id, "pong"))
        self._pay(costs.PING_MS, mono)

    # Shares

    def _submit(self, request: Request, mono: int) -> None:
        params = request.params
        if self.state is not State.MINING:
            if self.seat is None:
                self._reject(request, None, NOT_SUBSCRIBED, "not subscribed")
            else:
                self._reject(request, None, UNAUTHORIZED, "not authorized")
            self._pay(costs.BAD_LINE_MS, mono)
            return
        try:
            if type(params) is not list:
                raise MalformedShare("params must be an array")
            share = parse_submission(params, self._mask if self._configured else None)
        except MalformedShare as error:
            self._desk.counts.bad_lines += 1
            self._reject(request, None, OTHER, str(error))
            self._pay(costs.BAD_LINE_MS, mono)
            return
        user, id = params[0], params[1]
        name = self._logins.users.get(user) if type(user) is str else None
        if name is None:
            # The work is this connection's whoever hands it in, and may be a block.
            user, name = "", Name(self.miner, "")
            share = share._replace(refusal=(UNAUTHORIZED, "this worker is not authorized on this connection"))
        assert self.seat is not None
        work = self._handed.find(id, name.miner, self.seat.extranonce1) if type(id) is str else None
        if work is None:
            self._reject(request, None, STALE, "job not found")
            self._pay(costs.BAD_SHARE_MS, mono)
            return
        key = work.keys.get(user)
        if key is None:
            # Settings that change hold from the next job on.
            worker = self._desk.worker_in_log(name.miner, name.worker)
            key = SessionKey(name.miner, worker, self.seat.extranonce1, work.grade.share_bits)
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
                self._pay(costs.BAD_SHARE_MS, mono)
            return
        self._out[submit.slot] = true_reply(submit.id)
        self.accepted += 1
        self.good_at = mono
        if self._pace.count(work.grade.difficulty) and self.state is State.MINING:
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
