"""What is due is signed once and in order; what has to wait says why; and nothing is signed while it may not be."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from accounting.facts import BlockSeen
from accounting.fold import Fold
from accounting.issuing import MAX_SUMMARIES, Issuer
from accounting.rewards import NotYet
from accounting.verifier import audit
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.archive import ArchiveBody, Digest, parse_archive
from nips.pool.chain import Head, Link, next_link
from nips.pool.hashing import display
from nips.pool.kinds import ARCHIVE, STATEMENT, STATUS, SUMMARY
from nips.pool.statement import MATURED, ORPHANED, VOID, parse_statement, parse_status
from nips.pool.summary import HOUR_MS, SummaryBody, parse_summary
from nips.pool.terms import parse_terms
from tests.accounting.conftest import KEYS, LIMITS, POOL, T0, TERMS, LogBuilder
from tests.accounting.orders_story import BLOCKS, OrdersLog, tell_orders

pytestmark = pytest.mark.anyio
KEY = KEYS.accounting
NOW_S = T0 // 1000 + 50


@dataclass
class Chain:
    """A `ChainView`: blocks by name and how deep they are; others were never seen."""

    tip: int = 0
    depth: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def confirmations(self, block_hash: bytes) -> int | None:
        self.asked.append(display(block_hash))
        return self.depth.get(display(block_hash))

    def height(self) -> int:
        return self.tip


@dataclass
class Desk:
    """Signs with the accounting's key, and folds what it signed at once. `may_sign`: how many more it lets through."""

    fold: Any
    key: SecretKey = KEY
    second: int = NOW_S
    may_sign: int = 1000
    signed: list[VerifiedEvent] = field(default_factory=list)
    stated: set[str] = field(default_factory=set)
    named: list[tuple[str | None, str | None]] = field(default_factory=list)
    archives: list[ArchiveBody] = field(default_factory=list)
    has_attestations: bool = True
    head: Head | None = None

    @property
    def pubkey(self) -> str:
        return self.key.pubkey

    def refusal(self) -> str | None:
        return None if self.may_sign > 0 else "the test says no"

    def next_place(self) -> tuple[Link, int]:
        return next_link(self.head), self.second

    def is_stated(self, block: str) -> bool:
        return block in self.stated

    async def sign(self, unsigned: UnsignedEvent, *, block: str | None = None, archive: str | None = None) -> None:
        assert self.may_sign > 0, "signed while it may not"
        self.may_sign -= 1
        event = self.key.sign(unsigned)
        self.head = Head(next_link(self.head).seq, event.id)
        self.signed.append(event)
        self.named.append((block, archive))
        if block is not None:
            self.stated.add(block)
        if event.kind == STATUS and parse_status(event).status == VOID:
            self.stated.discard(self.fold.ledger.rewards[parse_status(event).statement].statement.reward.block)
        self.fold.add(event)
        self.fold.settle()

    def settings_of(self, _miner: str) -> None:
        return None

    async def settings_event(self, _settings: str) -> None:
        return None

    def attestations(self, _miners: Any, _days: range) -> list[Any]:
        return []

    def knows_attestations(self) -> bool:
        return self.has_attestations

    async def requested_archives(self) -> list[ArchiveBody]:
        return self.archives

    def of_kind(self, kind: int) -> list[VerifiedEvent]:
        return [event for event in self.signed if event.kind == kind]


OWN = ("statement", "status", "payout", "receipt")


def folded(story: LogBuilder, *without: str) -> Fold:
    """The story's log, with nothing in it that accounting or zapper signed."""
    fold = Fold(POOL)
    for event in story.all(*(name for name in story.events if name.startswith(OWN)), *without):
        fold.add(event)
    fold.settle()
    return fold


def block_name(story: LogBuilder, number: int) -> str:
    return str(story.bodies[f"statement {number}"].reward.block)


# Statements


async def test_every_block_is_split_once_as_the_log_has_it(story):
    desk = Desk(folded(story))
    issuer = Issuer(POOL, desk, Chain())
    await issuer.issue()
    await issuer.issue()
    made = [parse_statement(event) for event in desk.of_kind(STATEMENT)]
    wanted = {story.bodies[f"statement {n}"].reward.block: story.bodies[f"statement {n}"] for n in range(3)}
    assert sorted(each.reward.block for each in made) == sorted(wanted)
    assert [each.reward.found_ms for each in made] == sorted(each.reward.found_ms for each in made), "oldest first"
    for each in made:
        body = wanted[each.reward.block]
        assert (each.rows, each.fee_msat, each.window) == (body.rows, body.fee_msat, body.window)
        assert sum(row.msat for row in each.rows) + each.fee_msat == each.reward.gross_msat
    assert [block for block, _ in desk.named if block] == [each.reward_key for each in made]
    assert issuer.waiting == {}
    assert not desk.fold.violations


