"""What an accounting chain takes: each kind as what it is, what has a place whatever it says, and parts of nothing."""

import json
from typing import Any

import pytest

from accounting.accounting_events import check_form, parse_accounting
from accounting.chains import Opaque
from nips.errors import InvalidPoolEvent
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool import kinds
from nips.pool.attestation import AttestationBody, build_attestation
from nips.pool.attestation_part import AttestationPart, build_attestation_part
from nips.pool.chain import link_of, next_link
from nips.pool.settings import SettingsBody, build_settings
from nips.pool.settings_part import SettingsPart, build_settings_part
from nips.pool.statement import RewardStatus, Statement, parse_statement
from nips.pool.statement_rows import RowsPart, StatementPart, build_statement_part
from nips.pool.summary import build_summary_part, parse_summary
from tests.vectors.example_log import ExampleLog

KEY = SecretKey(b"\x09" * 32)


@pytest.fixture(scope="module")
def example() -> ExampleLog:
    return ExampleLog()


def changed(event: VerifiedEvent, **fields: Any) -> VerifiedEvent:
    content = json.dumps({**json.loads(event.content), **fields})
    return KEY.sign(UnsignedEvent(event.kind, event.created_at, event.tags, content))


def test_each_kind_is_what_it_is(example: ExampleLog) -> None:
    taken = {name: parse_accounting(example.events[name]) for name in ("statement", "status", "summary", "archive")}
    assert {name: type(found) for name, found in taken.items()} == {
        "statement": Statement, "status": RewardStatus, "summary": Opaque, "archive": Opaque,
    }  # fmt: skip
    for name, found in taken.items():
        event = example.events[name]
        assert (found.id, found.link, found.created_at) == (event.id, link_of(event), event.created_at)


def test_parts_are_told_by_what_they_are_of(story: Any, example: ExampleLog) -> None:
    """Rows of a statement, settings and attestations that it rests on, and rows of a summary, which no books need."""
    pool, link = story.pool, next_link(None)
    settings = KEY.sign(build_settings(pool.pubkey, SettingsBody(), 5))
    attested = KEY.sign(build_attestation(pool, AttestationBody("rig", "Axe", "1", 1, "00" * 32), 5))
    row = parse_statement(example.events["statement"]).rows[0]
    hour = parse_summary(example.events["summary"])
    made = {
        SettingsPart: build_settings_part(pool, link, settings, 7),
        AttestationPart: build_attestation_part(pool, link, [attested], 7),
        StatementPart: build_statement_part(pool, link, 0, RowsPart((row,)), 7),
        Opaque: build_summary_part(pool, link, 0, hour.rows, 7),
    }
    assert {kind: type(parse_accounting(KEY.sign(unsigned))) for kind, unsigned in made.items()} == {
        kind: kind for kind in made
    }
    # The form of a summary's part is told apart from its place.
    good = KEY.sign(made[Opaque])
    assert check_form(good) is None
    with pytest.raises(InvalidPoolEvent):
        check_form(changed(good, part=-1))


@pytest.mark.parametrize("of", [kinds.STATUS, kinds.ARCHIVE, 0, 2**53, -1, "4214", None])
def test_there_are_no_parts_of_anything_else(example: ExampleLog, of: Any) -> None:
    summary = example.events["summary"]
    part = KEY.sign(UnsignedEvent(kinds.STATEMENT_PART, 5, summary.tags, json.dumps({"v": 1, "of": of})))
    with pytest.raises(InvalidPoolEvent):
        parse_accounting(part)


def test_a_summary_has_its_place_whatever_it_says_and_is_still_told_to_be_wrong(example: ExampleLog) -> None:
    """Were it refused, its chain would end there: nothing of the books rests on a summary."""
    wrong = changed(example.events["summary"], from_ms="never")
    assert isinstance(parse_accounting(wrong), Opaque)
    with pytest.raises(InvalidPoolEvent):
        check_form(wrong)
    no_place = KEY.sign(UnsignedEvent(kinds.SUMMARY, 5, (), example.events["summary"].content))
    with pytest.raises(InvalidPoolEvent):
        parse_accounting(no_place)


def test_an_archive_is_read_and_one_of_nonsense_refused(example: ExampleLog) -> None:
    event = example.events["archive"]
    archive = check_form(event)
    assert archive is not None
    assert (archive.id, archive.signer) == (event.id, event.pubkey)
    with pytest.raises(InvalidPoolEvent):
        check_form(changed(event, from_s=-1))
    for name in ("statement", "status", "summary"):
        assert check_form(example.events[name]) is None


def test_a_statement_that_cannot_be_read_is_refused(example: ExampleLog) -> None:
    for name, fields in (("statement", {"fee_msat": -1}), ("status", {"status": "perhaps"}), ("statement", {"v": 2})):
        with pytest.raises(InvalidPoolEvent):
            parse_accounting(changed(example.events[name], **fields))
