"""The lists of the books over a told log: whole and in order whatever the pages, with what the log says of each."""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.book_pages import FOUND, BookPages, block_bits
from accounting.fold import Fold
from accounting.paging import Place
from accounting.schemes.estimates import effort_ppm, luck_ppm
from nips.nip19 import encode_npub
from nips.pool.hashing import display, sha256d
from nips.pool.receipt import parse_receipt
from nips.pool.terms import Limits
from tests.accounting.conftest import BLOCK_BITS, HARD_BITS, KEYS, LIMITS, POOL, LogBuilder, tell_story

pytestmark = pytest.mark.anyio
STORY = tell_story()
ALICE, BOB = KEYS.alice.pubkey, KEYS.bob.pubkey


@dataclass
class Told:
    """As much of a running accounting as is asked for; of its stored books the rewards of each miner."""

    fold: Fold
    tip: int = 0
    forgotten: set[str] = field(default_factory=set)
    chain: Any = field(init=False)

    def __post_init__(self) -> None:
        self.chain = self

    def height(self) -> int:
        return self.tip

    async def rewards_of(self, miner: str, before: tuple[int, str] | None, limit: int) -> list[str]:
        booked = self.fold.ledger.rewards_of(miner)
        places = sorted(((each.statement.reward.found_ms, each.statement.id) for each in booked), reverse=True)
        return [name for ms, name in places if before is None or (ms, name) < before][:limit] + sorted(self.forgotten)


def folded(*without: str, story: LogBuilder = STORY) -> Fold:
    fold = Fold(POOL)
    for event in story.all(*without):
        fold.add(event)
    fold.settle()
    return fold


def pages_of(fold: Fold, tip: int = 0) -> BookPages:
    told = Told(fold, tip)
    return BookPages(told, told, deque())  # type: ignore[arg-type] - as much of it as is asked for


# Folding hashes every share: done once. Nothing here changes it.
FOLD = folded()


@pytest.fixture
def fold() -> Fold:
    return FOLD


@pytest.fixture
def pages(fold: Fold) -> BookPages:
    return pages_of(fold)


def block_of(number: int) -> Any:
    return STORY.bodies[f"block {number}"]


def found_ms(number: int) -> int:
    return int(STORY.bodies[f"statement {number}"].reward.found_ms)


def work_ended(after_ms: int, until_ms: int) -> int:
    """The work of the story's batches by a naive reading."""
    receipts = [parse_receipt(event) for name, event in STORY.events.items() if name.startswith("batch ")]
    return sum(receipt.work for receipt in receipts if after_ms < receipt.to_ms <= until_ms)


def test_all_is_counted(pages: BookPages) -> None:
    payouts = sum(name.startswith("payout ") for name in STORY.events)
    assert pages.counts() == (3, payouts)


def test_blocks_come_from_the_highest_down_with_what_became_of_them(pages: BookPages) -> None:
    items = pages.blocks(None, 10).items
    places = [(item["height"], item["block"]) for item in items]
    assert places == sorted(places, reverse=True)
    assert {item["block"] for item in items} == {display(sha256d(block_of(n).header)) for n in range(3)}
    status = {item["statement"]: item["status"] for item in items}
    ids = [STORY.events[f"statement {number}"].id for number in range(3)]
    assert [status[name] for name in ids] == ["matured", "matured", "orphaned"]
    for item in items:
        number = ids.index(item["statement"])
        assert (item["finder"], item["finder_npub"]) == (block_of(number).finder, encode_npub(block_of(number).finder))
        assert (item["event"], item["found_ms"]) == (STORY.events[f"block {number}"].id, found_ms(number))
        orphaned = item["status"] == "orphaned"
        assert item["matures_at_height"] == (None if orphaned else item["height"] + LIMITS.maturity_blocks - 1)
        assert item["blocks_to_maturity"] == 0


def test_effort_and_luck_are_of_the_work_since_the_block_below(pages: BookPages) -> None:
    items = pages.blocks(None, 10).items
    begun = [*(item["found_ms"] for item in items[1:]), 0]
    for item, since in zip(items, begun, strict=True):
        if item["found_ms"] <= since:
            assert item["effort_ppm"] == 0, "found before the one below it"
            continue
        effort = effort_ppm([(work_ended(since, item["found_ms"]), BLOCK_BITS)])
        assert (item["effort_ppm"], item["luck_ppm"]) == (effort, luck_ppm(1, effort))


def test_effort_is_not_told_before_it_is_added_up(fold: Fold) -> None:
    pages = pages_of(fold)
    rounds = pages.rounds()
    rounds.spend(0)
    pages.rounds = lambda: rounds  # type: ignore[method-assign] - nothing more to spend
    assert pages.efforts(pages.newest_blocks(1), None) == [None]


@pytest.mark.parametrize(("tip", "left"), [(0, 200), (101, 99), (199, 1), (200, 0), (10_000, 0)])
def test_a_block_that_no_statement_splits_waits_too(tip: int, left: int) -> None:
    without = [name for name in STORY.events if name.startswith(("statement", "status", "payout", "receipt"))]
    lowest = pages_of(folded(*without), tip).blocks(None, 10).items[-1]
    assert (lowest["status"], lowest["statement"], lowest["height"]) == (FOUND, None, 101)
    assert lowest["matures_at_height"] == 101 + LIMITS.maturity_blocks - 1 == 200
    assert lowest["blocks_to_maturity"] == left


