"""The fuzz target of the Stratum session: bytes of strangers in, through framing, session, turn, desk and journal.

Invariant. Whatever bytes come, however they are cut, and whatever jobs, clocks, ticks and answers come between them:
- nothing raises;
- what goes out is JSON, a line each (or the one HTTP answer);
- each line that asks something gets exactly one reply, with its own id, in the order asked (only a login that waits for
  its NIP-05 name is answered later), until the connection is closing; what asks nothing gets none;
- a share is accepted if, and only if, the journal has a credited record of it;
- the state moves along TRANSITIONS only;
- memory stays bounded: unread output, users, handed out work, kept hashes;
- a session that closes says why, and nothing after.

Run in the suite in a short form, and by hand for as long as one likes; a failure prints the seed that repeats it.

Usage: python -m tests.stratum_edge.fuzz_session [--seconds S] [--rounds N] [--seed N]
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from nips.nip19 import encode_npub, encode_nsec
from nips.pool.receipt import CREDITED
from stratum_edge import messages
from stratum_edge.errors import MalformedLine
from stratum_edge.framing import HTTP_ANSWER, LineBuffer
from stratum_edge.journal import Kind, encode_share, read_records
from stratum_edge.logins import MAX_WORKERS
from stratum_edge.names import Address, parse_login
from stratum_edge.session import HANDLERS, Session
from stratum_edge.states import TRANSITIONS, State
from tests.stratum_edge.conftest import MINER, NOW, OTHER_MINER, Bench, make_template, make_terms

VECTORS = Path(__file__).parents[1] / "vectors/stratum"
NPUB, OTHER = encode_npub(MINER.pubkey), encode_npub(OTHER_MINER.pubkey)
# Nearly every hash is a share, so that a fuzzer finds some.
EASIEST = Fraction(1, 1 << 32)
MOVES = {(before, after) for (before, _), after in TRANSITIONS.items()}
ADDRESSES = ("alice@example.com", "bob@example.com/rig", "@example.org", "eve%40example.com")
NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**64), 10**400, 1e308, 5e-324, -0.0, 0.00015, "", " ", "x",
    "\x00", "\ud800", "\u202e", "ü" * 40, "😀" * 30, "a" * 5000, "zz" * 8, "00" * 8, "FF" * 8, "0x000000", "00000000",
    " 1234567", "ffffffff", "1fffe000", [], {}, [[]], [None], {"": None}, [1] * 50, "%", "%2", "%2E", NPUB, OTHER,
    NPUB[:-1], NPUB.upper(), encode_nsec(b"\x05" * 32), "nprofile1qqsrh", "lnurl1dp68gurn", "lnbc1", "bc1q" + "w" * 30,
)  # fmt: skip
METHODS = (
    *HANDLERS, "mining.submit", "mining.submit", "mining.submit", "pong", "mining.pong", "client.get_version",
    "mining.get_transactions", "", "MINING.SUBMIT", "mining.multi_version",
)  # fmt: skip


def recorded() -> list[bytes]:
    """Lines that firmwares really send."""
    lines = []
    for dialogue in json.loads((VECTORS / "dialogues.json").read_text("utf-8"))["dialogues"]:
        lines += [line.replace("{npub}", NPUB).replace("{other}", OTHER).encode() for line in dialogue["lines"]]
    return lines


RECORDED = recorded()


class Round:
    """One desk with a connection or two, fed by one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.bench = Bench(make_terms(), start=EASIEST, min_difficulty=EASIEST)
        self.now, self.mono = NOW, 0
        self.height = 200
        self.links = [Link(self) for _ in range(self.chance.choice((1, 1, 2)))]

    def run(self) -> None:
        """Some dozens of things that can happen to a connection, in any order."""
        for _ in range(self.chance.randrange(5, 60)):
            self.chance.choices(
                (self._feed, self._settle, self._pass_time, self._renew, self._tick, self._answer, self._fail_disk),
                (60, 20, 10, 3, 4, 4, 1),
            )[0]()
            self._check_journal()
        self.bench.journal.full = False
        self._settle()
        for link in self.links:
            link.session.close(self.mono)
            assert link.session.state is State.CLOSED
        self._check_journal()

    def _feed(self) -> None:
        link = self.chance.choice(self.links)
        data = link.talk()
        link.fed += len(data)
        at = 0
        while at < len(data):
            size = self.chance.choice((1, 3, 17, 200, 5000, len(data)))
            link.receive(data[at : at + size])
            at += size
            if self.chance.random() < 0.2:
                self._settle()

    def _settle(self) -> None:
        self.bench.desk.turn.settle(self.now, self.mono)
        self.bench.journal.flush()
        for link in self.links:
            link.read()

    def _pass_time(self) -> None:
        step = self.chance.choice((1, 50, 1000, 20_000, 300_000))
        self.mono += step
        # The wall clock may step back.
        self.now += step if self.chance.random() < 0.9 else -step

    def _renew(self) -> None:
        # The turn is settled before jobs change, as the edge does.
        self._settle()
        new_block = self.chance.random() < 0.4
        self.height += new_block
        prevhash = self.height.to_bytes(32, "big")
        clean = self.bench.desk.renew(
            make_template(self.height, prevhash, self.now // 1000), self.bench.terms, self.now
        )
        live = self.bench.desk.current("main")
        assert live is not None
        for link in self.links:
            if link.session.state is State.MINING and not link.session.closing:
                link.session.assign(live, clean)
            link.read()

    def _tick(self) -> None:
        for link in self.links:
            if not link.session.closing:
                link.session.tick(self.mono)
            link.read()

    def _answer(self) -> None:
        for link in self.links:
            questions, _ = link.session.take_news()
            link.asked += questions
            if link.asked and self.chance.random() < 0.7:
                address = link.asked.pop(self.chance.randrange(len(link.asked)))
                miner = self.chance.choice((MINER.pubkey, OTHER_MINER.pubkey, ""))
                link.check(partial(link.session.answer, address, miner, "" if miner else "no such name", self.mono))
                link.late.discard(address)
            link.read()

    def _fail_disk(self) -> None:
        self.bench.journal.full = not self.bench.journal.full
        self.bench.journal.flush()

    def _check_journal(self) -> None:
        """Accepted replies and credited records are the same in number, once all is settled and written."""
        journal = self.bench.journal
        if len(self.bench.desk.turn) or any(link.session.unsettled for link in self.links):
            return
        stored = bytes(journal.stored) + b"".join(journal.records)
        shares = [record.payload for record in read_records(stored) if record.kind == Kind.SHARE]
        assert all(len(encode_share(share)) == 33 for share in shares)
        credited = sum(share[3] == CREDITED for share in shares)
        assert credited == sum(link.session.accepted for link in self.links), (
            "accepted without a record, or the reverse"
        )
        live = self.bench.desk.current("main")
        assert live is not None
        assert len(live.seen) <= len(shares), "hashes of refused shares are kept"


class Link:
    """One connection: what it was fed, what it owes, what it said."""

    def __init__(self, round: Round) -> None:
        self.round = round
        self.chance = round.chance
        self.session = Session(round.bench.desk, round.bench.port, round.mono)
        self.buffer = LineBuffer()
        # Ids of the replies owed, as JSON text, in order; those that wait for a NIP-05 name, in any.
        self.owed: list[bytes] = []
        self.waiting: Counter[bytes] = Counter()
        self.late: set[str] = set()
        self.asked: list[str] = []
        self.jobs: list[str] = []
        self.fed = self.said = self.number = 0
        # How much of what it sends is in good faith: who only errs is soon let go.
        self.honesty = self.chance.choice((0.0, 0.5, 0.9))
        self.ended = False

    # What a stranger sends

    def talk(self) -> bytes:
        """Some lines, most of them wrong in some way."""
        lines = [self._line() for _ in range(self.chance.randrange(1, 6))]
        if self.fed == 0 and self.chance.random() < 0.8:
            # Most get in first, in either order.
            login = [self._request("mining.subscribe", ["fuzz/1"]), self._request("mining.authorize", [NPUB, "x"])]
            lines = [*self.chance.sample(login, 2), *lines]
        data = b"".join(line + self.chance.choice((b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"")) for line in lines)
        if self.chance.random() < 0.1:
            data = self._mutate(data)
        return data

    def _line(self) -> bytes:
        if self.jobs and self.chance.random() < self.honesty:
            return self._submit()
        kind = self.chance.randrange(12)
        if kind == 0:
            http = (b"GET / HTTP/1.1", b"POST / HTTP/1.0")
            return self.chance.choice((self.chance.randbytes(self.chance.randrange(200)), *http))
        if kind == 1:
            return self._mutate(self.chance.choice(RECORDED))
        if kind in (2, 3):
            return self.chance.choice(RECORDED)
        if kind in (4, 5, 6):
            return self._submit()
        if kind == 7:
            return self._mutate(self._submit())
        if kind == 8:
            deep = self.chance.choice((10, 500, 4000))
            return b'{"id":1,"method":"mining.submit","params":' + b"[" * deep + b"]" * deep + b"}"
        if kind == 9:
            long = self.chance.choice((8191, 8192, 8193, 9000, 30_000))
            return b'{"id":1,"method":"mining.ping","params":["' + b"x" * long + b'"]}'
        if kind == 10:
            user = self.chance.choice((NPUB, f"{NPUB}.w{self.chance.randrange(9)}", OTHER, *ADDRESSES))
            return self._request("mining.authorize", [user, self.chance.choice(("x", "d=1", "d=1e-9", 5, None))])
        params: Any = [self._value() for _ in range(self.chance.randrange(9))]
        if self.chance.random() < 0.2:
            params = self._value()
        return self._request(self.chance.choice(METHODS), params)

    def _request(self, method: object, params: object) -> bytes:
        self.number += 1
        id = self.number if self.chance.random() < 0.8 else self._value()
        members = [("id", id), ("method", method), ("params", params)]
        self.chance.shuffle(members)
        return json.dumps(dict(members), ensure_ascii=self.chance.random() < 0.5).encode("utf-8", "surrogatepass")

    def _submit(self) -> bytes:
        """Close to a good share: at the least difficulty nearly every nonce is one."""
        user = NPUB if self.chance.random() < 0.9 else f"{NPUB}.w{self.chance.randrange(9)}"
        job = self.chance.choice(self.jobs) if self.jobs else "1"
        ntime = self.round.now // 1000 + self.chance.choice((*(0,) * 20, 1, 60, 7200, 7201, -1, -100_000))
        params: list[Any] = [
            user, job, f"{self.chance.randrange(4):016x}", f"{max(ntime, 0):08x}", self.chance.randbytes(4).hex(),
        ]  # fmt: skip
        if self.chance.random() < 0.1:
            params.append(self.chance.choice(("00000000", "00002000", "1fffe000", "20000000")))
        if self.chance.random() < 0.05:
            params[self.chance.randrange(len(params))] = self._value()
        return self._request("mining.submit", params)

    def _value(self) -> Any:
        return self.chance.choice(NASTY)

    def _mutate(self, data: bytes) -> bytes:
        found = bytearray(data)
        for _ in range(self.chance.randrange(1, 5)):
            at = self.chance.randrange(len(found) + 1)
            match self.chance.randrange(5):
                case 0 if at < len(found):
                    found[at] ^= 1 << self.chance.randrange(8)
                case 1:
                    del found[at : at + self.chance.randrange(20)]
                case 2:
                    found[at:at] = self.chance.randbytes(self.chance.randrange(9))
                case 3:
                    found[at:at] = found[: self.chance.randrange(60)]
                case _:
                    del found[at:]
        return bytes(found)

    # What it is owed

    def receive(self, data: bytes) -> None:
        """One read."""
        session = self.session
        if session.closing or session.state is State.CLOSED:
            return
        lines = self.buffer.feed(data)
        for line in lines:
            if session.closing:
                break
            self._owe(line)
            self.check(partial(session.receive, [line], self.round.mono))
        assert len(self.buffer._tail) <= 8192, "an unfinished line grows"
        assert len(session.users) <= MAX_WORKERS

    def _owe(self, line: bytes | None) -> None:
        """What reply a line must have, by the protocol alone."""
        if line is None:
            self.owed.append(b"null")
            return
        if not line or line.isspace():
            return
        try:
            request = messages.parse_request(line)
        except MalformedLine:
            if self.session.state is State.CONNECTED and line.startswith((b"GET ", b"HEAD ", b"POST ")):
                return
            self.owed.append(b"null")
            return
        if request.method in (None, "pong", "mining.pong"):
            return
        params = request.params
        if request.method == "mining.authorize" and type(params) is list and params and type(params[0]) is str:
            try:
                found = parse_login(params[0])
            except Exception:  # refused with advice, whatever it is
                found = None
            if isinstance(found, Address):
                self.waiting[request.id] += 1
                self.late.add(found.address)
                return
        self.owed.append(request.id)

    def check(self, act: Any) -> None:
        """Run something on the session, and see that its state moves along the table."""
        before = self.session.state
        act()
        after = self.session.state
        assert before is after or (before, after) in MOVES, f"{before} to {after}"
        if self.session.closing:
            assert len(self.session.closing) > 5

    # What it says

    def read(self) -> None:
        """Take the output and account for each line of it."""
        output = self.session.take_output()
        self.said += len(output)
        # A wish of 70 bytes may cost us a difficulty and a job; patience ends that long before this.
        assert self.said <= 100_000 + 30 * self.fed, "answers are far longer than questions"
        if output.endswith(HTTP_ANSWER):
            assert self.session.closing
            output = output[: -len(HTTP_ANSWER)]
        assert not output or output.endswith(b"\n")
        for line in output.split(b"\n")[:-1]:
            assert not self.ended, "it said its last word, and then more"
            self._account(json.loads(line), line)
        if self.session.unsettled:
            return
        if self.session.closing:
            self.ended = True
            self.owed.clear()
            self.waiting.clear()
        else:
            assert not self.owed, f"not answered: {self.owed}"
            assert self.waiting.total() == 0 or self.late, "a login is waiting, and for nothing"

    def _account(self, message: dict[str, Any], line: bytes) -> None:
        if "method" in message:
            assert message["id"] is None
            assert message["method"] in (
                "mining.notify", "mining.set_difficulty", "mining.set_version_mask", "client.show_message",
            )  # fmt: skip
            if message["method"] == "mining.notify":
                assert self.session.state is State.MINING, "work before it is known whose"
                self.jobs = [*self.jobs[-4:], message["params"][0]]
            return
        assert set(message) == {"id", "result", "error"}
        assert (message["error"] is None) != (message["result"] is None), "a reply is a result or an error"
        if message["error"] is not None:
            code, text, more = message["error"]
            assert 20 <= code <= 25
            assert text
            assert more is None
        id = line[len(b'{"id":') : line.index(b',"result":')]
        if self.owed and self.owed[0] == id:
            self.owed.pop(0)
        elif self.waiting[id]:
            self.waiting[id] -= 1
            self.waiting += Counter()
        else:
            assert self.session.closing, f"nobody asked for {line!r}; owed {self.owed[:3]}"
            assert id == b"null"


def run_round(seed: int) -> Round:
    """One round; an AssertionError or whatever else went wrong names the seed."""
    found = Round(seed)
    try:
        found.run()
    except BaseException as error:
        error.add_note(f"repeat it with --seed {seed} --rounds 1")
        raise
    return found


def main() -> None:
    """Fuzz until the time or the rounds are over, and say what was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=0, help="instead of a time")
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the next ones follow")
    arguments = parser.parse_args()
    first = time.time_ns() % 10**12 if arguments.seed is None else arguments.seed
    began = time.monotonic()
    rounds = accepted = fed = 0
    closed: Counter[str] = Counter()
    while rounds < arguments.rounds if arguments.rounds else time.monotonic() - began < arguments.seconds:
        found = run_round(first + rounds)
        rounds += 1
        accepted += sum(link.session.accepted for link in found.links)
        fed += sum(link.fed for link in found.links)
        closed.update(link.session.closing or "still open" for link in found.links)
    said = f"{rounds} rounds from seed {first}: {fed / 1e6:.1f} MB in, {accepted} shares accepted, nothing found\n"
    sys.stdout.write(said + "".join(f"  {count:8} {reason}\n" for reason, count in closed.most_common(8)))


if __name__ == "__main__":
    main()
