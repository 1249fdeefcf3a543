"""The binding, and a share's way from the job to its hash, computed a second time with nothing of ours."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool.binding import BoundWork, binding
from nips.pool.targets import target_from_bits
from tests.vectors.example_log import BLOCK_BITS


def sha(data):
    return hashlib.sha256(data).digest()


def by_definition(job, miner, bits):
    tag = sha(b"noncestr/share/1")
    return sha(tag + tag + job + miner + struct.pack(">I", bits))


def test_the_check_value():
    assert binding(b"\x11" * 32, b"\x22" * 32, 0x1D00FFFF).hex() == (
        "7827d134ddf34b577b7ff34af8b22bb8dfabfb5ed983f67b2ddc785efc63a723"
    )


def test_vectors(vectors):
    cases = vectors("binding")["cases"]
    assert len(cases) == 6
    for case in cases:
        job, miner, bits = bytes.fromhex(case["job"]), bytes.fromhex(case["miner"]), int(case["share_bits"], 16)
        assert binding(job, miner, bits).hex() == by_definition(job, miner, bits).hex() == case["binding"]
    assert len({case["binding"] for case in cases}) == len(cases)


def test_invalid_vectors(vectors):
    cases = vectors("binding")["invalid"]
    assert len(cases) == 2
    for case in cases:
        with pytest.raises(ValueError, match="32 bytes"):
            binding(bytes.fromhex(case["job"]), bytes.fromhex(case["miner"]), int(case["share_bits"], 16))


def test_every_bit_of_what_is_bound_counts():
    parts = [b"\x11" * 32, b"\x22" * 32, (0x1D00FFFF).to_bytes(4, "big")]
    seen = {binding(parts[0], parts[1], 0x1D00FFFF)}
    for at, part in enumerate(parts):
        for bit in range(8 * len(part)):
            changed = list(parts)
            changed[at] = (int.from_bytes(part, "big") ^ 1 << bit).to_bytes(len(part), "big")
            seen.add(binding(changed[0], changed[1], int.from_bytes(changed[2], "big")))
    assert len(seen) == 1 + 256 + 256 + 32


def rebuild(case):
    """The header of a share's vector, by SPEC.md's words alone."""
    part = {
        name: bytes.fromhex(case[name]) for name in ("job", "miner", "coinb1", "extranonce1", "extranonce2", "coinb2")
    }
    bound = by_definition(part["job"], part["miner"], int(case["share_bits"], 16))
    coinbase = part["coinb1"] + bound + part["extranonce1"] + part["extranonce2"] + part["coinb2"]
    root = sha(sha(coinbase))
    for branch in case["merkle"]:
        root = sha(sha(root + bytes.fromhex(branch)))
    header = struct.pack("<I", case["version"]) + bytes.fromhex(case["prevhash"]) + root
    return bound, coinbase, header + struct.pack("<III", case["ntime"], int(case["nbits"], 16), case["nonce"])


def test_share_vectors(vectors, log):
    cases = vectors("binding")["shares"]
    assert len(cases) == 6
    for case in cases:
        bound, coinbase, header = rebuild(case)
        assert (bound.hex(), coinbase.hex(), header.hex()) == (case["binding"], case["coinbase"], case["header"])
        assert sha(sha(header)).hex() == case["hash"]
        size, mantissa = divmod(int(case["share_bits"], 16), 1 << 24)
        assert int(sha(sha(header))[::-1].hex(), 16) <= mantissa << 8 * (size - 3)
        work = BoundWork(log.job, case["miner"], int(case["share_bits"], 16), bytes.fromhex(case["extranonce1"]))
        share = bytes.fromhex(case["extranonce2"]), case["ntime"], case["nonce"], case["version"]
        assert work.coinbase(share[0]) == coinbase
        assert work.header(*share) == header
        assert work.hash(*share).hex() == case["hash"]


@pytest.mark.parametrize("field", ["job", "miner", "extranonce1", "extranonce2", "coinb2", "prevhash"])
def test_a_bit_elsewhere_is_another_share(vectors, field):
    for case in vectors("binding")["shares"]:
        flipped = {**case, field: f"{int(case[field][:2], 16) ^ 1:02x}" + case[field][2:]}
        assert rebuild(flipped)[2].hex() != case["header"]


@given(
    st.binary(min_size=8, max_size=8),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
)
def test_the_kept_state_changes_nothing(log, extranonce2, ntime, nonce, version):
    """However often it is used, in whatever order, bound work hashes what a fresh one would."""
    work = log.bound[0]
    first = work.header(extranonce2, ntime, nonce, version)
    work.hash(b"\0" * 8, 0, 0, 0)
    assert work.header(extranonce2, ntime, nonce, version) == first
    root = sha(sha(work.coinbase(extranonce2)))
    for branch in log.job.merkle:
        root = sha(sha(root + branch))
    assert first[36:68] == root
    assert work.hash(extranonce2, ntime, nonce, version) == sha(sha(first))


def test_only_the_last_share_of_the_example_is_a_block(vectors):
    """One earlier would have closed the batch, and be a reward that no event tells of."""
    target = target_from_bits(BLOCK_BITS)
    met = [int.from_bytes(bytes.fromhex(case["hash"]), "little") <= target for case in vectors("binding")["shares"]]
    assert met == [False] * 5 + [True]
