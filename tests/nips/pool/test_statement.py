"""4214 statements and 4216 statuses."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent
from nips.pool.chain import FIRST, Head, Link
from nips.pool.statement import (
    MAX_ROWS,
    STATUSES,
    BlockReward,
    Row,
    StatementBody,
    Window,
    build_statement,
    build_status,
    parse_statement,
    parse_status,
)
from tests.vectors.example_log import ACCOUNTING, POOL

number = st.integers(0, 2**53 - 1)
id64 = st.binary(min_size=32, max_size=32).map(bytes.hex)
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=9)
bodies = st.builds(
    StatementBody,
    reward=st.builds(BlockReward, id64, number, number, number),
    terms=id64,
    offer=text,
    window=st.builds(
        Window, number, st.integers(0, 10**99), st.dictionaries(text, st.builds(Head, number, id64), max_size=3)
    ),
    fee_msat=number,
    rows=st.lists(
        st.builds(Row, id64, st.integers(0, 10**99), number), max_size=6, unique_by=lambda row: row.miner
    ).map(lambda rows: tuple(sorted(rows, key=lambda row: row.miner))),
)


def body_of(statement):
    return StatementBody(**{field.name: getattr(statement, field.name) for field in fields(StatementBody)})


def test_vectors(check_vectors, log):
    (statement,) = check_vectors("statement", parse_statement, 1, 30)
    assert statement.reward == BlockReward(log.block.block, 201, 1_767_225_638_216, 2_500_014_300_000)
    assert statement.rows == log.rows
    # By hand: 1 % of the gross is the pool's, 4096 * 3 of 15000 are the finder's, the crossing share counts 2712.
    pot = 2_500_014_300_000 * 99 // 100
    assert [row.work for row in statement.rows] == [2712, 12288]
    assert [row.msat for row in statement.rows] == [pot * 2712 // 15000, pot * 12288 // 15000]
    assert sum(row.msat for row in statement.rows) + statement.fee_msat == statement.reward.gross_msat
    assert statement.window.work == 15000
    assert list(statement.window.heads.values()) == [Head(1, log.events["receipt"].id)]
    rebuilt = build_statement(POOL, FIRST, body_of(statement), statement.created_at, log.events["block"].id)
    assert ACCOUNTING.sign(rebuilt) == log.events["statement"]


@given(bodies, id64)
def test_there_and_back(body, block):
    event = ACCOUNTING.sign(build_statement(POOL, FIRST, body, 9, block))
    statement = parse_statement(event)
    assert body_of(statement) == body
    assert (statement.id, statement.signer, statement.link) == (event.id, ACCOUNTING.pubkey, FIRST)
    assert event.tags[2] == ("e", block, "", "block")


def test_400_rows(log):
    body = body_of(parse_statement(log.events["statement"]))
    rows = tuple(Row(f"{n:064x}", n, n) for n in range(MAX_ROWS + 1))

    def event(rows):
        made = StatementBody(body.reward, body.terms, body.offer, body.window, body.fee_msat, rows)
        return build_statement(POOL, FIRST, made, 9, "00" * 32)

    most = event(rows[:-1])
    assert len(parse_statement(ACCOUNTING.sign(most)).rows) == 400
    with pytest.raises(ValueError, match="parts"):
        event(rows)
    tags = (*most.tags, ("p", rows[-1].miner))
    content = most.content.replace('"rows":[', '"rows":[["0",0],')
    with pytest.raises(InvalidPoolEvent, match="400"):
        parse_statement(ACCOUNTING.sign(UnsignedEvent(most.kind, 9, tags, content)))


@given(st.sampled_from(STATUSES), id64, id64, st.integers(0, 9))
def test_statuses_there_and_back(status, statement, prev, seq):
    link = Link(seq, prev) if seq else FIRST
    event = ACCOUNTING.sign(build_status(POOL, link, statement, status, 9))
    found = parse_status(event)
    assert (found.status, found.statement, found.link, found.pool) == (status, statement, link, POOL)
    assert (found.id, found.signer, found.created_at) == (event.id, ACCOUNTING.pubkey, 9)


def test_the_example_matures(log):
    status = parse_status(log.events["status"])
    assert (status.status, status.statement) == ("matured", log.events["statement"].id)
    assert status.link == Link(1, log.events["statement"].id)


def test_statuses_refused(log):
    with pytest.raises(ValueError, match="status"):
        build_status(POOL, FIRST, "00" * 32, "paid", 9)
    event = log.events["status"]
    for tags, content in (
        (event.tags, event.content.replace("matured", "paid")),
        (event.tags, event.content.replace(log.events["statement"].id, "00" * 32)),
        (event.tags[:-2], event.content),
        ((*event.tags, event.tags[-2]), event.content),
        (event.tags, event.content.replace('"matured"', "null")),
    ):
        with pytest.raises(InvalidPoolEvent):
            parse_status(ACCOUNTING.sign(UnsignedEvent(event.kind, event.created_at, tags, content)))
    with pytest.raises(InvalidPoolEvent, match="kind"):
        parse_status(log.events["statement"])


@given(st.data())
def test_nothing_else_is_raised(fuzz, log, data):
    fuzz(data, parse_statement, log.events["statement"])
    fuzz(data, parse_status, log.events["status"])
