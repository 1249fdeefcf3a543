"""Settings quoted in the log: only those that their miner signed, for this pool, of a bounded size."""

import json
from typing import Any

import pytest

from nips.errors import InvalidPoolEvent
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head, next_link
from nips.pool.kinds import ATTESTATION, SETTINGS, STATEMENT_PART
from nips.pool.settings import SettingsBody, WorkerSettings, build_settings
from nips.pool.settings_part import (
    MAX_SETTINGS_BYTES,
    build_settings_part,
    fits_settings_part,
    parse_settings_part,
)

ACCOUNTING, MINER = SecretKey(b"\x03" * 32), SecretKey(b"\x02" * 32)
POOL = PoolAddress("cd" * 32, "regtest")
LINK = next_link(Head(4, "ee" * 32))


def settings(pool: str = POOL.pubkey, **fields: Any) -> VerifiedEvent:
    return MINER.sign(build_settings(pool, SettingsBody(**fields), 9))


def part(held: VerifiedEvent, **changes: Any) -> VerifiedEvent:
    """A part, with fields of its content changed before it is signed; None takes one out."""
    made = build_settings_part(POOL, LINK, held, 70)
    fields = {name: value for name, value in {**json.loads(made.content), **changes}.items() if value is not None}
    return ACCOUNTING.sign(UnsignedEvent(made.kind, made.created_at, made.tags, json.dumps(fields)))


def test_there_and_back() -> None:
    held = settings(
        lightning="alice@example.com", donation_ppm=5000, workers={"rig": WorkerSettings(alias="Grüße \U0001f600")}
    )
    found = parse_settings_part(part(held))
    assert (found.pool, found.link, found.created_at, found.signer) == (POOL, LINK, 70, ACCOUNTING.pubkey)
    assert (found.settings.id, found.settings.miner) == (held.id, MINER.pubkey)
    assert found.settings.body.lightning == "alice@example.com"


def test_what_was_changed_after_it_was_signed_is_refused() -> None:
    told = json.loads(encode_event(settings(donation_ppm=5000)))
    for name, value in (
        ("content", told["content"].replace("5000", "9000")),
        ("created_at", 10),
        ("pubkey", ACCOUNTING.pubkey),
        ("sig", "00" * 64),
        ("id", "00" * 32),
        ("kind", ATTESTATION),
    ):
        with pytest.raises(InvalidPoolEvent):
            parse_settings_part(part(settings(), settings={**told, name: value}))


@pytest.mark.parametrize(
    "changes",
    [{"of": ATTESTATION}, {"of": None}, {"of": str(SETTINGS)}, {"settings": None}, {"settings": []}, {"v": 2}],
)
def test_what_holds_no_settings_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidPoolEvent):
        parse_settings_part(part(settings(), **changes))


def test_settings_for_another_pool_and_other_kinds_are_refused() -> None:
    with pytest.raises(InvalidPoolEvent, match="another pool"):
        parse_settings_part(part(settings(pool="ab" * 32)))
    made = build_settings_part(POOL, FIRST, settings(), 70)
    with pytest.raises(InvalidPoolEvent):
        parse_settings_part(ACCOUNTING.sign(UnsignedEvent(STATEMENT_PART + 1, 70, made.tags, made.content)))


def test_they_are_bounded_to_the_byte() -> None:
    """Unknown fields are ignored, so that anybody could make them as large as a relay takes."""
    empty = settings()
    room = MAX_SETTINGS_BYTES - len(encode_event(empty))
    for spare, fits in ((0, True), (-1, False)):
        fields = {**json.loads(empty.content), "x": ""}
        fields["x"] = "y" * (room - spare - len(',\\"x\\":\\"\\"'))
        content = json.dumps(fields, separators=(",", ":"))
        held = MINER.sign(UnsignedEvent(SETTINGS, 9, empty.tags, content))
        assert len(encode_event(held)) == MAX_SETTINGS_BYTES - spare
        assert fits_settings_part(held) == fits
        if fits:
            assert parse_settings_part(part(held)).settings.id == held.id
        else:
            with pytest.raises(InvalidPoolEvent, match="at most"):
                parse_settings_part(part(held))
