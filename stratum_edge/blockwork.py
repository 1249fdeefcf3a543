"""What stands between a template and a block: the coinbase's merkle branch, its witness, the block's bytes."""

from collections.abc import Sequence

from nips.pool.coinbase import compact_size
from nips.pool.hashing import sha256d
from stratum_edge.ports import Template
from stratum_edge.wire import NULL_HASH, WITNESS_RESERVED, serialise_block, var_bytes

_LOCK_TIME_BYTES = 4
_VERSION_BYTES = 4


def merkle_branches(txids: Sequence[bytes]) -> list[bytes]:
    """The coinbase's merkle branch, bottom first, as `mining.notify` carries it.

    `txids` are the other transactions' ids in serialisation order, without the coinbase, in block order. Folding the
    coinbase's txid with them (nips.pool.hashing.merkle_fold) gives the block's merkle root whatever the coinbase is.
    """
    row: list[bytes] = [NULL_HASH, *txids]  # the first leaf is the coinbase: never read, only carried along
    branches: list[bytes] = []
    while len(row) > 1:
        branches.append(row[1])
        if len(row) % 2:
            row.append(row[-1])
        row = [NULL_HASH, *(sha256d(row[i] + row[i + 1]) for i in range(2, len(row), 2))]
    return branches


def add_reserved_witness(coinbase_without_witness: bytes) -> bytes:
    """The coinbase in BIP 144's form with BIP 141's witness reserved value as its only witness item."""
    version = coinbase_without_witness[:_VERSION_BYTES]
    body = coinbase_without_witness[_VERSION_BYTES:-_LOCK_TIME_BYTES]
    lock_time = coinbase_without_witness[-_LOCK_TIME_BYTES:]
    # Marker and flag, the inputs and outputs as they were, then the stack of the one input.
    return b"".join((version, b"\x00\x01", body, compact_size(1), var_bytes(WITNESS_RESERVED), lock_time))


def assemble_block(template: Template, coinbase_without_witness: bytes, header: bytes) -> bytes:
    """The whole block's bytes: `header` (80 bytes), the coinbase, the template's transactions in order.

    The coinbase is what the miner hashed (the form without witness); when the template has a witness commitment its
    coinbase gets the reserved value as witness, without which the block would be invalid (BIP 141).
    """
    coinbase = coinbase_without_witness
    if template.witness_commitment is not None:
        coinbase = add_reserved_witness(coinbase)
    return serialise_block(header, (coinbase, *template.transactions))
