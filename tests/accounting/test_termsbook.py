"""Terms as a chain, and what follows from them."""

from dataclasses import replace
from typing import Any

import pytest

from accounting.chains import Chain
from accounting.termsbook import TermsBook
from nips.pool.chain import Head
from nips.pool.terms import NEVER, parse_terms


@pytest.fixture
def book(story: Any) -> TermsBook:
    """The story's two terms adopted."""
    made = TermsBook(Chain(f"{story.pool.pubkey}/terms", lambda _: None))
    for label in ("terms 1", "terms 0"):
        made.chain.put(parse_terms(story.events[label]))
    while (terms := made.chain.peek()) is not None:
        made.adopt(terms)
    return made


def test_the_newest_terms_are_in_force_and_say_when_the_old_ended(book: TermsBook, story: Any) -> None:
    first, second = story.events["terms 0"], story.events["terms 1"]
    newest = book.newest()
    assert newest is not None
    assert newest.id == second.id
    assert list(book.by_id) == [first.id, second.id]
    assert book.replaced_ms == {first.id: second.created_at * 1000}


def test_terms_at_a_time(book: TermsBook, story: Any) -> None:
    for ms, label in ((0, "terms 0"), (story.t0 + 39_999, "terms 0"), (story.t0 + 40_000, "terms 1")):
        terms = book.at(ms)
        assert terms is not None
        assert terms.id == story.events[label].id


def test_roles(book: TermsBook, story: Any) -> None:
    assert book.roles_of(story.keys.edge.pubkey) == ["edge"]
    assert book.roles_of(story.pool.pubkey) == ["pool"]
    assert book.roles_of(story.keys.stranger.pubkey) == []
    assert len(book.all_keys()) == 4


def test_a_chain_that_was_ended_stays_so(book: TermsBook, story: Any) -> None:
    terms = parse_terms(story.events["terms 1"])
    for seq, closed, ended in (
        (2, {"k/0": Head(5, "e5"), "k/1": Head(1, "e1")}, ["k/0", "k/1"]),
        (3, {"k/0": Head(6, "e6")}, []),
        (4, {}, []),
        (5, {"k/0": Head(4, "e4")}, ["k/0"]),
    ):
        link = replace_link(terms.link, seq)
        later = replace(terms, id=f"t{seq}", link=link, body=replace(terms.body, closed=closed))
        before = dict(book.closed)
        book.adopt(later)
        assert [name for name, end in sorted(book.closed.items()) if before.get(name) != end] == ended
    assert book.closed == {"k/0": Head(4, "e4"), "k/1": Head(1, "e1")}


def replace_link(link: Any, seq: int) -> Any:
    return link._replace(seq=seq, prev=f"t{seq - 1}")


def test_every_other_chain_of_a_key_ends_before_it_began(book: TermsBook, story: Any) -> None:
    terms = parse_terms(story.events["terms 1"])
    edge = story.keys.edge.pubkey
    closed = {f"{edge}/0": Head(4, "e4"), f"{edge}/*": NEVER, "zapper/payouts": NEVER}
    body = replace(terms.body, closed=closed, keys=terms.body.keys[1:])
    book.adopt(replace(terms, id="t2", link=replace_link(terms.link, 2), body=body))
    assert book.end_of(f"{edge}/0") == Head(4, "e4")
    assert book.end_of(f"{edge}/7") == book.end_of("zapper/payouts") == NEVER
    assert book.end_of("other/0") is None
    assert book.is_left_out(edge)
    assert not book.is_left_out(story.keys.accounting.pubkey)
    # What was ended stays so: later terms can't open lane 7 up to some event.
    later = replace(body, closed={f"{edge}/7": Head(9, "e9")})
    book.adopt(replace(terms, id="t3", link=replace_link(terms.link, 3), body=later))
    assert book.end_of(f"{edge}/7") == NEVER
