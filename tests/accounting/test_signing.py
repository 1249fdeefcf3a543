"""Our own chain: taken up from the disk, gone on with only when it is safe, and whole after whatever was lost."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import ownchain
from accounting.adapters.database import StoreError
from accounting.signing import OwnChain
from nips.keys import AtHand
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.chain import FIRST, Head, Link, next_link
from nips.pool.kinds import STATEMENT, STATUS
from nips.pool.statement import VOID, build_statement, build_status, parse_statement
from nips.pool.terms import parse_terms
from tests.accounting.conftest import KEYS, POOL, TERMS, LogBuilder

pytestmark = pytest.mark.anyio
KEY = KEYS.accounting


@dataclass
class Disk:
    """A `ChainStore` in memory. `refuses`: it takes nothing."""

    own: list[tuple[VerifiedEvent, str | None, bool]] = field(default_factory=list)
    void: set[str] = field(default_factory=set)
    refuses: bool = False

    async def head(self):
        return None if not self.own else (Head(len(self.own) - 1, self.own[-1][0].id), self.own[-1][0].created_at)

    async def chain(self):
        return {seq: event.id for seq, (event, _, _) in enumerate(self.own)}

    async def stated(self):
        return {block for event, block, _ in self.own if block is not None and event.id not in self.void}

    async def of_kind(self, kind):
        return [event for event, _, _ in self.own if event.kind == kind]

    async def add_own(self, event, *, block=None, voids=None, archive=None, published=False):
        assert archive is None
        if self.refuses:
            raise StoreError("ledger.sqlite", "the disk is full")
        self.own.append((event, block, published))
        if voids is not None:
            self.void.add(voids)


def own():
    return OwnChain(AtHand(KEY), POOL)


async def loaded(disk):
    chain = own()
    await chain.load(disk)
    return chain


def statuses(count, since=1000):
    """So many events of our chain."""
    events, head = [], None
    for number in range(count):
        link = next_link(head)
        events.append(KEY.sign(build_status(POOL, link, f"{number:064x}", "matured", since + number)))
        head = Head(link.seq, events[-1].id)
    return events


def statement(story, head, second=5000):
    """The story's first statement, signed as the next of a chain."""
    body = story.bodies["statement 0"]
    return KEY.sign(build_statement(POOL, next_link(head), body, second, story.events["block 0"].id))


def books(closed=None, role="accounting", head=None):
    """What is asked of a fold: the terms in force, in which our key has `role`, and our chain as it was read."""
    keys = ((KEYS.edge.pubkey, "edge"), (KEY.pubkey, role), (KEYS.zapper.pubkey, "zapper"))
    terms = parse_terms(LogBuilder().terms(0, replace(TERMS, keys=keys, closed=closed or {})))
    read = {} if head is None else {KEY.pubkey: SimpleNamespace(head=head)}
    return SimpleNamespace(terms=terms, log=SimpleNamespace(accounting=read))


# Taking up and going on


async def test_a_new_file_begins_the_chain():
    chain = await loaded(Disk())
    assert (chain.head, chain.next_seq, chain.stated) == (None, 0, set())
    assert chain.next_place(7_999) == (FIRST, 7)


async def test_what_was_committed_is_taken_up(story):
    disk = Disk()
    first = statement(story, None)
    reward = parse_statement(first).reward_key
    chain = await loaded(disk)
    await chain.append(disk, first, block=reward)
    again = await loaded(disk)
    for each in (chain, again):
        assert each.head == Head(0, first.id)
        assert each.stated == {reward}
        assert each.next_place(0) == (Link(1, first.id), 5000), "dates never fall, whatever the clock says"
        assert each.next_place(6_000_000) == (Link(1, first.id), 6000)


async def test_what_we_take_back_gives_its_reward_free(story):
    """At once, and after a restart: else it would never be stated again."""
    disk = Disk()
    chain = await loaded(disk)
    first = statement(story, None)
    reward = parse_statement(first).reward_key
    await chain.append(disk, first, block=reward)
    back = KEY.sign(build_status(POOL, Link(1, first.id), first.id, VOID, 6000))
    await chain.append(disk, back)
    assert chain.stated == (await loaded(disk)).stated == set()
    await chain.append(disk, statement(story, Head(1, back.id), 7000), block=reward)
    assert chain.stated == {reward}


async def test_what_the_disk_refuses_is_no_event_of_the_chain():
    disk = Disk(refuses=True)
    chain = await loaded(disk)
    with pytest.raises(StoreError):
        await chain.append(disk, statuses(1)[0], block="aa" * 32)
    assert (chain.head, chain.stated) == (None, set())
    disk.refuses = False
    assert (await loaded(disk)).head is None


# May it sign?


async def test_nothing_is_signed_before_the_relays_were_asked():
    chain = await loaded(Disk())
    assert "not yet asked" in str(chain.refusal(books()))
    chain.recovered = True
    assert chain.refusal(books()) is None


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"role": "edge"}, "no accounting key"),
        ({"closed": {f"{KEY.pubkey}/accounting": Head(0, "aa" * 32)}}, "closed our chain"),
        ({"head": Head(3, "ee" * 32)}, "waits for events it names"),
    ],
)
async def test_terms_and_what_was_read_must_let_us(how, why):
    chain = await loaded(Disk())
    chain.recovered = True
    assert why in str(chain.refusal(books(**how)))
    chain.forked = "our chain forks at a and b"
    assert chain.refusal(books(**how)) == chain.forked, "a fork before all else"


