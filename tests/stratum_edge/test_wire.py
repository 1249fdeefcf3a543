"""The wire structures: real transactions and blocks byte for byte, every truncation, trailing garbage, invariants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool.hashing import display, sha256d
from stratum_edge.errors import WireError
from stratum_edge.wire import (
    MAX_SIZE,
    NULL_HASH,
    NULL_INDEX,
    OutPoint,
    Reader,
    Transaction,
    TxInput,
    TxOutput,
    merkle_root,
    parse_block,
    parse_transaction,
    serialise_block,
    witness_commitment,
)

# Block 0 of Bitcoin, whole.
GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3"
    "888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
    "01"
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d"
    "65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f7220"
    "62616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f"
    "4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
GENESIS_HASH = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
GENESIS_TXID = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"

# BIP 143, "P2WPKH in P2SH-P2WPKH" aside: its first example, a signed transaction with and without witness inputs.
BIP143_SIGNED = bytes.fromhex(
    "01000000000102fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f00000000494830450221008b9d1dc26ba6a9"
    "cb62127b02742fa9d754cd3bebf337f7a55d114c8e5cdd30be022040529b194ba3f9281a99f2b1c0a19c0489bc22ede944ccf4ecbab4cc618e"
    "f3ed01eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb20600000000"
    "1976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa81"
    "5988ac000247304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c4518331561406f9030"
    "0e8f3358f51928d43c212a8caed02de67eebee0121025476c2e83188368da1ff3e292e7acafcdb3566bb0ad253f62fc70f07aeee6357110000"
    "00"
)

hashes = st.binary(min_size=32, max_size=32)
u32 = st.integers(0, 0xFFFFFFFF)
scripts = st.binary(max_size=300)
inputs = st.builds(
    TxInput,
    st.builds(OutPoint, hashes, u32),
    scripts,
    u32,
    st.lists(scripts, max_size=3).map(tuple),
)
outputs = st.builds(TxOutput, st.integers(0, 2**64 - 1), scripts)
transactions = st.builds(
    Transaction,
    u32,
    st.lists(inputs, min_size=1, max_size=3).map(tuple),
    st.lists(outputs, max_size=3).map(tuple),
    u32,
)


def test_the_genesis_block_parses_and_comes_back() -> None:
    header, (coinbase,) = parse_block(GENESIS)
    assert display(sha256d(header)) == GENESIS_HASH
    assert display(coinbase.txid) == GENESIS_TXID
    assert header[36:68] == merkle_root([coinbase.txid])
    assert coinbase.is_coinbase
    assert not coinbase.has_witness
    assert coinbase.wtxid == coinbase.txid
    assert coinbase.outputs[0].value_sat == 50 * 100_000_000
    assert serialise_block(header, [coinbase.serialise()]) == GENESIS


def test_a_witness_transaction_keeps_its_bytes_and_its_ids_differ() -> None:
    transaction = parse_transaction(BIP143_SIGNED)
    assert [len(txin.witness) for txin in transaction.inputs] == [0, 2]
    assert transaction.serialise() == BIP143_SIGNED
    stripped = transaction.serialise(witness=False)
    assert parse_transaction(stripped).txid == transaction.txid == sha256d(stripped)
    assert transaction.wtxid == sha256d(BIP143_SIGNED) != transaction.txid
    assert not transaction.is_coinbase


@pytest.mark.parametrize("raw", [GENESIS[81:], BIP143_SIGNED], ids=["legacy", "witness"])
def test_every_truncation_and_trailing_garbage_are_refused(raw: bytes) -> None:
    for end in range(len(raw)):
        with pytest.raises(WireError):
            parse_transaction(raw[:end])
    with pytest.raises(WireError, match="trailing"):
        parse_transaction(raw + b"\x00")


def test_a_block_with_trailing_garbage_or_a_missing_byte_is_refused() -> None:
    with pytest.raises(WireError):
        parse_block(GENESIS + b"\x00")
    with pytest.raises(WireError):
        parse_block(GENESIS[:-1])


def test_an_unknown_witness_flag_and_an_empty_witness_are_refused() -> None:
    with pytest.raises(WireError, match="flag"):
        parse_transaction(BIP143_SIGNED[:5] + b"\x02" + BIP143_SIGNED[6:])
    bare = Transaction(1, (TxInput(OutPoint(NULL_HASH, NULL_INDEX)),), ()).serialise()
    superfluous = bare[:4] + b"\x00\x01" + bare[4:-4] + b"\x00" + bare[-4:]
    with pytest.raises(WireError, match="without any witness"):
        parse_transaction(superfluous)


@pytest.mark.parametrize("encoded", ["fdfc00", "feffff0000", "ffffffffff00000000"])
def test_a_length_not_in_its_shortest_form_is_refused(encoded: str) -> None:
    with pytest.raises(WireError, match="shortest"):
        Reader(bytes.fromhex(encoded)).compact_size()


def test_a_length_beyond_a_block_is_refused() -> None:
    with pytest.raises(WireError, match="larger"):
        Reader(b"\xfe" + (MAX_SIZE + 1).to_bytes(4, "little")).compact_size()
    assert Reader(b"\xfe" + MAX_SIZE.to_bytes(4, "little")).compact_size() == MAX_SIZE


@given(transactions)
def test_a_transaction_survives_serialising(transaction: Transaction) -> None:
    assert parse_transaction(transaction.serialise()) == transaction


@given(st.binary(max_size=400))
def test_arbitrary_bytes_parse_exactly_or_not_at_all(raw: bytes) -> None:
    try:
        transaction = parse_transaction(raw)
    except WireError:
        return
    assert transaction.serialise() == raw


def test_an_odd_row_pairs_its_last_leaf_with_itself() -> None:
    a, b, c = (bytes([n]) * 32 for n in (1, 2, 3))
    assert merkle_root([a]) == a
    assert merkle_root([a, b]) == sha256d(a + b)
    assert merkle_root([a, b, c]) == sha256d(sha256d(a + b) + sha256d(c + c))
    with pytest.raises(ValueError, match="leaf"):
        merkle_root([])


def test_the_commitment_of_an_empty_block_is_the_known_one() -> None:
    # The same in every segwit block that holds a coinbase alone.
    known = "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9"
    assert witness_commitment([]).hex() == known
    assert witness_commitment([bytes([1]) * 32]).hex() != known


def test_a_block_needs_a_whole_header() -> None:
    with pytest.raises(ValueError, match="80"):
        serialise_block(bytes(79), [])
