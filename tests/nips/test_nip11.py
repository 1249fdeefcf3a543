"""NIP-11: the information document and who asks for it."""

import json

import msgspec
import pytest

from nips.nip11 import (
    Limitation,
    RelayInformation,
    Retention,
    decode_information,
    encode_information,
    read_information,
    wants_information,
)


def test_what_is_not_said_is_left_out() -> None:
    document = encode_information(
        RelayInformation(name="r", supported_nips=(1, 11), limitation=Limitation(max_limit=5))
    )
    assert json.loads(document) == {"name": "r", "supported_nips": [1, 11], "limitation": {"max_limit": 5}}


def test_unknown_fields_are_ignored_and_the_rest_survives() -> None:
    read = decode_information(b'{"name":"x","future":[1],"limitation":{"auth_required":true,"odd":0}}')
    assert read == RelayInformation(name="x", limitation=Limitation(auth_required=True))
    assert decode_information(encode_information(read)) == read


@pytest.mark.parametrize("bad", [b"", b"[]", b'{"name":1}', b'{"supported_nips":["1"]}', b"{}x"])
def test_what_is_no_document_is_refused(bad: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_information(bad)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("application/nostr+json", True),
        ("Application/Nostr+JSON;q=0.9, */*", True),
        ("text/html, application/nostr+json", True),
        ("text/html,*/*", False),
        ("", False),
    ],
)
def test_accept_header(accept: str, wanted: bool) -> None:
    assert wants_information(accept) is wanted


def test_a_document_as_relays_write_it() -> None:
    written = {
        "name": 5,
        "supported_nips": [1, 77],
        "limitation": {"max_message_length": 1000, "max_limit": "500", "max_filters": -1, "auth_required": True},
        "retention": [
            {"kinds": [0, [5, 7]], "time": 3600},
            {"kinds": "all", "time": 0},
            "forever",
            {"count": 100},
        ],
    }
    told = read_information(msgspec.json.encode(written))
    assert told.name is None
    assert told.supported_nips == (1, 77)
    assert told.limitation == Limitation(max_message_length=1000, auth_required=True)
    assert told.retention == (Retention(kinds=(0, (5, 7)), time=3600), Retention(count=100))
    assert told.retention_of(6) == Retention(kinds=(0, (5, 7)), time=3600)
    assert told.retention_of(8) == Retention(count=100)
    assert RelayInformation().retention_of(1) is None


@pytest.mark.parametrize("text", [b"[]", b"<html>", b'"x"', b""])
def test_what_is_no_object(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_information(text)