def test_what_a_block_must_meet_is_the_harder_of_the_two(fold: Fold) -> None:
    job = next(iter(fold.blocks.values())).job
    assert block_bits(job, LIMITS) == BLOCK_BITS
    assert block_bits(job, Limits()) == job.nbits
    hard = replace(job, nbits=HARD_BITS)
    assert block_bits(replace(hard, nbits=0x1D00FFFF), LIMITS) == 0x1D00FFFF


@given(st.integers(1, 4))
def test_pages_joined_are_the_list(limit: int) -> None:
    pages = pages_of(FOLD)
    for ask in (pages.blocks, pages.statements, pages.rewards, pages.payouts):
        whole, joined, place = ask(None, 100), [], None
        while True:
            page = ask(place, limit)
            assert len(page.items) <= limit
            joined += page.items
            place = page.next
            if place is None:
                break
        assert joined == whole.items
        assert whole.next is None
        assert ask(Place(-1, ""), limit).items == []


def test_every_payout_is_its_miners(pages: BookPages) -> None:
    whole = pages.payouts(None, 100).items
    mine = [item for miner in (ALICE, BOB) for item in pages.payouts_of(miner, None, 100).items]
    assert sorted(item["event"] for item in mine) == sorted(item["event"] for item in whole)
    assert {(item["pubkey"], item["npub"]) for item in whole} == {(key, encode_npub(key)) for key in (ALICE, BOB)}
    assert pages.payouts_of("ab" * 32, None, 5).items == []
    first = pages.payouts_of(BOB, None, 1)
    assert first.next is not None
    assert first.items + pages.payouts_of(BOB, first.next, 10).items == pages.payouts_of(BOB, None, 10).items
    for item in whole:
        assert item["created_ms"] % 1000 == 0
        assert item["amount_msat"] > 0


async def test_a_miners_rewards_are_its_rows(fold: Fold, pages: BookPages) -> None:
    for miner in (ALICE, BOB):
        items = (await pages.rewards_of(miner, None, 10)).items
        assert [item["found_ms"] for item in items] == sorted((item["found_ms"] for item in items), reverse=True)
        for item in items:
            body = next(
                b for n in range(3) if (b := STORY.bodies[f"statement {n}"]).reward.found_ms == item["found_ms"]
            )
            (row,) = (row for row in body.rows if row.miner == miner)
            assert (item["miner_msat"], item["miner_work"]) == (row.msat, str(row.work))
            assert item["miners_msat"] + item["fee_msat"] == item["gross_msat"] == body.reward.gross_msat
            assert item["miners"] == len(body.rows)
    first = await pages.rewards_of(BOB, None, 1)
    assert first.next is not None
    rest = await pages.rewards_of(BOB, first.next, 10)
    assert first.items + rest.items == (await pages.rewards_of(BOB, None, 10)).items
    assert (await pages.rewards_of("ab" * 32, None, 5)) == ([], None)


async def test_what_the_file_knows_and_the_fold_does_not_yet_is_left_out(fold: Fold) -> None:
    told = Told(fold, forgotten={"ee" * 32})
    pages = BookPages(told, told, deque())  # type: ignore[arg-type] - as much of it as is asked for
    found = await pages.rewards_of(ALICE, None, 10)
    assert {item["statement"] for item in found.items} == {each.statement.id for each in fold.ledger.rewards_of(ALICE)}


def test_a_statement_is_found_by_number_and_id(pages: BookPages) -> None:
    for number in range(3):
        event, body = STORY.events[f"statement {number}"], STORY.bodies[f"statement {number}"]
        found = pages.statement(event.id)
        assert found is not None
        assert found == pages.statement(str(found["seq"]))
        assert (found["event"], found["signer"], found["terms"]) == (event.id, KEYS.accounting.pubkey, body.terms)
        split = [(row["pubkey"], row["msat"], row["work"]) for row in found["split"]]
        assert split == [(row.miner, row.msat, str(row.work)) for row in body.rows]
        assert found["heads"] == {lane: [head.seq, head.id] for lane, head in body.window.heads.items()}
        assert sum(row["msat"] for row in found["split"]) + found["fee_msat"] == found["gross_msat"]


@pytest.mark.parametrize("name", ["99", "-1", "1.0", "", "ab" * 32, "²", "x"])
def test_what_names_no_statement(pages: BookPages, name: str) -> None:
    assert pages.statement(name) is None


def test_a_number_of_a_status_is_no_statements(pages: BookPages) -> None:
    taken = {item["seq"] for item in pages.statements(None, 10).items}
    status = next(number for number in range(6) if number not in taken)
    assert pages.statement(str(status)) is None


def test_books_folded_anew_are_listed_anew() -> None:
    told = Told(folded(*(name for name in STORY.events if name.startswith(("payout", "receipt")))))
    pages = BookPages(told, told, deque())  # type: ignore[arg-type] - as much of it as is asked for
    assert pages.payouts(None, 10).items == []
    before = pages.rounds()
    told.fold = folded()
    assert len(pages.payouts(None, 10).items) == pages.counts()[1] > 0
    assert pages.rounds() is not before
