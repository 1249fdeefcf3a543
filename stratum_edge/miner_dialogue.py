"""The miner's side of Stratum V1, without any I/O: what is said, what it means, what is handed in.

Stratum V1 is line-delimited JSON-RPC; the words used are those of slush's description and of BIP 310 (version
rolling). `StratumClient` takes lines and gives events and lines. The honest miner's rules stand here: a difficulty
holds for the jobs after it, a job a clean one replaced is not mined on, no share is handed in twice.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from stratum_edge.errors import BadReply
from stratum_edge.miner_work import Job, Share, Work, target_of_difficulty, unswap_prevhash

AGENT: Final = "noncestr-cpuminer/1"
# An extranonce2 shorter than one byte leaves nothing to roll; longer than eight is more than any pool gives.
MAX_EXTRANONCE2: Final = 16
# Jobs kept for shares still on their way; a pool that never cleans must not fill the memory.
MAX_JOBS: Final = 64
# Shares without an answer: far more than a pool leaves open, far less than memory.
MAX_PENDING: Final = 1024
MAX_BRANCHES: Final = 32  # 2^32 transactions
# BIP 310's mask as pools grant it: the sixteen bits of BIP 320.
VERSION_MASK: Final = 0x1FFFE000
BACKOFF_FIRST_MS: Final = 500
BACKOFF_MOST_MS: Final = 60_000


def backoff_ms(attempt: int) -> int:
    """How long to wait before the `attempt`-th reconnection in a row (from 0): doubling, a minute at most."""
    return min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS << min(attempt, 16))


@dataclass(frozen=True, slots=True)
class Send:
    """This line goes to the pool."""

    line: bytes


@dataclass(frozen=True, slots=True)
class Authorized:
    """The pool took the user."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The pool did not take the user; `reason` is its own."""

    reason: str


@dataclass(frozen=True, slots=True)
class JobChanged:
    """Mine on this job from now on."""

    job: Job


