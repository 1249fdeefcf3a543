"""What the pool posts: the words, whom they name, and that the same facts give the same note."""

import hashlib
from dataclasses import replace

import pytest

from nips.keys import SecretKey
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from noncestr.citizen.facts import BestShare, BlockFacts, DayFacts
from noncestr.citizen.notes import (
    BLOCK_PLACES,
    DAY_PLACES,
    MAX_NAMED,
    NoteStyle,
    block_note,
    block_subject,
    day_note,
    day_subject,
    subjects_of,
    template_problem,
)

ONE = 0xFFFF << 208


def key(name: str) -> SecretKey:
    return SecretKey(hashlib.sha256(f"noncestr test key {name}".encode()).digest())


POOL, ALICE, BOB = key("pool"), key("alice"), key("bob")
MAIN = PoolAddress(POOL.pubkey, "main")
STYLE = NoteStyle("Example Pool")
BLOCK = BlockFacts(
    event="ab" * 32,
    block=f"{ONE // 86_400_000_000_000:064x}",
    height=840_000,
    finder=ALICE.pubkey,
    found_ms=1_767_225_600_999,
    gross_msat=312_500_000_000,
    target=ONE // 83_100_000_000_000,
)
DAY = DayFacts(
    date="2026-01-05",
    end_ms=1_767_657_600_000,
    blocks=(BLOCK, replace(BLOCK, height=840_017, finder=BOB.pubkey)),
    work=86_400 * 10**15,
    mined_ms=86_400_000,
    miners=14,
    best=BestShare(ONE // 86_400_000_000_000, ALICE.pubkey),
    paid_msat=1_234_567_890,
    payees=12,
)


def test_a_blocks_note_names_finder_height_difficulty_reward_and_luck() -> None:
    note = block_note(MAIN, BLOCK, BLOCK.expected * 42 // 100 + 1, STYLE)
    assert note.content == (
        f"⛏️ Block 840,000 found by nostr:{encode_npub(ALICE.pubkey)}\n"
        f"{BLOCK.block}\n"
        "worth 312,500,000 sat; its difficulty is 86.4T where 83.1T was needed\n"
        "it took 42 % of the average work: lucky, one block in three comes this early"
    )
    assert (note.kind, note.created_at) == (1, BLOCK.found_ms // 1000)
    assert note.tags == (MAIN.tag(), ("q", BLOCK.event), ("block", BLOCK.block), ("p", ALICE.pubkey), ("t", "bitcoin"))


def test_the_same_block_gives_the_same_note() -> None:
    first, second = (POOL.sign(block_note(MAIN, BLOCK, 5, STYLE)) for _ in range(2))
    assert first.id == second.id
    assert subjects_of(first) == [block_subject(BLOCK.block)]
    assert subjects_of(POOL.sign(day_note(MAIN, DAY, STYLE))) == [day_subject(DAY.date)]


def test_what_nobody_knows_is_left_out() -> None:
    text = block_note(MAIN, BLOCK, None, STYLE).content
    assert "average" not in text
    assert "None" not in text


def test_coins_for_play_are_called_so() -> None:
    note = block_note(PoolAddress(POOL.pubkey, "regtest"), BLOCK, None, STYLE)
    assert "Block 840,000 on regtest (coins for play) found by" in note.content
    assert ("t", "regtest") in note.tags
    assert ("t", "bitcoin") not in note.tags


def test_finders_may_stay_unnamed() -> None:
    style = replace(STYLE, name_finders=False)
    for note in (block_note(MAIN, BLOCK, None, style), day_note(MAIN, DAY, style)):
        assert "npub" not in note.content
        assert not any(tag[0] == "p" for tag in note.tags)


def test_a_days_note_tells_blocks_hashrate_best_share_and_payouts() -> None:
    note = day_note(MAIN, DAY, STYLE)
    alice, bob = encode_npub(ALICE.pubkey), encode_npub(BOB.pubkey)
    assert note.content == (
        "📅 Example Pool on 2026-01-05\n"
        f"2 blocks (840,000 and 840,017) found by nostr:{alice} and nostr:{bob}\n"
        "1.00 PH/s on average by 14 miners\n"
        f"hardest share: 86.4T by nostr:{alice}\n"
        "paid out: 1,234,567 sat to 12 miners"
    )
    assert note.created_at == DAY.end_ms // 1000
    assert ("day", "2026-01-05") in note.tags
    assert [tag[1] for tag in note.tags if tag[0] == "p"] == [ALICE.pubkey, BOB.pubkey]


def test_a_day_without_a_block_is_told_kindly() -> None:
    quiet = replace(DAY, blocks=(), best=None, paid_msat=0, payees=0)
    text = day_note(MAIN, quiet, STYLE).content
    assert "no block" in text
    assert "paid" not in text
    assert "hardest" not in text
    assert not quiet.is_empty
    assert replace(quiet, work=0).is_empty


def test_a_day_of_many_blocks_names_some() -> None:
    finders = [key(f"finder {n}").pubkey for n in range(9)]
    blocks = tuple(replace(BLOCK, height=n + 1, finder=finder) for n, finder in enumerate(finders))
    note = day_note(MAIN, replace(DAY, blocks=blocks), STYLE)
    assert "(1, 2, 3, 4, 5 and 4 more)" in note.content
    assert sum(tag[0] == "p" for tag in note.tags) == MAX_NAMED + 1


def test_operators_write_in_their_own_words() -> None:
    style = replace(STYLE, block="{pool}: {height} {luck}!", day="{date}: {blocks}, {paid}")
    assert block_note(MAIN, BLOCK, None, style).content == "Example Pool: 840,000 !"
    assert day_note(MAIN, DAY, style).content == "2026-01-05: 2 blocks, 1,234,567 sat"


def test_a_template_with_all_places_is_filled() -> None:
    style = NoteStyle(
        "{pool}",
        block=" ".join(f"{{{place}}}" for place in sorted(BLOCK_PLACES)),
        day=" ".join(f"{{{place}}}" for place in sorted(DAY_PLACES)),
    )
    # A name with brackets is text and no place.
    assert "{pool}" in block_note(MAIN, BLOCK, 5, style).content
    assert "{pool}" in day_note(MAIN, DAY, style).content


@pytest.mark.parametrize(
    "template", ["{", "{finder", "{nonsense}", "{finder.__class__}", "{height:>9}", "{block!r}", "{}"]
)
def test_a_bad_template_is_refused(template: str) -> None:
    assert template_problem(template, BLOCK_PLACES)


def test_a_good_template_has_no_problem() -> None:
    assert template_problem("plain {{text}} {height}", BLOCK_PLACES) is None
