"""The session as a table: every event in every state, every request in every state; and recorded dialogues of a real
cpuminer, whole, byte by byte, in pieces, and with garbage after.
"""

import json
import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from nips.pool.receipt import CREDITED
from stratum_edge.journal import Kind, read_records
from stratum_edge.session import HANDLERS
from stratum_edge.states import AUTHORIZE, CLOSE, SUBSCRIBE, TRANSITIONS, State
from tests.stratum_edge.record_dialogue import NOW, USER, Stage

RECORDINGS = sorted((Path(__file__).parents[1] / "vectors/stratum").glob("cpuminer_*.json"))
EVENTS = (SUBSCRIBE, AUTHORIZE, CLOSE)
# How a session gets to each state.
WAYS: dict[State, tuple[tuple[str, ...], ...]] = {
    State.CONNECTED: ((),),
    State.SUBSCRIBED: ((SUBSCRIBE,), (SUBSCRIBE, SUBSCRIBE)),
    State.AUTHORIZED: ((AUTHORIZE,), (AUTHORIZE, AUTHORIZE)),
    State.MINING: ((SUBSCRIBE, AUTHORIZE), (AUTHORIZE, SUBSCRIBE), (SUBSCRIBE, AUTHORIZE, SUBSCRIBE, AUTHORIZE)),
}
OPEN = list(WAYS)
# Requests with parameters that are right in every state.
REQUESTS = {
    "mining.subscribe": ["test/1"],
    "mining.authorize": [USER, "x"],
    "mining.configure": [["version-rolling"], {}],
    "mining.suggest_difficulty": [1],
    "mining.suggest_target": ["00000000ffff" + "0" * 52],
    "mining.extranonce.subscribe": [],
    "mining.ping": [],
}


def line(method: str, *params: object, id: object = 7) -> bytes:
    return json.dumps({"id": id, "method": method, "params": params}).encode() + b"\n"


def happen(stage: Stage, event: str) -> list[dict]:
    if event == CLOSE:
        stage.session.close(0)
        return []
    method = "mining.subscribe" if event == SUBSCRIBE else "mining.authorize"
    return [json.loads(said) for said in stage.read(line(method, *REQUESTS[method]), 0).splitlines()]


def stage_in(way: tuple[str, ...]) -> Stage:
    stage = Stage(0)
    for event in way:
        happen(stage, event)
    return stage


def test_the_table_has_every_pair_and_nothing_else():
    assert set(TRANSITIONS) == {(state, event) for state in OPEN for event in EVENTS}
    assert set(HANDLERS) == set(REQUESTS)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", OPEN)
def test_every_event_in_every_state_does_what_the_table_says(state, event):
    for way in WAYS[state]:
        stage = stage_in(way)
        assert stage.session.state is state
        said = happen(stage, event)
        after = TRANSITIONS[state, event]
        assert stage.session.state is after
        if event == CLOSE:
            assert said == []
            continue
        assert said[0]["id"] == 7
        assert said[0]["error"] is None
        # Work comes once, the moment it is known whose.
        begins = after is State.MINING and state is not State.MINING
        assert [message["method"] for message in said[1:]] == (
            ["mining.set_difficulty", "mining.notify"] if begins else []
        )


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize("state", OPEN)
def test_every_request_in_every_state_is_answered_once_and_first(state, method):
    event = {"mining.subscribe": SUBSCRIBE, "mining.authorize": AUTHORIZE}.get(method)
    for way in WAYS[state]:
        stage = stage_in(way)
        said = [json.loads(text) for text in stage.read(line(method, *REQUESTS[method], id="x"), 0).splitlines()]
        assert said[0]["id"] == "x"
        assert said[0]["error"] is None
        assert all(message["id"] is None for message in said[1:])
        assert stage.session.state is (state if event is None else TRANSITIONS[state, event])


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize(
    ("request_line", "code"),
    [
        (line("mining.unheard_of"), 20),
        (line("mining.authorize", "nobody", "x"), 24),
        (line("mining.authorize"), 24),
        (b'{"id":7,"method":"mining.subscribe","params":{"a":1}}\n', 20),
        (line("mining.suggest_difficulty", "much"), 20),
        (line("mining.suggest_target", 5), 20),
    ],
)
def test_a_bad_request_is_refused_and_moves_nothing(state, request_line, code):
    stage = stage_in(WAYS[state][0])
    [said] = stage.read(request_line, 0).splitlines()
    assert json.loads(said)["error"][0] == code
    assert stage.session.state is state
    assert stage.session.closing == ""


@pytest.mark.parametrize(("state", "code"), [(State.CONNECTED, 25), (State.SUBSCRIBED, 24), (State.AUTHORIZED, 25)])
def test_submits_too_early_hear_what_is_missing(state, code):
    stage = stage_in(WAYS[state][0])
    [said] = stage.read(line("mining.submit", USER, "1", "00" * 8, "6553f100", "00000001"), 0).splitlines()
    assert json.loads(said)["error"][0] == code
    assert stage.session.state is state


@pytest.mark.parametrize("state", OPEN)
def test_a_closed_session_stays_closed(state):
    stage = stage_in((*WAYS[state][0], CLOSE))
    stage.session.close(0)
    stage.session.tick(1_000_000)
    assert stage.session.state is State.CLOSED
    assert stage.session.take_output() == b""


