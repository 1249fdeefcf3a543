"""From a template to a block: the coinbase's branch folds to the root, the block parses to what went in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool.hashing import merkle_fold
from stratum_edge.blockwork import add_reserved_witness, assemble_block, merkle_branches
from stratum_edge.ports import Template
from stratum_edge.wire import (
    NULL_HASH,
    NULL_INDEX,
    WITNESS_RESERVED,
    OutPoint,
    Transaction,
    TxInput,
    TxOutput,
    merkle_root,
    parse_block,
    parse_transaction,
    witness_commitment,
)

hashes = st.binary(min_size=32, max_size=32)
COINBASE = Transaction(
    2, (TxInput(OutPoint(NULL_HASH, NULL_INDEX), b"\x01\x7b" + bytes(40)),), (TxOutput(5, b"\x51"),), 7
)
PAYMENT = Transaction(2, (TxInput(OutPoint(bytes(31) + b"\x01", 0), witness=(b"\x51",)),), (TxOutput(1, b"\x51"),))


def a_template(commitment: bytes | None) -> Template:
    return Template(
        height=123,
        version=0x20000000,
        prevhash=bytes(32),
        nbits=0x207FFFFF,
        curtime=1,
        mintime=1,
        coinbase_sat=5,
        transactions=(PAYMENT.serialise(),),
        txids=(PAYMENT.txid,),
        witness_commitment=commitment,
    )


@given(hashes, st.lists(hashes, max_size=40))
def test_branches_fold_to_the_whole_trees_root(coinbase: bytes, txids: list[bytes]) -> None:
    assert merkle_fold(coinbase, merkle_branches(txids)) == merkle_root([coinbase, *txids])


@pytest.mark.parametrize(("others", "depth"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (4095, 12)])
def test_a_branch_is_as_long_as_its_tree_is_deep(others: int, depth: int) -> None:
    assert len(merkle_branches([n.to_bytes(32, "little") for n in range(others)])) == depth


def test_the_reserved_witness_leaves_the_txid_alone() -> None:
    with_witness = parse_transaction(add_reserved_witness(COINBASE.serialise()))
    assert with_witness.inputs[0].witness == (WITNESS_RESERVED,)
    assert with_witness.txid == COINBASE.txid
    assert with_witness.serialise(witness=False) == COINBASE.serialise()


def test_a_block_with_a_commitment_gets_the_reserved_value() -> None:
    template = a_template(witness_commitment([PAYMENT.wtxid]))
    header, transactions = parse_block(assemble_block(template, COINBASE.serialise(), bytes(80)))
    assert header == bytes(80)
    assert transactions[0].inputs[0].witness == (WITNESS_RESERVED,)
    assert transactions[1:] == (PAYMENT,)


def test_a_block_without_a_commitment_keeps_the_coinbase_as_hashed() -> None:
    _, transactions = parse_block(assemble_block(a_template(None), COINBASE.serialise(), bytes(80)))
    assert transactions == (COINBASE, PAYMENT)
