"""4222 attestations of devices."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.address import PoolAddress
from nips.pool.attestation import MAX_NAME, AttestationBody, build_attestation, parse_attestation

MINER = SecretKey(b"\2" * 32)
POOL = PoolAddress("cd" * 32, "regtest")
AXE = AttestationBody("rig.1", "Bitaxe Gamma 601", "2.9.0", 1_200_000_000_000, "00" * 32)
line = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=MAX_NAME)
bodies = st.builds(
    AttestationBody,
    worker=st.from_regex(r"[A-Za-z0-9._-]{0,32}|#[0-9a-f]{8}", fullmatch=True),
    model=line.filter(bool),
    firmware=line,
    nominal_hs=st.integers(1, 2**70),
    block=st.binary(min_size=32, max_size=32).map(bytes.hex),
)


@given(bodies)
def test_there_and_back(body):
    event = MINER.sign(build_attestation(POOL, body, 9))
    found = parse_attestation(event)
    assert (found.id, found.miner, found.pool, found.created_at) == (event.id, MINER.pubkey, POOL, 9)
    assert found.body == body


@pytest.mark.parametrize(
    "fields",
    [
        {"worker": "a b"},
        {"worker": "x" * 33},
        {"model": ""},
        {"model": "x" * (MAX_NAME + 1)},
        {"model": "a\nb"},
        {"firmware": None},
        {"nominal_hs": "0"},
        {"nominal_hs": 7},
        {"nominal_hs": "1e9"},
        {"block": "00"},
    ],
)
def test_what_cannot_be_meant_is_refused(fields):
    event = build_attestation(POOL, AXE, 9)
    content = json.dumps({**json.loads(event.content), **fields})
    with pytest.raises(InvalidPoolEvent):
        parse_attestation(MINER.sign(UnsignedEvent(event.kind, 9, event.tags, content)))


@given(data=st.data())
def test_nothing_else_is_raised(fuzz, data):
    fuzz(data, parse_attestation, MINER.sign(build_attestation(POOL, AXE, 9)))
