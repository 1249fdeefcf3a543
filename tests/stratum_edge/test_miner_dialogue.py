"""The miner's side of Stratum: the dialogue line by line, real shares from it, and the honest miner's rules."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool.hashing import display, sha256d
from stratum_edge.errors import BadReply
from stratum_edge.miner_dialogue import (
    AGENT,
    BACKOFF_MOST_MS,
    MAX_BRANCHES,
    MAX_JOBS,
    Answered,
    Authorized,
    JobChanged,
    Leave,
    Refused,
    Said,
    Send,
    StratumClient,
    backoff_ms,
)
from stratum_edge.miner_work import grind, target_of_difficulty

VECTORS = Path(__file__).parents[1] / "vectors" / "stratum"
NOTIFY = [
    "job1",
    "00" * 32,
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff10027b00",
    "ffffffff0100f2052a010000000151" + "00000000",
    [],
    "20000000",
    "207fffff",
    "67b6f938",
    True,
]


def line(**message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def sent(event: object) -> dict[str, Any]:
    assert isinstance(event, Send)
    assert event.line.endswith(b"\n")
    message: dict[str, Any] = json.loads(event.line)
    return message


def notify(job_id: str, clean: bool = False, **changed: Any) -> bytes:
    params = [job_id, *NOTIFY[1:8], clean]
    for index, value in changed.items():
        params[int(index[1:])] = value
    return line(id=None, method="mining.notify", params=params)


def ready(
    *, extranonce1: str = "0a0b0c0d", size: int = 8, rolling: str | None = None, wants_rolling: bool | None = None
) -> StratumClient:
    """A client that is subscribed and authorized; `rolling` is the mask granted."""
    wants = rolling is not None if wants_rolling is None else wants_rolling
    client = StratumClient("npub1x.rig", version_rolling=wants)
    opening = [sent(event) for event in client.open()]
    if wants:
        result = {"version-rolling": rolling is not None, "version-rolling.mask": rolling}
        client.receive(line(id=opening[0]["id"], result=result, error=None))
    subscribed = [[["mining.set_difficulty", "s1"], ["mining.notify", "s1"]], extranonce1, size]
    (authorize,) = client.receive(line(id=opening[-1]["id"], result=subscribed, error=None))
    assert sent(authorize)["params"] == ["npub1x.rig", "x"]
    assert client.receive(line(id=sent(authorize)["id"], result=True, error=None)) == [Authorized()]
    return client


def job_of(client: StratumClient, raw: bytes) -> JobChanged:
    (event,) = client.receive(raw)
    assert isinstance(event, JobChanged)
    return event


def load(name: str) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads((VECTORS / name).read_text())
    return vector


def test_the_captured_vectors_are_there() -> None:
    captured = {"espminer_header_18.json", "p2poolv2_signet_b.json", "publicpool_testnet_bitaxe.json"}
    assert captured <= {path.name for path in VECTORS.glob("*.json")}


@pytest.mark.parametrize("name", ["p2poolv2_signet_b.json", "publicpool_testnet_bitaxe.json"])
def test_real_shares_are_rebuilt_and_found(name: str) -> None:
    vector = load(name)
    _, _, extranonce2, ntime, nonce, *bits = vector["submit"]["params"]
    client = ready(extranonce1=vector["extranonce1"], size=vector["extranonce2_size"])
    client.receive(line(id=None, method="mining.set_difficulty", params=[int(vector["expected"]["difficulty"])]))
    job = job_of(client, line(**{"id": None, **vector["notify"]})).job
    assert f"{job.ntime:08x}" == ntime
    mask = int(vector["version_bits_mask"], 16) if bits else 0
    header76 = job.header76(bytes.fromhex(extranonce2), int(bits[0], 16) if bits else 0, mask)
    expected = bytes.fromhex(vector["expected"]["header"])
    assert header76 == expected[:76]
    assert display(sha256d(expected)) == vector["expected"]["hash"]
    # The nonce stands in the header as a little-endian number and in the submit as that number's hex.
    number = int(nonce, 16)
    assert expected[76:] == number.to_bytes(4, "little")
    assert grind(header76, number - 500, 1000, job.target) == [number]
    assert grind(header76, number - 500, 1000, target_of_difficulty(vector["expected"]["difficulty"] + 1)) == []


def test_backoff_doubles_to_a_minute() -> None:
    assert [backoff_ms(n) for n in range(4)] == [500, 1000, 2000, 4000]
    assert backoff_ms(10) == backoff_ms(10**6) == BACKOFF_MOST_MS


def test_the_opening_subscribes_and_authorizes_only_after_the_reply() -> None:
    client = StratumClient("user", "d=1")
    (subscribe,) = map(sent, client.open())
    assert (subscribe["method"], subscribe["params"]) == ("mining.subscribe", [AGENT])
    (authorize,) = client.receive(line(id=subscribe["id"], result=[[], "0a0b0c0d", 4], error=None))
    assert (sent(authorize)["method"], sent(authorize)["params"]) == ("mining.authorize", ["user", "d=1"])
    assert not client.authorized


def test_version_rolling_is_asked_for_only_when_wanted() -> None:
    configure, subscribe = map(sent, StratumClient("user", version_rolling=True).open())
    assert configure["method"] == "mining.configure"
    assert configure["params"][0] == ["version-rolling"]
    assert configure["params"][1]["version-rolling.mask"] == "1fffe000"
    assert subscribe["method"] == "mining.subscribe"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"result": None, "error": [24, "Unauthorized worker", None]}, "Unauthorized worker"),
        ({"result": False, "error": None}, "no reason given"),
        ({"result": None, "error": {"code": 24, "message": "not an npub"}}, "not an npub"),
        ({"result": None, "error": "go away"}, "go away"),
    ],
)
def test_a_refused_user_comes_with_the_pools_reason(reply: dict[str, Any], reason: str) -> None:
    client = StratumClient("user")
    (subscribe,) = map(sent, client.open())
    (authorize,) = client.receive(line(id=subscribe["id"], result=[[], "0a0b0c0d", 4], error=None))
    assert client.receive(line(id=sent(authorize)["id"], **reply)) == [Refused(reason)]
    assert not client.authorized


def test_nothing_is_mined_before_authorization_or_a_job() -> None:
    client = StratumClient("user")
    (subscribe,) = map(sent, client.open())
    client.receive(line(id=subscribe["id"], result=[[], "0a0b0c0d", 4], error=None))
    client.receive(notify("early"))
    assert client.next_work() is None
    assert ready().next_work() is None


def test_a_difficulty_holds_for_the_jobs_after_it() -> None:
    client = ready()
    first = job_of(client, notify("a")).job
    assert first.target == target_of_difficulty(1)
    assert client.receive(line(id=None, method="mining.set_difficulty", params=[0.25])) == []
    work = client.next_work()
    assert work is not None
    assert work.job.target == first.target
    assert job_of(client, notify("b")).job.target == target_of_difficulty(0.25)


def test_every_work_has_another_extranonce2() -> None:
    client = ready()
    job_of(client, notify("a"))
    works = [client.next_work() for _ in range(50)]
    job_of(client, notify("b"))
    works += [client.next_work() for _ in range(50)]
    headers = {work.header76 for work in works if work is not None}
    assert len(headers) == 100
    assert {len(work.extranonce2) for work in works if work is not None} == {8}


def test_a_submit_says_what_was_hashed() -> None:
    client = ready()
    job_of(client, notify("a"))
    work = client.next_work()
    assert work is not None
    message = sent(client.submit(work, 0x0102ABCD))
    assert message["method"] == "mining.submit"
    assert message["params"] == ["npub1x.rig", "a", work.extranonce2.hex(), "67b6f938", "0102abcd"]


def test_no_share_is_handed_in_twice() -> None:
    client = ready()
    job_of(client, notify("a"))
    work = client.next_work()
    assert work is not None
    assert client.submit(work, 7) is not None
    assert client.submit(work, 7) is None
    assert client.submit(work, 8) is not None


def test_a_one_byte_extranonce2_wraps_without_a_duplicate() -> None:
    client = ready(size=1)
    job_of(client, notify("a"))
    works = [client.next_work() for _ in range(257)]
    first, last = works[0], works[256]
    assert first is not None
    assert last is not None
    assert first.header76 == last.header76
    assert client.submit(first, 7) is not None
    assert client.submit(last, 7) is None


def test_a_clean_job_ends_the_ones_before_it() -> None:
    client = ready()
    job_of(client, notify("a"))
    old = client.next_work()
    job_of(client, notify("b"))
    assert old is not None
    assert client.submit(old, 1) is not None
    job_of(client, notify("c", clean=True))
    assert client.submit(old, 2) is None


def test_jobs_without_end_do_not_fill_the_memory() -> None:
    client = ready()
    job_of(client, notify("first"))
    first = client.next_work()
    for number in range(MAX_JOBS):
        job_of(client, notify(f"job{number}"))
    assert first is not None
    assert client.submit(first, 1) is None
    assert len(client._jobs) == len(client._handed_in) == MAX_JOBS


@pytest.mark.parametrize(
    ("reply", "accepted", "code", "reason"),
    [
        ({"result": True, "error": None}, True, 0, ""),
        ({"result": None, "error": [21, "Job not found", None]}, False, 21, "Job not found"),
        ({"result": False, "error": [23, "Low difficulty share"]}, False, 23, "Low difficulty share"),
        ({"result": False, "error": None}, False, 20, "refused without a reason"),
        ({"result": None, "error": {"code": 22, "message": "Duplicate"}}, False, 22, "Duplicate"),
    ],
)
def test_answers_find_their_shares(reply: dict[str, Any], accepted: bool, code: int, reason: str) -> None:
    client = ready()
    job_of(client, notify("a"))
    work = client.next_work()
    assert work is not None
    call_id = sent(client.submit(work, 7))["id"]
    (answer,) = client.receive(line(id=call_id, **reply))
    assert isinstance(answer, Answered)
    assert (answer.share.work, answer.share.nonce) == (work, 7)
    assert (answer.accepted, answer.code, answer.reason) == (accepted, code, reason)
    assert client.receive(line(id=call_id, **reply)) == []


def test_rolled_versions_stay_within_the_granted_mask() -> None:
    client = ready(rolling="00006000")
    job_of(client, notify("a"))
    works = [client.next_work() for _ in range(8)]
    assert [work.version_bits for work in works if work is not None] == [0, 0x2000, 0x4000, 0x6000] * 2
    second = works[1]
    assert second is not None
    assert second.header76[:4] == (0x20002000).to_bytes(4, "little")
    assert sent(client.submit(second, 7))["params"][5] == "00002000"
    client.receive(line(id=None, method="mining.set_version_mask", params=["00008000"]))
    later = client.next_work()
    assert later is not None
    assert later.version_bits in (0, 0x8000)


def test_a_pool_without_version_rolling_gets_five_parameters() -> None:
    client = ready(wants_rolling=True)
    job_of(client, notify("a"))
    work = client.next_work()
    assert work is not None
    assert len(sent(client.submit(work, 7))["params"]) == 5


def test_a_new_extranonce_holds_for_the_next_job() -> None:
    client = ready()
    old = job_of(client, notify("a")).job
    client.receive(line(id=None, method="mining.set_extranonce", params=["ffee", 4]))
    new = job_of(client, notify("b")).job
    assert (old.extranonce1.hex(), old.extranonce2_size) == ("0a0b0c0d", 8)
    assert (new.extranonce1.hex(), new.extranonce2_size) == ("ffee", 4)


def test_the_next_connection_asks_for_its_session_and_repeats_no_header() -> None:
    client = ready()
    job_of(client, notify("a"))
    before = client.next_work()
    assert before is not None
    client.submit(before, 7)
    (unanswered,) = client.restart()
    assert unanswered.nonce == 7
    assert client.submit(before, 8) is None
    (subscribe,) = map(sent, client.open())
    assert subscribe["params"] == [AGENT, "s1"]
    subscribed = [[["mining.notify", "s1"]], "0a0b0c0d", 8]
    (authorize,) = client.receive(line(id=subscribe["id"], result=subscribed, error=None))
    client.receive(line(id=sent(authorize)["id"], result=True, error=None))
    job_of(client, notify("a"))
    after = client.next_work()
    assert after is not None
    assert after.header76 != before.header76


def test_the_pools_questions_are_answered() -> None:
    client = ready()
    (version,) = client.receive(line(id=9, method="client.get_version", params=[]))
    assert sent(version) == {"id": 9, "result": AGENT, "error": None}
    (pong,) = client.receive(line(id=10, method="mining.ping", params=[]))
    assert sent(pong)["result"] == "pong"
    (unknown,) = client.receive(line(id=11, method="mining.dance", params=[]))
    assert sent(unknown)["error"][0] == 20
    assert client.receive(line(id=None, method="mining.dance", params=[])) == []
    assert client.receive(line(id=None, method="client.show_message", params=["hello"])) == [Said("hello")]
    assert client.receive(line(id=None, method="client.reconnect", params=["evil.example", 1])) == [Leave()]


BROKEN: dict[str, Callable[[], bytes]] = {
    "no JSON": lambda: b"hello\n",
    "deep JSON": lambda: b"[" * 60_000 + b"\n",
    "no object": lambda: b"[1]\n",
    "params are an object": lambda: line(id=None, method="mining.notify", params={}),
    "too few": lambda: line(id=None, method="mining.notify", params=NOTIFY[:8]),
    "job id is a number": lambda: notify("a", p0=5),
    "short prevhash": lambda: notify("a", p1="00" * 31),
    "prevhash is not hex": lambda: notify("a", p1="zz" * 32),
    "coinb1 is a number": lambda: notify("a", p2=1),
    "branch is short": lambda: notify("a", p4=["00"]),
    "branch too long": lambda: notify("a", p4=["00" * 32] * (MAX_BRANCHES + 1)),
    "version is short": lambda: notify("a", p5="2000"),
    "ntime is a number": lambda: notify("a", p7=1),
    "difficulty 0": lambda: line(id=None, method="mining.set_difficulty", params=[0]),
    "difficulty NaN": lambda: b'{"id":null,"method":"mining.set_difficulty","params":[NaN]}\n',
    "difficulty infinite": lambda: b'{"id":null,"method":"mining.set_difficulty","params":[Infinity]}\n',
    "extranonce2 of 0": lambda: line(id=None, method="mining.set_extranonce", params=["00", 0]),
    "extranonce2 of 1000": lambda: line(id=None, method="mining.set_extranonce", params=["00", 1000]),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_not_stratum_is_refused(broken: Callable[[], bytes]) -> None:
    with pytest.raises(BadReply):
        ready().receive(broken())


@pytest.mark.parametrize(
    "reply",
    [
        {"result": None, "error": [20, "banned", None]},
        {"result": True, "error": None},
        {"result": [[], "zz", 4], "error": None},
        {"result": [[], "00", "4"], "error": None},
    ],
)
def test_a_broken_subscription_is_refused(reply: dict[str, Any]) -> None:
    client = StratumClient("user")
    (subscribe,) = map(sent, client.open())
    with pytest.raises(BadReply):
        client.receive(line(id=subscribe["id"], **reply))


def test_a_job_before_the_subscription_is_refused() -> None:
    client = StratumClient("user")
    client.open()
    with pytest.raises(BadReply, match="before"):
        client.receive(notify("a"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "method", "params", "result"]), inner),
    ),
    st.sampled_from(["mining.notify", "mining.set_difficulty", "mining.set_extranonce", "mining.set_version_mask"]),
)
def test_any_json_is_understood_or_refused(value: object, method: str) -> None:
    """Whatever a pool sends, the client answers with events or BadReply, never another error."""
    for message in (value, {"id": None, "method": method, "params": value}, {"id": 1, "result": value}):
        try:
            ready(rolling="1fffe000").receive(json.dumps(message).encode())
        except BadReply:
            continue