async def test_what_is_committed_must_have_been_read_too():
    disk, (event,) = Disk(), statuses(1)
    chain = await loaded(disk)
    chain.recovered = True
    await chain.append(disk, event)
    assert "waits" in str(chain.refusal(books()))
    assert chain.refusal(books(head=Head(0, event.id))) is None


async def test_without_terms_nothing_is_signed():
    chain = await loaded(Disk())
    chain.recovered = True
    assert chain.refusal(SimpleNamespace(terms=None, log=SimpleNamespace(accounting={}))) == ownchain.refusal(None, "")


async def test_an_event_of_our_chain_that_we_did_not_sign_is_foreign():
    disk, (first, second) = Disk(), statuses(2)
    chain = await loaded(disk)
    assert not chain.is_foreign(second), "it may be ours, of before the file was lost"
    await chain.adopt(disk, [first])
    assert chain.recovered
    assert not chain.is_foreign(first)
    assert chain.is_foreign(second)
    stranger = KEYS.stranger.sign(build_status(POOL, FIRST, "00" * 32, "matured", 1000))
    assert not chain.is_foreign(stranger), "another key's chain is its own"
    assert not chain.is_foreign(KEY.sign(UnsignedEvent(1, 1000, (POOL.tag(),), "a note")))


# What was lost


async def test_what_the_relays_have_and_we_lack_is_taken_over():
    disk, events = Disk(), statuses(4)
    chain = await loaded(disk)
    await chain.append(disk, events[0])
    strange = KEYS.stranger.sign(build_status(POOL, FIRST, "00" * 32, "matured", 1000))
    adoption = await chain.adopt(disk, [events[3], strange, events[1], events[2], events[0]])
    assert adoption == (tuple(events[1:]), None, False)
    assert (chain.head, chain.recovered, chain.forked) == (Head(3, events[3].id), True, None)
    assert [published for _, _, published in disk.own] == [False, True, True, True], "they need not be sent"


async def test_a_gap_is_waited_for():
    disk, events = Disk(), statuses(4)
    chain = await loaded(disk)
    await chain.adopt(disk, [events[0], events[2], events[3]])
    assert (chain.head, chain.recovered) == (Head(0, events[0].id), False)
    await chain.adopt(disk, events)
    assert (chain.head, chain.recovered) == (Head(3, events[3].id), True)


async def test_another_branch_stops_us_until_a_person_looks():
    disk, (first, _) = Disk(), statuses(2)
    chain = await loaded(disk)
    await chain.append(disk, first)
    other = KEY.sign(build_status(POOL, FIRST, "ee" * 32, "matured", 2000))
    await chain.adopt(disk, [other])
    assert chain.forked == f"our chain forks at {first.id} and {other.id}"
    assert chain.head == Head(0, first.id)


async def test_a_second_statement_of_one_reward_keeps_its_place_and_not_the_name(story):
    first = statement(story, None)
    second = statement(story, Head(0, first.id), 6000)
    disk = Disk()
    chain = await loaded(disk)
    await chain.adopt(disk, [first, second])
    reward = parse_statement(first).reward_key
    assert [(event.id, block) for event, block, _ in disk.own] == [(first.id, reward), (second.id, None)]
    assert chain.stated == {reward}


async def test_a_reward_that_was_taken_back_may_be_stated_again(story):
    first = statement(story, None)
    gone = KEY.sign(build_status(POOL, next_link(Head(0, first.id)), first.id, VOID, 6000))
    again = statement(story, Head(1, gone.id), 7000)
    disk, reward = Disk(), parse_statement(first).reward_key
    chain = await loaded(disk)
    await chain.adopt(disk, [first, gone])
    assert chain.stated == set()
    await chain.adopt(disk, [again])
    assert [block for _, block, _ in disk.own] == [reward, None, reward]
    assert chain.stated == {reward}
    assert [event.kind for event, _, _ in disk.own] == [STATEMENT, STATUS, STATEMENT]


EVENTS = statuses(6)


@given(st.integers(0, 6), st.lists(st.sampled_from(range(6)), max_size=12))
def test_the_chain_is_always_whole_from_its_beginning(kept, found):
    """Whatever of it the file and the relays have: never a hole, and recovered only when nothing lacks between."""

    async def run():
        disk = Disk([(event, None, True) for event in EVENTS[:kept]])
        chain = await loaded(disk)
        await chain.adopt(disk, [EVENTS[number] for number in found])
        ids = [event.id for event, _, _ in disk.own]
        assert ids == [event.id for event in EVENTS[: len(ids)]]
        assert chain.next_seq == len(ids) >= kept
        assert chain.forked is None
        beyond = {number for number in found if number >= len(ids)}
        assert chain.recovered is (not beyond)
        assert (await loaded(disk)).head == chain.head

    anyio.run(run)
