"""Two readings of one text: the verifier in Python and the one in TypeScript say the same of the same log.

The log is the one of tests/accounting: two lanes, miners, offers and terms, three blocks, zaps. It is told whole, and
then altered at random in a hundred ways, each signed anew by the keys it is told with.
"""

import dataclasses
import functools
import importlib.util
import itertools
import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from accounting.findings import REGISTRY
from nips.keys import SecretKey
from nips.nip01 import Event, UnsignedEvent, VerifiedEvent, parse_event, verify
from nips.pool import kinds
from nips.pool.address import PoolAddress
from nips.pool.targets import work_from_bits
from tests.client_web.told_logs import AFTER_MS, FOLLOWING, MODULES, ROOT, Judge, Told, claims, codes, judge_logs

SPEC = Path(__file__).parents[2] / "nips" / "pool" / "SPEC.md"
SIZE = 28
MUTATIONS = 100


@pytest.fixture(scope="session")
def stories() -> Any:
    """The builder of tests/accounting, whose conftest.py is not seen from here."""
    path = ROOT / "tests" / "accounting" / "conftest.py"
    spec = importlib.util.spec_from_file_location("accounting_story", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def judge(node: str) -> Judge:
    """The second verifier's reports on logs."""
    return functools.partial(judge_logs, node)


def test_the_whole_log_claim_by_claim(stories: Any, judge: Judge) -> None:
    story = stories.tell_story()
    log = Told("whole", story.pool, story.t0 + AFTER_MS, story.all())
    theirs = log.audit()
    (ours,) = judge([log])
    assert ours["holds"] is theirs["holds"] is True
    assert claims(ours["claims"]) == claims(theirs["claims"])
    assert codes(ours["findings"], notes=True) == codes(theirs["findings"], notes=True) == {"chain-facts"}
    assert ours["miners"] == theirs["miners"]
    assert ours["payouts"] == theirs["payouts"] == {"attested": 3}
    assert (ours["pool"], ours["from_ms"], ours["to_ms"]) == (theirs["pool"], theirs["from_ms"], theirs["to_ms"])
    assert all(row["msat"] == row["told"] for statement in ours["statements"] for row in statement["rows"])


def test_the_examples_of_the_specification(judge: Judge) -> None:
    """The small log that SPEC.md tells, read from its text: every claim of it holds, for both."""
    text = SPEC.read_text()
    blocks = re.findall(r"<!-- example: (\w+) -->\n```json\n(.*?)\n```", text, re.DOTALL)
    told = {name: json.loads(body) for name, body in blocks}
    events = {
        name: verify(parse_event(value)) for name, value in told.items() if value.get("kind") in kinds.LEDGER_KINDS
    }
    assert {"terms", "empty_receipt", "job", "receipt", "block", "last_receipt", "statement", "summary"} <= set(events)
    log = Told("SPEC.md", PoolAddress(events["terms"].pubkey, "regtest"), 1_767_300_000_000, list(events.values()))
    (ours,) = judge([log])
    theirs = log.audit()
    assert ours["holds"] is theirs["holds"] is True
    assert claims(ours["claims"]) == claims(theirs["claims"])
    assert ours["miners"] == theirs["miners"]
    balance = json.loads(told["balance"]["content"])
    mine = next(row for row in ours["miners"] if row["miner"] == balance["miner"])
    assert mine["owed_msat"] == balance["owed_msat"] == 559_585
    rows = [(row["work"], row["msat"], row["told"]) for row in ours["statements"][0]["rows"]]
    assert rows == [("2712", 447_482_559_585, 447_482_559_585), ("12288", 2_027_531_597_414, 2_027_531_597_414)]


# Cases that chance would hardly come upon.


def twice(first: int, last: int) -> Callable[[Any], Any]:
    """The first share of a batch with one status, and once more at its end with another."""

    def change(body: Any) -> Any:
        head, again = bytearray(body.shares[:SIZE]), bytearray(body.shares[:SIZE])
        head[3], again[3] = first, last
        again[4:8] = body.shares[4 - SIZE : 8 - SIZE]
        return credited(body, bytes(head) + body.shares[SIZE:] + bytes(again))

    return change


def too_early_and_again(body: Any) -> Any:
    """A share that is dated before its job, and once more as it was: only the first is bad."""
    early = bytearray(body.shares[:SIZE])
    early[4:8] = bytes(4)
    return credited(body, bytes(early) + body.shares)


def credited(body: Any, shares: bytes) -> Any:
    rows = [shares[at : at + SIZE] for at in range(0, len(shares), SIZE)]
    bits = [body.sessions[int.from_bytes(row[:2], "little")].share_bits for row in rows if row[3] < 2]
    return dataclasses.replace(body, shares=shares, work=sum(map(work_from_bits, bits)))


def fee_on_miners(body: Any) -> Any:
    return dataclasses.replace(body, payouts=dataclasses.replace(body.payouts, network_fee="miner"))


def test_hand_made_cases(stories: Any, judge: Judge) -> None:
    """Shares told twice, statuses in every order, fees, money that came back: the same findings and balances."""
    whole = stories.tell_story()
    logs = []

    def tell(label: str, change: Any = None, then: Callable[[Any], object] | None = None) -> None:
        story = stories.tell_story(change)
        if then is not None:
            then(story)
        logs.append(Told(label, story.pool, story.t0 + AFTER_MS, story.all()))

    for first, last in ((0, 0), (2, 0), (0, 2), (5, 0), (3, 3)):
        tell(f"a share told as {first}, then {last}", {"batch 0/1": twice(first, last)})
    tell("a bad share, then a good one", {"batch 0/1": too_early_and_again})
    for name in ("statement 0", "statement 2"):
        for said in itertools.product(("matured", "orphaned", "void"), repeat=2):

            def statuses(story: Any, name: str = name, said: tuple[str, ...] = said) -> None:
                for number, status in enumerate(said):
                    story.status(name, status, 70_000 + 1000 * number)

            tell(f"{name}: {said}", None, statuses)
    fee = {"payout 1": lambda body: dataclasses.replace(body, network_fee_msat=1234)}
    tell("a fee that a miner bears", {"terms 0": fee_on_miners, "terms 1": fee_on_miners, **fee})
    payment = whole.bodies["payout 1"].payout_id
    for back, named in ((1_000_000, payment), (500_000, payment), (1_000_001, payment), (1000, "none")):

        def reversal(body: Any, back: int = back, named: str = named) -> Any:
            return dataclasses.replace(body, amount_msat=-back, reverses=named, proof={})

        tell(f"{back} come back", {"payout 3": reversal}, lambda story: story.zap(story.keys.bob, 1_000_000, 70_000))
    other = whole.events["receipt 2"].id
    for label, changes in (
        ("no provider named", {"provider": None}),
        ("another provider", {"provider": whole.keys.bob.pubkey}),
        ("the zapper as provider", {"provider": whole.keys.zapper.pubkey}),
        ("a receipt of another payment", {"receipt": other}),
        ("a receipt that is none", {"receipt": whole.events["block 0"].id}),
    ):

        def told(body: Any, changes: Any = changes) -> Any:
            proof = {name: value for name, value in {**body.proof, **changes}.items() if value is not None}
            return dataclasses.replace(body, proof=proof)

        tell(label, {"payout 1": told})
    for log, ours in zip(logs, judge(logs), strict=True):
        theirs = log.audit()
        assert codes(ours["findings"], notes=True) == codes(theirs["findings"], notes=True), log.label
        assert ours["miners"] == theirs["miners"], log.label
        assert ours["payouts"] == theirs["payouts"], log.label
    grades = [log.audit()["payouts"] for log in logs[-5:]]
    unread = {"attested": 2, "claimed": 1}
    refuted = {"attested": 2, "refuted": 1}
    assert grades == [unread, refuted, unread, refuted, unread]
    assert len(logs) == 34


def test_the_codes_are_those_of_the_specification() -> None:
    row = r"^\| `([a-z-]+)` \| (contradicted|missing|not checked) \| (.*) \|$"
    told = {code: (grade, text) for code, grade, text in re.findall(row, SPEC.read_text(), re.MULTILINE)}
    grades = {str(code.value): grade for code, (grade, _) in REGISTRY.items()}
    assert {code: grade for code, (grade, _) in told.items()}.items() <= grades.items()
    row = r'^ {2}"?([a-z-]+)"?: \["(contradicted|missing|not checked)", "(.*)"\],$'
    ours = re.findall(row, (MODULES / "findings.ts").read_text(), re.MULTILINE)
    assert len(ours) >= 60
    assert {code: (grade, text) for code, grade, text in ours}.items() <= told.items()


# Random alterations of what is said, before it is signed.


def nudge(value: Any, chance: random.Random) -> Any:
    """Another value of the same type, mostly a near one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return max(0, value + chance.choice((-100_000, -1000, -1, 1, 1, 1000, 100_000)))
    if isinstance(value, bytes):
        if not value:
            return b"\x00"
        at = chance.randrange(len(value))
        return value[:at] + bytes([value[at] ^ (1 << chance.randrange(8))]) + value[at + 1 :]
    if isinstance(value, str):
        if not value:
            return "0"
        at = chance.randrange(len(value))
        return value[:at] + chance.choice("0123456789abcdef".replace(value[at], "")) + value[at + 1 :]
    if isinstance(value, dict) and value:
        name = chance.choice(sorted(value))
        if chance.random() < 0.3:
            return {key: each for key, each in value.items() if key != name}
        return {**value, name: nudge(value[name], chance)}
    if isinstance(value, tuple) and hasattr(value, "_replace"):
        name = chance.choice(value._fields)
        return value._replace(**{name: nudge(getattr(value, name), chance)})
    if isinstance(value, tuple | list) and value:
        at = chance.randrange(len(value))
        kind = chance.random()
        if kind < 0.2:
            return type(value)((*value[:at], *value[at + 1 :]))
        if kind < 0.3:
            return type(value)((*value, value[at]))
        return type(value)((*value[:at], nudge(value[at], chance), *value[at + 1 :]))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = chance.choice([each.name for each in dataclasses.fields(value)])
        return dataclasses.replace(value, **{name: nudge(getattr(value, name), chance)})
    if isinstance(value, msgspec.Struct):
        name = chance.choice(value.__struct_fields__)
        return msgspec.structs.replace(value, **{name: nudge(getattr(value, name), chance)})
    return value


def altered_bodies(stories: Any, labels: Sequence[str], chance: random.Random) -> Told | None:
    """The log with one body altered; what follows is signed on top of it. None if it can't be told at all."""
    label = chance.choice(labels)
    try:
        story = stories.tell_story({label: lambda body: nudge(body, chance)})
    except Exception:  # a builder that refuses a body tells no log that could be judged
        return None
    return Told(f"body of {label}", story.pool, story.t0 + AFTER_MS, story.all())


def altered_events(stories: Any, whole: Any, chance: random.Random) -> Told:
    """The log with one event left out, altered unsigned, signed anew, signed by another, or told twice."""
    story = whole
    label = chance.choice(sorted(story.events))
    event = story.events[label]
    good = story.all()
    keys = {key.pubkey: key for key in story.keys}
    way = chance.choice(("left out", "forged", "dated", "content", "tag", "stranger", "twice", "cut"))
    at = good.index(event)
    rest = [*good[:at], *good[at + 1 :]]
    told = Told(f"{label} {way}", story.pool, story.t0 + AFTER_MS, rest)

    def sign(key: SecretKey, created_at: int, tags: Any, content: str) -> VerifiedEvent:
        return key.sign(UnsignedEvent(event.kind, created_at, tags, content))

    key, tags = keys[event.pubkey], event.tags
    if way == "forged":
        told.bad.append(
            Event(event.id, event.pubkey, event.created_at, event.kind, tags, event.content + " ", event.sig)
        )
    elif way == "dated":
        told.good = [*rest, sign(key, event.created_at + chance.choice((-3600, -30, 3600)), tags, event.content)]
    elif way == "content":
        told.good = [*rest, sign(key, event.created_at, tags, nudge(event.content, chance))]
    elif way == "tag":
        told.good = [*rest, sign(key, event.created_at, nudge(tags, chance), event.content)]
    elif way == "stranger":
        told.good = [
            *rest,
            sign(
                chance.choice(sorted(keys.values(), key=lambda each: each.pubkey)),
                event.created_at,
                tags,
                event.content,
            ),
        ]
    elif way == "twice":
        told.good = [*good, sign(key, event.created_at + 1, tags, event.content)]
    elif way == "cut":
        told.good = good[: at + 1]
    return told


@pytest.fixture(scope="session")
def mutations(stories: Any) -> list[Told]:
    chance = random.Random(4)
    whole = stories.tell_story()
    labels = sorted(whole.bodies)
    logs: list[Told] = []
    while len(logs) < MUTATIONS:
        log = altered_bodies(stories, labels, chance) if len(logs) % 2 else altered_events(stories, whole, chance)
        if log is not None:
            logs.append(log)
    return logs


def test_a_hundred_altered_logs(mutations: list[Told], judge: Judge) -> None:
    differ = []
    faulty = 0
    for log, ours in zip(mutations, judge(mutations), strict=True):
        theirs = log.audit()
        faulty += not theirs["holds"]
        here, there = codes(ours["findings"]), codes(theirs["findings"])
        same = here - FOLLOWING == there - FOLLOWING and bool(here & there) == bool(here | there)
        if ours["holds"] != theirs["holds"] or not same:
            differ.append(f"{log.label}: {sorted(here)} here, {sorted(there)} there")
    assert not differ, "\n".join(differ)
    assert faulty > MUTATIONS / 2
