"""Statements in parts: what is spread over events comes together again, whole or not at all."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent
from nips.pool.attestation_part import parse_attestation_part
from nips.pool.chain import Link
from nips.pool.content import encode_content
from nips.pool.kinds import STATEMENT_PART
from nips.pool.settings_part import parse_settings_part
from nips.pool.statement import BlockReward, StatementBody, Window, build_statement, parse_statement, whole_statement
from nips.pool.statement_rows import (
    GIVING_ROW,
    MAX_ROWS,
    Donation,
    Row,
    RowsPart,
    build_statement_part,
    join_rows,
    parse_statement_part,
    split_statement,
)
from tests.vectors.example_log import ACCOUNTING, POOL


def rows(count: int) -> tuple[Row, ...]:
    return tuple(Row(f"{number:064x}", number, number + 1) for number in range(count))


@given(st.integers(0, 2000), st.sets(st.integers(0, 1999), max_size=500))
def test_there_and_back(count: int, givers: set[int]) -> None:
    donations = tuple(Donation(row, "11" * 32, 1) for row in sorted(givers) if row < count)
    parts = split_statement(rows(count), donations)
    joined = join_rows(parts)
    assert (joined.rows, joined.donations) == (rows(count), donations)
    for part in parts:
        assert len(part.rows) + len(part.donations) * (GIVING_ROW - 1) <= MAX_ROWS
        assert all(donation.row < len(part.rows) for donation in part.donations)
    # Filled in order: no part has room for the first row of the next.
    for part, following in pairwise(parts):
        first = GIVING_ROW if any(donation.row == 0 for donation in following.donations) else 1
        assert len(part.rows) + len(part.donations) * (GIVING_ROW - 1) + first > MAX_ROWS


def events(count: int = 900):  # type: ignore[no-untyped-def]  # (parts, statement) as they are parsed
    body = StatementBody(BlockReward("00" * 32, 1, 1, 1), "11" * 32, "main", Window(1, 1, {}), 0, rows(count))
    parts = split_statement(body.rows)
    made = [
        parse_statement_part(ACCOUNTING.sign(build_statement_part(POOL, Link(5 + at, "22" * 32), at, part, 9)))
        for at, part in enumerate(parts)
    ]
    link = Link(5 + len(parts), "22" * 32)
    last = ACCOUNTING.sign(build_statement(POOL, link, body, 9, "33" * 32, parts=len(parts)))
    return made, parse_statement(last)


def test_a_statement_is_whole_with_its_parts_alone() -> None:
    parts, statement = events()
    assert (len(parts), statement.parts, statement.rows) == (3, 3, ())
    assert whole_statement(statement, parts).rows == rows(900)
    wrong = [
        parts[:2],
        parts[1:],
        [*parts, parts[2]],
        parts[::-1],
        [],
        [replace(parts[0], link=Link(0, None)), *parts[1:]],
    ]
    for others in wrong:
        with pytest.raises(InvalidPoolEvent, match="right before it"):
            whole_statement(statement, others)


def test_miners_are_sorted_from_part_to_part() -> None:
    parts, statement = events()
    parts[1] = replace(parts[1], rows=parts[0].rows)
    with pytest.raises(InvalidPoolEvent, match="from part to part"):
        whole_statement(statement, parts)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"of": 4221, "part": 0, "rows": [["1", 1]]}, id="of a summary"),
        pytest.param({"of": 4214, "part": -1, "rows": [["1", 1]]}, id="numbered below 0"),
        pytest.param({"of": 4214, "part": 0, "rows": []}, id="no rows"),
        pytest.param({"of": 4214, "part": 0, "rows": [["1", 1, 1, 1]]}, id="a fourth number"),
        pytest.param({"of": 4214, "part": 0, "rows": [["1", 1]], "donations": [[1, "11" * 32, 1]]}, id="no such row"),
        pytest.param({"of": 4214, "part": 0, "rows": [["1", 1]], "donations": [[0, "11" * 32, 0]]}, id="nothing given"),
        pytest.param({"of": 4214, "part": 0, "rows": [["1", 1]], "donations": [[0, "11", 1]]}, id="no settings"),
        pytest.param({"of": 4214, "part": 0, "rows": [["1", 1]], "donations": [[0, "11" * 32, 1]] * 2}, id="twice"),
    ],
)
def test_what_is_no_part_is_refused(fields: dict[str, object]) -> None:
    miners = [("p", "aa" * 32)] if fields["rows"] else []
    tags = (POOL.tag(), *Link(0, None).tags(), *miners)
    event = ACCOUNTING.sign(UnsignedEvent(STATEMENT_PART, 9, tags, encode_content(fields)))
    with pytest.raises(InvalidPoolEvent):
        parse_statement_part(event)


def test_a_row_that_gives_counts_for_two() -> None:
    full = RowsPart(rows(MAX_ROWS - 1), (Donation(0, "11" * 32, 1),))
    event = ACCOUNTING.sign(build_statement_part(POOL, Link(0, None), 0, full, 9))
    assert parse_statement_part(event).donations == full.donations
    over = RowsPart(rows(MAX_ROWS), full.donations)
    with pytest.raises(InvalidPoolEvent, match="counts for 2"):
        parse_statement_part(ACCOUNTING.sign(build_statement_part(POOL, Link(0, None), 0, over, 9)))


def test_vectors(check_vectors, log):  # type: ignore[no-untyped-def]
    period, giving, in_parts, loyal = check_vectors("statement_forms", parse_statement, 4, 5)
    assert [row.bonus_msat for row in loyal.rows] == [7, 0]
    assert (period.reward.type, period.fee_msat, period.announced_by) == ("period", 0, "")
    assert giving.donations == (Donation(0, "11" * 32, 7),)
    assert (in_parts.parts, in_parts.rows) == (2, ())
    plain, also = check_vectors("statement_part", parse_statement_part, 2, 23)
    assert (plain.part, also.part, also.donations) == (0, 1, (Donation(1, "11" * 32, 7),))
    (held,) = check_vectors("settings_part", parse_settings_part, 1, 21)
    assert held.settings.body.donation_ppm == 15_000
    (attested,) = check_vectors("attestation_part", parse_attestation_part, 1, 32)
    assert [told.body.model for told in attested.attestations] == ["Bitaxe Gamma"] * 2