@dataclass(frozen=True, slots=True)
class Answered:
    """The pool's answer to a share; `error` is its [code, text, ...] as received, None if accepted."""

    share: Share
    accepted: bool
    code: int
    reason: str
    error: Any


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the pool for its miners (`client.show_message`, or what it would not grant)."""

    text: str


@dataclass(frozen=True, slots=True)
class Leave:
    """The pool asks for another connection (`client.reconnect`); the address stays the one configured.

    Following it elsewhere would let whoever answers once keep the miner for ever.
    """


Event = Send | Authorized | Refused | JobChanged | Answered | Said | Leave


def error_of(error: Any) -> tuple[int, str]:
    """Code and text of a Stratum error: `[code, "text", traceback]`, or the object or text some pools send."""
    if isinstance(error, list) and len(error) >= 2 and isinstance(error[0], int):
        return error[0], str(error[1])
    if isinstance(error, dict) and isinstance(error.get("code"), int):
        return error["code"], str(error.get("message", ""))
    return 20, str(error)  # Stratum's "other"


def _hex(value: Any, size: int | None = None) -> bytes:
    if not isinstance(value, str):
        raise BadReply(f"hex wanted, not {value!r}")
    try:
        raw = bytes.fromhex(value)
    except ValueError:
        raise BadReply(f"hex wanted, not {value[:40]!r}") from None
    if size is not None and len(raw) != size:
        raise BadReply(f"{size} bytes wanted, not {len(raw)}")
    return raw


def _word(value: Any) -> int:
    """A number that Stratum writes as eight hex digits, highest first."""
    return int.from_bytes(_hex(value, 4), "big")


class StratumClient:
    """One connection's dialogue, from subscribe to the last share; `restart` begins the next connection's.

    With `version_rolling` it asks for BIP 310's extension and rolls what it is granted.
    """

    def __init__(self, user: str, password: str = "x", *, version_rolling: bool = False) -> None:  # noqa: S107 - what a miner sends for none
        self.user = user
        self.password = password
        self._wants_rolling = version_rolling
        self._session: str | None = None
        # Counts over all connections, so a resumed one with its old extranonce1 never repeats a header.
        self._rolled = 0
        self._reset()

    def _reset(self) -> None:
        self._next_id = 1
        self._calls: dict[int, str] = {}
        self._pending: dict[int, Share] = {}
        self._jobs: dict[str, Job] = {}
        self._handed_in: dict[str, set[tuple[bytes, int | None, int]]] = {}
        self._extranonce1 = b""
        self._extranonce2_size = 0
        self._difficulty: float | int = 1
        self._version_mask: int | None = None
        self.authorized = False
        self.job: Job | None = None

    def restart(self) -> list[Share]:
        """Forget the connection; the shares that never got an answer."""
        unanswered = list(self._pending.values())
        self._reset()
        return unanswered

    def _call(self, method: str, params: list[Any]) -> Send:
        call_id, self._next_id = self._next_id, self._next_id + 1
        self._calls[call_id] = method
        return Send(json.dumps({"id": call_id, "method": method, "params": params}).encode() + b"\n")

    def open(self) -> list[Event]:
        """What to send first: configure if wanted, then subscribe; authorize follows the subscription's reply."""
        events: list[Event] = []
        if self._wants_rolling:
            wish = {"version-rolling.mask": f"{VERSION_MASK:08x}", "version-rolling.min-bit-count": 2}
            events.append(self._call("mining.configure", [["version-rolling"], wish]))
        # The second parameter asks for the session before, so that its extranonce1 stays ours.
        events.append(self._call("mining.subscribe", [AGENT] if self._session is None else [AGENT, self._session]))
        return events

    def receive(self, line: bytes) -> list[Event]:
        """What a line from the pool means. Raises `BadReply` for one that is not Stratum V1."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise BadReply(f"not JSON: {line[:80]!r}") from None
        if not isinstance(message, dict):
            raise BadReply(f"not an object: {line[:80]!r}")
        if "method" in message:
            params = message.get("params", [])
            if not isinstance(params, list):
                raise BadReply(f"params of {message['method']} are no list")
            return self._asked(message.get("id"), message["method"], params)
        return self._replied(message)

    def _asked(self, call_id: Any, method: Any, params: list[Any]) -> list[Event]:
        match method, params:
            case "mining.notify", _:
                return self._notified(params)
            case "mining.set_difficulty", [int() | float() as difficulty, *_]:
                try:
                    target_of_difficulty(difficulty)
                except (ValueError, OverflowError):
                    raise BadReply(f"{difficulty} is no difficulty") from None
                self._difficulty = difficulty
            case "mining.set_extranonce", [extranonce1, int() as size, *_]:
                self._set_extranonce(extranonce1, size)
            case "mining.set_version_mask", [mask, *_]:
                if self._version_mask is not None:
                    self._version_mask = _word(mask) & VERSION_MASK
            case "client.reconnect", _:
                return [Leave()]
            case "client.show_message", [str() as text, *_]:
                return [Said(text)]
            case "client.get_version", _:
                return [self._reply(call_id, AGENT)]
            case "mining.ping", _:
                return [self._reply(call_id, "pong")]
            case _ if call_id is not None:
                error = [20, f"unknown method {method}", None]
                return [Send(json.dumps({"id": call_id, "result": None, "error": error}).encode() + b"\n")]
        return []

    @staticmethod
    def _reply(call_id: Any, result: str) -> Send:
        return Send(json.dumps({"id": call_id, "result": result, "error": None}).encode() + b"\n")

    def _set_extranonce(self, extranonce1: Any, size: int) -> None:
        if not 1 <= size <= MAX_EXTRANONCE2:
            raise BadReply(f"an extranonce2 of {size} bytes can't be rolled")
        self._extranonce1, self._extranonce2_size = _hex(extranonce1), size

    def _notified(self, params: list[Any]) -> list[Event]:
        if not self._extranonce2_size:
            raise BadReply("a job before the subscription")
        if len(params) < 9 or not isinstance(params[0], str) or not isinstance(params[4], list):
            raise BadReply("mining.notify has nine parameters")
        if len(params[4]) > MAX_BRANCHES:
            raise BadReply(f"a merkle branch of {len(params[4])} hashes")
        job = Job(
            job_id=params[0],
            prevhash=unswap_prevhash(_hex(params[1], 32).hex()),
            coinb1=_hex(params[2]),
            coinb2=_hex(params[3]),
            branches=tuple(_hex(branch, 32) for branch in params[4]),
            version=_word(params[5]),
            nbits=_word(params[6]),
            ntime=_word(params[7]),
            clean=bool(params[8]),
            extranonce1=self._extranonce1,
            extranonce2_size=self._extranonce2_size,
            difficulty=self._difficulty,
            target=target_of_difficulty(self._difficulty),
            params=tuple(params),
        )
        if job.clean:
            self._jobs.clear()
            self._handed_in.clear()
        elif job.job_id not in self._jobs and len(self._jobs) >= MAX_JOBS:
            oldest = next(iter(self._jobs))
            del self._jobs[oldest], self._handed_in[oldest]
        self._jobs[job.job_id] = self.job = job
        self._handed_in[job.job_id] = set()
        return [JobChanged(job)]

    def _replied(self, message: dict[str, Any]) -> list[Event]:
        call_id, result, error = message.get("id"), message.get("result"), message.get("error")
        if not isinstance(call_id, int):
            return []
        share = self._pending.pop(call_id, None)
        if share is not None:
            if result is True and error is None:
                return [Answered(share, True, 0, "", None)]
            code, reason = error_of(error) if error is not None else (20, "refused without a reason")
            return [Answered(share, False, code, reason, error)]
        match self._calls.pop(call_id, None):
            case "mining.subscribe":
                return self._subscribed(result, error)
            case "mining.authorize":
                if result is True and error is None:
                    self.authorized = True
                    return [Authorized()]
                return [Refused(error_of(error)[1] if error is not None else "no reason given")]
            case "mining.configure":
                granted = result if isinstance(result, dict) else {}
                if granted.get("version-rolling") is not True:
                    return [Said("the pool does not roll versions")]
                self._version_mask = _word(granted.get("version-rolling.mask")) & VERSION_MASK
        return []

    def _subscribed(self, result: Any, error: Any) -> list[Event]:
        if error is not None:
            raise BadReply(f"the subscription was refused: {error_of(error)[1]}")
        match result:
            case [subscriptions, extranonce1, int() as size, *_]:
                self._set_extranonce(extranonce1, size)
            case _:
                raise BadReply("a subscription's result is [subscriptions, extranonce1, extranonce2_size]")
        match subscriptions:
            case [[str(), str() as session], *_]:
                self._session = session
        return [self._call("mining.authorize", [self.user, self.password])]

    def next_work(self) -> Work | None:
        """Headers nobody has tried: the newest job with the next extranonce2; None without job or authorization."""
        job, mask = self.job, self._version_mask
        if job is None or not self.authorized:
            return None
        extranonce2 = (self._rolled % (1 << 8 * job.extranonce2_size)).to_bytes(job.extranonce2_size, "little")
        bits = None
        if mask is not None:
            # Both counters run side by side; the lowest set bit of the mask is where the version's begins.
            bits = (self._rolled * (mask & -mask)) & mask
        self._rolled += 1
        return Work(job, extranonce2, bits, job.header76(extranonce2, bits or 0, mask or 0))

    def submit(self, work: Work, nonce: int) -> Send | None:
        """Hand in a nonce found; None if its job is gone, or the share was handed in before."""
        job = work.job
        if self._jobs.get(job.job_id) is not job or len(self._pending) >= MAX_PENDING:
            return None
        key = (work.extranonce2, work.version_bits, nonce)
        handed_in = self._handed_in[job.job_id]
        if key in handed_in:
            return None
        handed_in.add(key)
        params = [self.user, job.job_id, work.extranonce2.hex(), f"{job.ntime:08x}", f"{nonce:08x}"]
        if work.version_bits is not None:
            # BIP 310: the sixth parameter is required once version rolling was negotiated.
            params.append(f"{work.version_bits:08x}")
        self._pending[self._next_id] = Share(work, nonce, tuple(params))
        send = self._call("mining.submit", params)
        del self._calls[self._next_id - 1]
        return send
