"""What a miner hashes: real headers found again, and the search held to the plain double hash."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool.hashing import build_header, hash_value, sha256d
from nips.pool.targets import DIFFICULTY_1_TARGET
from stratum_edge.miner_work import MAX_TARGET, NONCES, grind, target_of_difficulty, unswap_prevhash

VECTORS = Path(__file__).parents[1] / "vectors" / "stratum"
GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3"
    "888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)
GENESIS_NONCE = 2083236893


def test_a_real_header_of_esp_miner() -> None:
    vector: dict[str, Any] = json.loads((VECTORS / "espminer_header_18.json").read_text())
    expected = bytes.fromhex(vector["expected"]["header"])
    header76 = build_header(
        int(vector["version"], 16),
        unswap_prevhash(vector["notify_prevhash"]),
        bytes.fromhex(vector["merkle_root_internal"]),
        int(vector["ntime"], 16),
        int(vector["nbits"], 16),
        0,
    )[:76]
    assert header76 == expected[:76]
    nonce = int(vector["nonce_as_submitted_hex"], 16)
    assert grind(header76, nonce - 9, 10, target_of_difficulty(18)) == [nonce]


def test_grind_finds_the_genesis_block() -> None:
    assert grind(GENESIS[:76], GENESIS_NONCE - 1000, 2000, DIFFICULTY_1_TARGET) == [GENESIS_NONCE]
    value = hash_value(sha256d(GENESIS))
    assert grind(GENESIS[:76], GENESIS_NONCE, 1, value) == [GENESIS_NONCE]
    assert grind(GENESIS[:76], GENESIS_NONCE, 1, value - 1) == []


@given(st.binary(min_size=76, max_size=76), st.integers(0, NONCES - 300), st.integers(0, MAX_TARGET))
def test_grind_is_the_plain_double_hash(header76: bytes, start: int, target: int) -> None:
    plain = [
        nonce
        for nonce in range(start, start + 300)
        if int.from_bytes(sha256d(header76 + nonce.to_bytes(4, "little")), "little") <= target
    ]
    assert grind(header76, start, 300, target) == plain


def test_grind_reaches_the_last_nonce_and_no_further() -> None:
    assert grind(bytes(76), NONCES - 2, 2, MAX_TARGET) == [NONCES - 2, NONCES - 1]
    assert grind(bytes(76), NONCES, 0, MAX_TARGET) == []
    with pytest.raises(ValueError, match="nonces"):
        grind(bytes(76), NONCES - 1, 2, MAX_TARGET)
    with pytest.raises(ValueError, match="76"):
        grind(bytes(80), 0, 1, MAX_TARGET)


def test_difficulties_are_exact() -> None:
    assert target_of_difficulty(1) == 0xFFFF << 208
    assert target_of_difficulty(0.5) == 0xFFFF << 209
    assert target_of_difficulty(2**-32) == 0xFFFF << 240
    assert target_of_difficulty(3) == (0xFFFF << 208) // 3
    assert target_of_difficulty(1e-30) == MAX_TARGET
    with pytest.raises(ValueError, match="positive"):
        target_of_difficulty(0)


@given(st.binary(min_size=32, max_size=32))
def test_prevhash_words_turn_round_and_back(prevhash: bytes) -> None:
    assert unswap_prevhash(unswap_prevhash(prevhash.hex()).hex()) == prevhash