async def test_a_block_waits_until_every_lane_has_passed_it(story):
    last = [name for name in ("batch 1/5", "batch 0/5", "batch 1/4", "block 2") if name in story.events]
    desk = Desk(folded(story, *last))
    issuer = Issuer(POOL, desk, Chain())
    await issuer.issue()
    assert [parse_statement(event).reward.block for event in desk.of_kind(STATEMENT)] == [block_name(story, 0)]
    (waiting,) = issuer.waiting.items()
    assert waiting[0] == block_name(story, 1)
    assert "not yet past" in waiting[1]
    for name in last:
        desk.fold.add(story.events[name])
    desk.fold.settle()
    await issuer.issue()
    assert len(desk.of_kind(STATEMENT)) == 3
    assert issuer.waiting == {}


async def test_what_is_signed_and_not_read_yet_is_not_signed_again(story):
    desk = Desk(folded(story))
    desk.stated = {block_name(story, number) for number in (0, 2)}
    await Issuer(POOL, desk, Chain()).issue()
    assert [parse_statement(event).reward.block for event in desk.of_kind(STATEMENT)] == [block_name(story, 1)]


@pytest.mark.parametrize(
    ("pays_loyalty", "read", "waits"), [(True, False, True), (False, False, False), (True, True, False)]
)
async def test_bonuses_wait_until_the_attestations_were_read(story, monkeypatch, pays_loyalty, read, waits):
    monkeypatch.setattr(BlockSeen, "pays_loyalty", property(lambda _: pays_loyalty))
    desk = Desk(folded(story), has_attestations=read)
    desk.fold.log.statements.wanting = lambda *_: []
    desk.fold.log.statements.with_bonus = lambda body, *_: body
    issuer = Issuer(POOL, desk, Chain())
    await issuer.issue()
    assert len(desk.of_kind(STATEMENT)) == (0 if waits else 3)
    assert set(issuer.waiting.values()) == ({"the attestations are being read"} if waits else set())