# Recorded dialogues


def test_there_are_recordings():
    assert len(RECORDINGS) == 2


@pytest.fixture(params=RECORDINGS, ids=lambda path: path.stem)
def recording(request):
    return json.loads(request.param.read_text("utf-8"))


def replay(recording: dict, cut, after: bytes = b"") -> tuple[Stage, str]:
    """Say it again, each read in the pieces that `cut` makes of it; all that is answered."""
    stage, said = Stage(recording["branches"]), ""
    for event in recording["events"]:
        if "block" in event:
            said += stage.find_block(event["at"]).decode()
            assert stage.height == event["block"]
            continue
        for piece in cut(event["in"].encode()):
            said += stage.read(piece, event["at"]).decode()
    said += stage.read(after, recording["events"][-1]["at"]).decode()
    return stage, said


def whole(data: bytes) -> list[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def in_pieces(seed: int):
    chance = random.Random(seed)

    def cut(data: bytes) -> list[bytes]:
        places = sorted({0, len(data), *(chance.randrange(len(data)) for _ in range(chance.randrange(8)))})
        return [data[start:end] for start, end in pairwise(places)]

    return cut


def expected(recording: dict) -> str:
    return "".join(event["out"] for event in recording["events"])


def test_a_real_cpuminer_is_heard_again_and_its_shares_are_good(recording):
    stage, said = replay(recording, whole)
    # Differs when jobs get another content: record_dialogue.py records anew.
    assert [json.loads(text) for text in said.splitlines()] == [
        json.loads(text) for text in expected(recording).splitlines()
    ]
    assert stage.session.accepted == recording["accepted"] == 8
    assert stage.session.rejected == 0
    assert stage.session.agent == "cpuminer/2.5.1"
    journal = b"".join(stage.bench.journal.records) + bytes(stage.bench.journal.stored)
    shares = [record.payload for record in read_records(journal) if record.kind == Kind.SHARE]
    assert [share[3] for share in shares] == [CREDITED] * 8


def test_cpuminer_needs_what_it_gets(recording):
    """One line after subscribe, authorize answered first thing, "error":null, difficulty before its notify."""
    outputs = [[json.loads(text) for text in event["out"].splitlines()] for event in recording["events"]]
    assert [message["id"] for message in outputs[0]] == [1]
    assert [message.get("method") or message["id"] for message in outputs[1]] == [
        2,
        "mining.set_difficulty",
        "mining.notify",
    ]
    assert all(message["error"] is None for messages in outputs for message in messages if "method" not in message)
    notifies = [message["params"] for messages in outputs for message in messages if "method" in message]
    assert notifies[0] == [float(Fraction(1, 1024))]
    first, second = notifies[1], notifies[2]
    assert len(first) == len(second) == 9
    assert len(first[4]) == recording["branches"]
    assert first[7] == f"{NOW // 1000:08x}"
    assert (first[8], second[8]) == (True, True)
    assert first[1] != second[1]


@pytest.mark.parametrize("seed", range(20))
def test_a_recorded_dialogue_in_any_pieces_is_the_same_dialogue(recording, seed):
    cut = byte_by_byte if seed == 0 else in_pieces(seed)
    assert replay(recording, cut)[1] == expected(recording)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\xfe\n",
        b"{" * 300 + b"\n",
        b"x" * 20_000 + b"\n",
        b"]]]\r\n",
        b'{"id":1,"method":5}\n',
        b"\xef\xbb\xbf{}\n",
    ],
)
def test_garbage_after_a_dialogue_changes_nothing_before_it(recording, garbage):
    again = line("mining.ping", id=99)
    stage, said = replay(recording, whole, garbage + again)
    assert said.startswith(expected(recording))
    more = [json.loads(text) for text in said[len(expected(recording)) :].splitlines()]
    if garbage.endswith(b"{}\n"):
        # A byte order mark is no JSON, nor is `{}` a question.
        assert more[-1]["result"] == "pong"
    else:
        assert (more[0]["id"], more[0]["error"][0]) == (None, 20) or more[0]["id"] == 1
        assert more[-1] == {"id": 99, "result": "pong", "error": None}
    assert stage.session.accepted == 8
    assert stage.session.closing == ""


def test_a_recorded_share_twice_is_one_share(recording):
    submits = [event["in"] for event in recording["events"] if "mining.submit" in event.get("in", "")]
    stage, said = replay(recording, whole, submits[-1].encode())
    assert json.loads(said.splitlines()[-1])["error"][0] == 22
    assert stage.session.accepted == 8


def test_a_recorded_share_with_one_digit_changed_is_none(recording):
    submits = [event["in"] for event in recording["events"] if "mining.submit" in event.get("in", "")]
    changed = json.loads(submits[-1])
    for place in (2, 3, 4):
        params = list(changed["params"])
        params[place] = params[place][:-1] + ("0" if params[place][-1] != "0" else "1")
        stage, said = replay(recording, whole, line("mining.submit", *params))
        assert json.loads(said.splitlines()[-1])["error"][0] in (20, 23)
        assert stage.session.accepted == 8
