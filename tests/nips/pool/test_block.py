"""4213 blocks found."""

import hashlib
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.pool.block import BlockBody, build_block, parse_block
from nips.pool.hashing import merkle_fold, parse_header, sha256d
from nips.pool.targets import target_from_bits
from tests.vectors.example_log import BLOCK_BITS, EDGE, POOL

id64 = st.binary(min_size=32, max_size=32).map(bytes.hex)
bodies = st.builds(
    BlockBody,
    height=st.integers(1, 2**31 - 1),
    header=st.binary(min_size=80, max_size=80),
    coinbase=st.binary(max_size=200),
    merkle=st.lists(st.binary(min_size=32, max_size=32), max_size=32).map(tuple),
    finder=id64,
    receipt=id64,
    index=st.integers(0, 2**53 - 1),
)


def body_of(block):
    return BlockBody(**{field.name: getattr(block, field.name) for field in fields(BlockBody)})


def test_vectors(check_vectors, log):
    (block,) = check_vectors("block", parse_block, 1, 24)
    assert body_of(block) == log.block
    assert int(block.block, 16) <= target_from_bits(BLOCK_BITS)
    assert block.block == hashlib.sha256(hashlib.sha256(block.header).digest()).digest()[::-1].hex()
    # The coinbase and the branches lead to the header's root.
    assert merkle_fold(sha256d(block.coinbase), block.merkle) == parse_header(block.header)[2]
    record = log.records[block.index]
    assert (
        log.bound[record.session].header(record.extranonce2, record.ntime, record.nonce, record.version) == block.header
    )


@given(bodies, st.integers(0, 2**40))
def test_there_and_back(body, created_at):
    event = EDGE.sign(build_block(POOL, body, created_at))
    block = parse_block(event)
    assert body_of(block) == body
    assert (block.id, block.signer, block.pool, block.created_at) == (event.id, EDGE.pubkey, POOL, created_at)


def test_every_bit_of_the_header_counts(log):
    event = EDGE.sign(build_block(POOL, log.block, 1))
    for bit in range(640):
        header = (int.from_bytes(log.block.header, "big") ^ 1 << bit).to_bytes(80, "big")
        text = event.content.replace(log.block.header.hex(), header.hex())
        with pytest.raises(InvalidPoolEvent, match="hash"):
            parse_block(EDGE.sign(type(build_block(POOL, log.block, 1))(event.kind, 1, event.tags, text)))


def test_too_many_branches(log):
    with pytest.raises(InvalidPoolEvent, match="branches"):
        parse_block(EDGE.sign(build_block(POOL, replace(log.block, merkle=(bytes(32),) * 33), 1)))


@given(st.data())
def test_nothing_else_is_raised(fuzz, log, data):
    fuzz(data, parse_block, log.events["block"])