def rounds(*without: str) -> tuple[OrdersLog, Desk]:
    """Three rounds of which nothing is stated."""
    log = tell_orders([("state", BLOCKS[0])])
    fold = Fold(POOL)
    for event in log.all("statement 0", *without):
        fold.add(event)
    fold.settle()
    return log, Desk(fold, second=log.t0 // 1000 + 200)


async def test_rounds_are_stated_in_their_order():
    """The first can't be made just now: those after it would count its work."""
    log, desk = rounds()
    first = log.bodies["block 0"].block
    real = desk.fold.log.expected
    desk.fold.log.expected = lambda block, *rest: (
        NotYet("not now") if block.block.block == first else real(block, *rest)
    )
    issuer = Issuer(POOL, desk, Chain())
    await issuer.issue()
    assert desk.signed == []
    assert set(issuer.waiting.values()) == {"not now", "an earlier round of its offer has no statement yet"}
    desk.fold.log.expected = real
    await issuer.issue()
    made = [parse_statement(event).reward.block for event in desk.of_kind(STATEMENT)]
    assert made == [log.bodies[name].block for name in BLOCKS]


@pytest.mark.parametrize("matured", [False, True])
async def test_a_round_announced_late_has_what_counted_it_taken_back(matured):
    """As long as that pends: what matured may be paid."""
    log, desk = rounds("block 0")
    chain = Chain()
    issuer = Issuer(POOL, desk, chain)
    await issuer.issue()
    second, third = desk.of_kind(STATEMENT)
    if matured:
        chain.tip = 300
        chain.depth = {log.bodies["block 1"].block: LIMITS.maturity_blocks}
        await issuer.issue()
    desk.fold.add(log.events["block 0"])
    desk.fold.settle()
    await issuer.issue()
    await issuer.issue()
    made = [parse_statement(event).reward.block for event in desk.of_kind(STATEMENT)]
    states = {name: desk.fold.ledger.rewards[event.id].state for name, event in (("second", second), ("third", third))}
    report = audit([*log.all("statement 0"), *desk.signed], [], POOL, now_ms=log.t0 + 500_000)
    found = {each.code for each in report.findings if each.grade != "not checked"}
    if matured:
        assert (len(made), states) == (2, {"second": MATURED, "third": "pending"})
        assert list(issuer.waiting) == [log.bodies["block 0"].block]
        return
    # The third held what the second had: it counts the same as before.
    assert made[2:] == [log.bodies["block 0"].block, log.bodies["block 1"].block]
    assert states == {"second": VOID, "third": "pending"}
    assert found == set()
    assert not desk.fold.violations


async def test_an_orphan_that_comes_back_has_what_counted_it_taken_back():
    log, desk = rounds("block 1", "block 2")
    chain = Chain()
    issuer = Issuer(POOL, desk, chain)
    await issuer.issue()
    (first,) = desk.of_kind(STATEMENT)
    names = [log.bodies[f"block {number}"].block for number in range(3)]
    # Off the chain for as long as it takes; then the next rounds are found, and the first of them counts its work.
    chain.tip, chain.depth = 10_000, {names[0]: -1}
    await issuer.issue()
    assert desk.fold.ledger.rewards[first.id].state == ORPHANED
    for number in (1, 2):
        desk.fold.add(log.events[f"block {number}"])
    desk.fold.settle()
    await issuer.issue()
    second = desk.of_kind(STATEMENT)[1]
    chain.tip, chain.depth = 10_001, {names[0]: LIMITS.maturity_blocks, names[1]: 1}
    await issuer.issue()
    states = {name: desk.fold.ledger.rewards[event.id].state for name, event in (("first", first), ("second", second))}
    assert states == {"first": MATURED, "second": VOID}
    await issuer.issue()
    made = [parse_statement(event).reward.block for event in desk.of_kind(STATEMENT)]
    # The third held what the second had: it counts the same as before.
    assert made == [*names, names[1]]
    told = [*log.all("statement 0"), *desk.signed]
    found = {
        each.code for each in audit(told, [], POOL, now_ms=log.t0 + 500_000).findings if each.grade != "not checked"
    }
    assert found == set()
    assert not desk.fold.violations


async def test_without_a_block_there_is_nothing_to_sign(builder):
    builder.terms(0, TERMS)
    desk = Desk(folded(builder))
    await Issuer(POOL, desk, Chain(tip=500)).issue()
    assert desk.signed == []


# Statuses


async def test_statuses_follow_the_chain_and_are_said_once(story):
    desk, chain = Desk(folded(story)), Chain()
    issuer = Issuer(POOL, desk, chain)
    await issuer.issue()
    first, second, third = (block_name(story, number) for number in range(3))
    chain.tip = 300
    chain.depth = {first: LIMITS.maturity_blocks, second: LIMITS.maturity_blocks - 1, third: -1}
    await issuer.issue()
    await issuer.issue()
    by_id = {event.id: parse_statement(event).reward.block for event in desk.of_kind(STATEMENT)}
    said = {by_id[parse_status(event).statement]: parse_status(event).status for event in desk.of_kind(STATUS)}
    assert said == {first: MATURED, third: ORPHANED}
    assert len(desk.of_kind(STATUS)) == 2
    asked = len(chain.asked)
    await issuer.issue()
    assert len(chain.asked) == asked, "nothing is asked while the tip stands"
    chain.tip, chain.depth[second] = 301, LIMITS.maturity_blocks
    await issuer.issue()
    assert len(desk.of_kind(STATUS)) == 3


async def test_a_walk_that_was_broken_off_is_taken_up_at_the_same_tip(story):
    desk, chain = Desk(folded(story)), Chain()
    issuer = Issuer(POOL, desk, chain)
    await issuer.issue()
    chain.tip, chain.depth = 300, {block_name(story, number): 150 for number in range(3)}
    desk.may_sign = 1
    await issuer.issue()
    assert len(desk.of_kind(STATUS)) == 1
    desk.may_sign = 10
    await issuer.issue()
    assert sorted(parse_status(event).status for event in desk.of_kind(STATUS)) == [MATURED] * 3


async def test_the_statuses_of_another_accounting_are_its_own(story):
    """Its chain is open: it answers for them itself."""
    terms = replace(TERMS, keys=tuple(sorted((*TERMS.keys, (KEYS.stranger.pubkey, "accounting")))))
    told = LogBuilder()
    told.terms(0, terms)
    fold = Fold(POOL)
    for event in story.all(*(name for name in story.events if name.startswith(("status", "payout", "receipt")))):
        fold.add(event)
    fold.settle()
    desk = Desk(fold, key=KEYS.stranger)
    chain = Chain(300, {block_name(story, number): 150 for number in range(3)})
    await Issuer(POOL, desk, chain).issue()
    assert desk.of_kind(STATUS) == []
    assert chain.asked == []


# Hours and archives


@dataclass
class Hours:
    """As much of a fold as hours and archives ask for: `due` hours are over. `closed`: keys whose chain has an end."""

    due: int = 0
    first_ms: int = T0 - T0 % HOUR_MS
    keys: tuple[tuple[str, str], ...] = TERMS.keys
    closed: frozenset[str] = frozenset()
    taken: int = 0
    log: Any = field(init=False)
    ledger: Any = field(init=False)

    def __post_init__(self) -> None:
        periods = SimpleNamespace(due_periods=lambda *_: ())
        ends = SimpleNamespace(end_of=lambda name: object() if name.partition("/")[0] in self.closed else None)
        self.log = SimpleNamespace(statements=periods, terms=ends)
        self.ledger = SimpleNamespace(rewards={})

    @property
    def terms(self) -> Any:
        return parse_terms(LogBuilder().terms(0, replace(TERMS, keys=self.keys)))

    def unsettled(self) -> list[Any]:
        return []

    def due_summary(self) -> SummaryBody | None:
        if self.taken >= self.due:
            return None
        from_ms = self.first_ms + self.taken * HOUR_MS
        return SummaryBody(from_ms, from_ms + HOUR_MS, {f"{KEYS.edge.pubkey}/0": Head(self.taken, "cd" * 32)}, ())

    def add(self, event: VerifiedEvent) -> None:
        self.taken += event.kind == SUMMARY

    def settle(self) -> None:
        pass


LATER_S = T0 // 1000 + 100 * HOUR_MS // 1000
MONEY = {"ms": T0, "owed_msat": 5, "pending_msat": 1, "funds_msat": 7, "held": {"lnd": 7}}


def told_funds(*answers: Any) -> Iterator[Any]:
    return iter(answers)


async def test_hours_that_are_over_are_summed_up_with_what_the_pool_has_then():
    answers = told_funds(MONEY, None)
    desk = Desk(Hours(due=2), second=LATER_S)
    await Issuer(POOL, desk, Chain(), lambda: next(answers)).issue()
    first, second = (parse_summary(event) for event in desk.of_kind(SUMMARY))
    assert (first.treasury, second.treasury) == (MONEY, None), "funds that nobody knows are not told"
    assert second.from_ms == first.to_ms


async def test_a_long_pause_is_caught_up_with_some_hours_at_a_time():
    desk = Desk(Hours(due=MAX_SUMMARIES + 3), second=LATER_S)
    issuer = Issuer(POOL, desk, Chain())
    await issuer.issue()
    assert len(desk.signed) == MAX_SUMMARIES
    await issuer.issue()
    assert len(desk.signed) == MAX_SUMMARIES + 3


async def test_an_hour_that_is_not_over_by_our_clock_waits():
    fold = Hours(due=1)
    over_s = (fold.first_ms + HOUR_MS) // 1000
    desk = Desk(fold, second=over_s - 1)
    issuer = Issuer(POOL, desk, Chain())
    await issuer.issue()
    assert desk.signed == []
    desk.second = over_s
    await issuer.issue()
    assert len(desk.signed) == 1


@pytest.mark.parametrize(
    ("closed", "first_signs"), [(frozenset(), True), (frozenset({"first"}), False)], ids=["both open", "first closed"]
)
async def test_of_several_accountings_the_first_that_is_open_sums_up(closed, first_signs):
    first, second = sorted((KEYS.accounting, KEYS.stranger), key=lambda key: key.pubkey)
    keys = ((first.pubkey, "accounting"), (second.pubkey, "accounting"), (KEYS.edge.pubkey, "edge"))
    ended = frozenset({first.pubkey}) if closed else frozenset()
    for key, signs in ((first, first_signs), (second, not first_signs)):
        desk = Desk(Hours(due=1, keys=keys, closed=ended), key=key, second=LATER_S)
        await Issuer(POOL, desk, Chain()).issue()
        assert bool(desk.signed) is signs


async def test_refused_amid_it_all_stops_before_the_next_event():
    desk = Desk(Hours(due=5), second=LATER_S, may_sign=2)
    await Issuer(POOL, desk, Chain()).issue()
    assert len(desk.signed) == 2


async def test_archives_are_announced_by_their_contents():
    bodies = [
        ArchiveBody(
            from_s=86_400 * n,
            to_s=86_400 * (n + 1),
            events=3,
            stream=Digest(f"{n}a" * 32, 10),
            file=Digest(f"{n}b" * 32, 5),
            heads={},
            urls=(f"https://pool.example.com/{n}.jsonl.gz",),
        )
        for n in (1, 2)
    ]
    desk = Desk(Hours(), second=LATER_S, archives=bodies)
    await Issuer(POOL, desk, Chain()).issue()
    assert [parse_archive(event).stream for event in desk.of_kind(ARCHIVE)] == [body.stream for body in bodies]
    assert [archive for _, archive in desk.named] == [body.stream.sha256 for body in bodies]
    refused = Desk(Hours(), second=LATER_S, archives=bodies, may_sign=1)
    await Issuer(POOL, refused, Chain()).issue()
    assert len(refused.signed) == 1
