"""Which statement stands, what was paid, and whether it was owed."""

from typing import Any

from accounting.books import CLOCKS_APART_S, Books
from accounting.findings import Code
from nips.pool.address import PoolAddress
from nips.pool.chain import Head, Link
from nips.pool.payout import Payout
from nips.pool.statement import BlockReward, RewardStatus, Row, Statement, Window

POOL = PoolAddress("00" * 32, "regtest")
LINK = Link(0, None)


def statement(name: str, block: str = "b", **rows: int) -> Statement:
    return Statement(
        reward=BlockReward(block, 1, 0, sum(rows.values())),
        terms="t",
        offer="main",
        window=Window(0, 0, {"e/0": Head(0, "x")}),
        fee_msat=0,
        rows=tuple(Row(miner, 1, msat) for miner, msat in sorted(rows.items())),
        id=name,
        signer="s",
        pool=POOL,
        link=LINK,
        created_at=0,
    )


def status(of: str, said: str, at: int) -> RewardStatus:
    return RewardStatus(f"{of} {said} {at}", "s", POOL, LINK, at, of, said)


def payout(name: str, miner: str, msat: int, at: int, **fields: Any) -> Payout:
    return Payout(
        payout_id=name,
        miner=miner,
        amount_msat=msat,
        network_fee_msat=fields.pop("fee", 0),
        to="",
        method="zap",
        proof={},
        id=f"payout {name} {at}",
        signer="z",
        pool=POOL,
        link=LINK,
        created_at=at,
        **fields,
    )


def codes(found: Any) -> list[Code]:
    return [each.code for each in found]


def test_one_reward_has_one_statement_that_stands() -> None:
    books = Books()
    assert codes(books.add_statement(statement("one", a=5))) == []
    assert codes(books.add_statement(statement("two", a=5))) == [Code.REWARD_TWICE]
    assert codes(books.add_status(status("one", "void", 1))) == []
    assert codes(books.add_status(status("two", "void", 1))) == []
    assert books.standing("b") is None
    assert codes(books.add_statement(statement("three", a=5))) == []
    assert codes(books.add_statement(statement("other", "c", a=5))) == []


def test_statuses_follow_each_other() -> None:
    books = Books()
    list(books.add_statement(statement("one", a=5)))
    assert codes(books.add_status(status("one", "matured", 1))) == []
    assert codes(books.add_status(status("one", "matured", 2))) == [Code.STATUS_ORDER]
    assert (books.matured_msat(), books.pending_msat()) == ({"a": 5}, {})
    assert codes(books.add_status(status("one", "orphaned", 3))) == []
    assert (books.matured_msat(), books.pending_msat()) == ({}, {})
    assert codes(books.add_status(status("one", "void", 4))) == []
    assert codes(books.add_status(status("one", "matured", 5))) == [Code.STATUS_ORDER]


def matured(**rows: int) -> Books:
    books = Books()
    list(books.add_statement(statement("one", **rows)))
    list(books.add_status(status("one", "matured", 10 + CLOCKS_APART_S)))
    return books


def pay(books: Books, paid: Payout, *serves: str, bears: bool = False) -> list[Code]:
    return codes(books.add_payout(paid, serves, miner_bears_fee=bears))


def test_paid_within_what_matured_by_then() -> None:
    books = matured(a=5, b=7)
    pay(books, payout("1", "a", 5, 10))
    pay(books, payout("2", "b", 7, 11))
    assert list(books.overpaid()) == []
    assert books.paid_msat() == {"a": 5, "b": 7}


def test_a_reward_that_goes_to_and_fro_counts_once() -> None:
    books = matured(a=5)
    list(books.add_status(status("one", "orphaned", 11 + CLOCKS_APART_S)))
    list(books.add_status(status("one", "matured", 12 + CLOCKS_APART_S)))
    pay(books, payout("1", "a", 6, 13))
    assert [each.code for each in books.overpaid()] == [Code.OVERPAID]


def test_paid_too_much_too_early_or_with_a_fee_on_top() -> None:
    for wrong, bears in (
        (payout("1", "a", 6, 10), False),
        (payout("1", "a", 5, 9), False),
        (payout("1", "a", 5, 10, fee=1), True),
    ):
        books = matured(a=5)
        pay(books, wrong, bears=bears)
        assert [(each.code, each.miner) for each in books.overpaid()] == [(Code.OVERPAID, "a")]


def test_an_orphan_after_the_payout_is_not_the_payouts_fault() -> None:
    books = matured(a=5)
    pay(books, payout("1", "a", 5, 11))
    list(books.add_status(status("one", "orphaned", 12)))
    assert list(books.overpaid()) == []
    pay(books, payout("2", "a", 1, 13))
    assert len(list(books.overpaid())) == 1


def test_money_that_came_back_may_go_out_again() -> None:
    books = matured(a=5)
    pay(books, payout("1", "a", 5, 11))
    pay(books, payout("2", "a", -5, 12, reverses="1"))
    pay(books, payout("3", "a", 5, 13))
    assert (list(books.overpaid()), list(books.wrong_reversals())) == ([], [])


def test_reversals_that_reverse_nothing() -> None:
    books = matured(a=5, b=5)
    pay(books, payout("1", "a", 3, 11))
    for number, (miner, msat, name) in enumerate((("a", -4, "1"), ("b", -3, "1"), ("a", -3, "none"))):
        single = matured(a=5, b=5)
        pay(single, payout("1", "a", 3, 11))
        pay(single, payout(f"back {number}", miner, msat, 12, reverses=name))
        assert codes(single.wrong_reversals()) == [Code.PAYOUT_REVERSAL]
    pay(books, payout("2", "a", -2, 12, reverses="1"))
    assert codes(books.wrong_reversals()) == []
    pay(books, payout("3", "a", -2, 13, reverses="1"))
    assert codes(books.wrong_reversals()) == [Code.PAYOUT_REVERSAL]


def test_names_and_payments_serve_once() -> None:
    books = matured(a=5)
    assert pay(books, payout("1", "a", 1, 11), "payment x") == []
    assert pay(books, payout("2", "a", 1, 12), "payment y") == []
    assert pay(books, payout("2", "a", 1, 13), "payment z") == [Code.PAYOUT_TWICE]
    assert pay(books, payout("3", "a", 1, 14), "payment x") == [Code.PAYOUT_TWICE]
